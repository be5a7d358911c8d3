/* tostring(t): nested brackets with aligned columns, the middle of large tensors left out, and under it shape, dtype
 * and what autograd knows. */
#include "lua/l_bind.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    WHOLE = 1000,  /* tensors of at most so many elements are shown whole */
    EDGE = 3,      /* else so many at each end of a dimension */
    WIDTH = 100    /* columns of a line before it is wrapped */
};

typedef struct printer {
    const pk_tensor *t;
    luaL_Buffer *b;
    bool summary;
    char format[16]; /* of one number, its width included */
    int width;
    int64_t index[PK_MAX_DIMS];
} printer;

static void number_text(const printer *p, double v, char *text, size_t size) {
    if (isnan(v)) snprintf(text, size, "nan");
    else if (isinf(v)) snprintf(text, size, v > 0 ? "inf" : "-inf");
    else snprintf(text, size, p->format, v);
}

/* Next position along dimension d after i, past the middle if that is left out. */
static int64_t next_place(const printer *p, int d, int64_t i) {
    int64_t n = p->t->shape[d];
    return p->summary && n > 2 * EDGE && i == EDGE - 1 ? n - EDGE : i + 1;
}

/* What the numbers to be shown have in common. */
typedef struct survey {
    bool integral, finite;
    double least, most; /* absolute values of the finite ones other than 0 */
} survey;

static void look(const printer *p, survey *s, int64_t *index, int d) {
    if (d < p->t->ndim) {
        for (int64_t i = 0; i < p->t->shape[d]; i = next_place(p, d, i)) {
            index[d] = i;
            look(p, s, index, d + 1);
        }
        return;
    }
    double v = fabs(pk_tensor_get(p->t, index));
    if (!isfinite(v)) return;
    s->integral = s->integral && v == floor(v);
    if (v == 0) return;
    if (!s->finite || v < s->least) s->least = v;
    if (!s->finite || v > s->most) s->most = v;
    s->finite = true;
}

static void measure(printer *p, int64_t *index, int d) {
    if (d < p->t->ndim) {
        for (int64_t i = 0; i < p->t->shape[d]; i = next_place(p, d, i)) {
            index[d] = i;
            measure(p, index, d + 1);
        }
        return;
    }
    char text[64];
    number_text(p, pk_tensor_get(p->t, index), text, sizeof text);
    int n = (int)strlen(text);
    if (n > p->width) p->width = n;
}

/* Whole numbers plain, others with 4 decimals, or with an exponent where the range is too wide for that. */
static void choose_format(printer *p) {
    survey s = {.integral = true};
    int64_t index[PK_MAX_DIMS] = {0};
    look(p, &s, index, 0);
    bool wide = s.finite && (s.most >= 1e8 || s.least < 1e-4 || s.most / s.least > 1e3 * 1e2);
    const char *format = s.integral && s.most < 1e9 ? "%.0f" : wide ? "%.4e" : "%.4f";
    snprintf(p->format, sizeof p->format, "%s", p->t->ndim == 0 && !s.integral ? "%.7g" : format);
    measure(p, index, 0);
}

static void add_spaces(luaL_Buffer *b, int n) {
    while (n-- > 0) luaL_addchar(b, ' ');
}

static void add_row(printer *p, int indent) {
    int d = p->t->ndim - 1, column = indent + 1;
    char text[64];
    luaL_addchar(p->b, '[');
    for (int64_t i = 0; i < p->t->shape[d]; i = next_place(p, d, i)) {
        bool wrap = i > 0 && column + p->width + 2 > WIDTH;
        if (i > 0) luaL_addstring(p->b, wrap ? ",\n" : ", ");
        if (wrap) {
            add_spaces(p->b, indent + 1);
            column = indent + 1;
        }
        p->index[d] = i;
        number_text(p, pk_tensor_get(p->t, p->index), text, sizeof text);
        add_spaces(p->b, p->width - (int)strlen(text));
        luaL_addstring(p->b, text);
        column += p->width + 2;
        if (next_place(p, d, i) != i + 1) luaL_addstring(p->b, ", ...");
    }
    luaL_addchar(p->b, ']');
}

/* The comma after an element of dimension d, and the line ends: one more for each dimension inside. */
static void add_break(const printer *p, int d) {
    luaL_addchar(p->b, ',');
    for (int n = p->t->ndim - 1 - d; n > 0; n--) luaL_addchar(p->b, '\n');
    add_spaces(p->b, d + 1);
}

static void add_block(printer *p, int d) {
    if (d == p->t->ndim - 1) {
        add_row(p, d);
        return;
    }
    luaL_addchar(p->b, '[');
    for (int64_t i = 0; i < p->t->shape[d]; i = next_place(p, d, i)) {
        if (i > 0) add_break(p, d);
        p->index[d] = i;
        add_block(p, d + 1);
        if (next_place(p, d, i) != i + 1) {
            add_break(p, d);
            luaL_addstring(p->b, "...");
        }
    }
    luaL_addchar(p->b, ']');
}

static void add_values(printer *p) {
    char text[64];
    choose_format(p);
    if (p->t->ndim == 0) {
        number_text(p, pk_tensor_get(p->t, p->index), text, sizeof text);
        luaL_addstring(p->b, text);
    } else {
        add_block(p, 0);
    }
    luaL_addchar(p->b, '\n');
}

/* "{2,3} float32, from mul" */
static void add_footer(luaL_Buffer *b, const pk_tensor *t) {
    luaL_addstring(b, pk_shape_text(t));
    luaL_addchar(b, ' ');
    luaL_addstring(b, pk_dtype_name(t->dtype));
    if (t->node != NULL) {
        luaL_addstring(b, ", from ");
        luaL_addstring(b, t->node->call.op->name);
    } else if (t->requires_grad) {
        luaL_addstring(b, ", requires_grad");
    }
}

int l_tensor_print(lua_State *L) {
    if (l_is_freed(L, 1, L_TENSOR)) {
        lua_pushliteral(L, L_TENSOR " (freed)");
        return 1;
    }
    const pk_tensor *t = l_hold_tensor(L, 1);
    int held = lua_gettop(L);
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    printer p = {.t = t, .b = &b, .summary = pk_numel(t) > WHOLE};
    if (t->storage == NULL) luaL_addstring(&b, "(no data) ");
    else if (pk_numel(t) == 0) luaL_addstring(&b, "[]\n");
    else add_values(&p);
    add_footer(&b, t);
    luaL_pushresult(&b);
    l_drop_tensor(L, held);
    return 1;
}
