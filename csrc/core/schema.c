/* Defaults, ranges, choices and text forms of the fields that parameter structs describe. */
#include "core/schema.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *at(void *params, const pk_field *f) { return (char *)params + f->offset; }
static const void *at_const(const void *params, const pk_field *f) { return (const char *)params + f->offset; }

/* ---- choices ---- */

int pk_choice_find(const char *choices, const char *word) {
    size_t length = strlen(word);
    int i = 0;
    for (const char *p = choices; p; i++) {
        const char *bar = strchr(p, '|');
        size_t n = bar ? (size_t)(bar - p) : strlen(p);
        if (n == length && strncmp(p, word, n) == 0) return i;
        p = bar ? bar + 1 : NULL;
    }
    return -1;
}

const char *pk_choice_name(const char *choices, int i, char *buffer, size_t size) {
    const char *p = choices;
    while (i-- > 0 && p) {
        p = strchr(p, '|');
        if (p) p++;
    }
    const char *bar = p ? strchr(p, '|') : NULL;
    snprintf(buffer, size, "%.*s", p ? (int)(bar ? bar - p : (ptrdiff_t)strlen(p)) : 1, p ? p : "?");
    return buffer;
}

/* ---- defaults ---- */

void pk_schema_defaults(const pk_field *fields, int count, void *params, size_t size) {
    memset(params, 0, size);
    for (int i = 0; i < count; i++) {
        const pk_field *f = &fields[i];
        void *p = at(params, f);
        switch (f->type) {
        case PK_BOOL: *(bool *)p = f->def != 0; break;
        case PK_INT:
        case PK_INDEX:
        case PK_DIM: *(int64_t *)p = (int64_t)f->def; break;
        case PK_FLOAT: *(double *)p = f->def; break;
        case PK_ENUM: *(int *)p = (int)f->def; break;
        case PK_PAIR:
        case PK_PADDING: ((int64_t *)p)[0] = ((int64_t *)p)[1] = (int64_t)f->def; break;
        case PK_INTS:
        case PK_DIMS:
        case PK_ENUMS:
            if (!isnan(f->def)) *(pk_ints *)p = (pk_ints){1, {(int32_t)f->def}};
            break;
        case PK_FLOATS:
            if (!isnan(f->def)) *(pk_floats *)p = (pk_floats){1, {f->def}};
            break;
        case PK_GRIDS:
        case PK_SEED:
        case PK_TEXT: break; /* zeros */
        }
    }
}

/* ---- ranges ---- */

static pk_status check_number(const char *owner, const pk_field *f, double x) {
    bool any = f->min == 0 && f->max == 0;
    if (!isnan(x) && (any || (x >= f->min && x <= f->max))) return PK_OK;
    if (any) return pk_fail(PK_EINVAL, "%s: %s must be a number, got %g", owner, f->name, x);
    return pk_fail(PK_EINVAL, "%s: %s must be in [%g, %g], got %g", owner, f->name, f->min, f->max, x);
}

static pk_status check_ints(const char *owner, const pk_field *f, const pk_ints *list) {
    for (int i = 0; i < list->n; i++) PK_TRY(check_number(owner, f, list->v[i]));
    return PK_OK;
}

static pk_status check_field(const char *owner, const pk_field *f, const void *p) {
    switch (f->type) {
    case PK_INT:
    case PK_INDEX: return check_number(owner, f, (double)*(const int64_t *)p);
    case PK_FLOAT: return check_number(owner, f, *(const double *)p);
    case PK_PADDING:
        if (((const int64_t *)p)[0] == PK_SAME && ((const int64_t *)p)[1] == PK_SAME) return PK_OK;
        /* fallthrough */
    case PK_PAIR:
        PK_TRY(check_number(owner, f, (double)((const int64_t *)p)[0]));
        return check_number(owner, f, (double)((const int64_t *)p)[1]);
    case PK_INTS:
    case PK_DIMS: return check_ints(owner, f, p);
    case PK_FLOATS:
        for (int i = 0; i < ((const pk_floats *)p)->n; i++)
            PK_TRY(check_number(owner, f, ((const pk_floats *)p)->v[i]));
        return PK_OK;
    case PK_GRIDS:
        for (int i = 0; i < ((const pk_grids *)p)->n; i++) PK_TRY(check_ints(owner, f, &((const pk_grids *)p)->v[i]));
        return PK_OK;
    default: return PK_OK; /* bools, choices, dims, seeds, texts: any value the readers let in */
    }
}

pk_status pk_schema_check(const char *owner, const pk_field *fields, int count, const void *params) {
    for (int i = 0; i < count; i++) PK_TRY(check_field(owner, &fields[i], at_const(params, &fields[i])));
    return PK_OK;
}

/* ---- names ---- */

const pk_field *pk_schema_find(const pk_field *fields, int count, const char *name) {
    for (int i = 0; i < count; i++)
        if (strcmp(fields[i].name, name) == 0) return &fields[i];
    return NULL;
}

bool pk_schema_set(const pk_field *fields, int count, void *params, const char *name, double value) {
    const pk_field *f = pk_schema_find(fields, count, name);
    void *p = f ? at(params, f) : NULL;
    switch (f ? f->type : PK_TEXT) {
    case PK_BOOL: *(bool *)p = value != 0; return true;
    case PK_INT:
    case PK_INDEX:
    case PK_DIM: *(int64_t *)p = (int64_t)value; return true;
    case PK_FLOAT: *(double *)p = value; return true;
    case PK_ENUM: *(int *)p = (int)value; return true;
    case PK_PAIR:
    case PK_PADDING: ((int64_t *)p)[0] = ((int64_t *)p)[1] = (int64_t)value; return true;
    default: return false;
    }
}

/* Edits (insert, drop, replace) between two words, given up past 31 letters. */
static int edit_distance(const char *a, const char *b) {
    enum { MOST = 32 };
    size_t na = strlen(a), nb = strlen(b);
    int row[MOST];
    if (na >= MOST || nb >= MOST) return MOST;
    for (size_t j = 0; j <= nb; j++) row[j] = (int)j;
    for (size_t i = 1; i <= na; i++) {
        int diagonal = row[0];
        row[0] = (int)i;
        for (size_t j = 1; j <= nb; j++) {
            int change = diagonal + (tolower((unsigned char)a[i - 1]) != tolower((unsigned char)b[j - 1]));
            diagonal = row[j];
            int step = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            row[j] = change < step ? change : step;
        }
    }
    return row[nb];
}

const char *pk_schema_nearest(const pk_field *fields, int count, const char *name) {
    const char *best = NULL;
    int least = (int)strlen(name) / 2 + 1;
    for (int i = 0; i < count; i++) {
        int d = edit_distance(name, fields[i].name);
        if (d <= least) {
            least = d - 1;
            best = fields[i].name;
        }
    }
    return best;
}

/* ---- text ---- */

static bool parse_number(const char **text, double *x) {
    char *end;
    errno = 0;
    *x = strtod(*text, &end);
    if (end == *text || errno == ERANGE) return false;
    *text = end;
    return true;
}

/* "1,2,3" to at most `most` numbers; false on anything else. */
static bool parse_list(const char *text, double *x, int most, int *n) {
    for (*n = 0; *n < most;) {
        if (!parse_number(&text, &x[*n])) return false;
        ++*n;
        if (*text == 0) return true;
        if (*text++ != ',') return false;
    }
    return false;
}

static bool parse_value(const pk_field *f, void *p, const char *text) {
    double x[PK_MAX_LIST];
    int n;
    switch (f->type) {
    case PK_BOOL:
        *(bool *)p = strcmp(text, "true") == 0;
        return *(bool *)p || strcmp(text, "false") == 0;
    case PK_ENUM:
        *(int *)p = pk_choice_find(f->choices, text);
        return *(int *)p >= 0;
    case PK_TEXT:
        snprintf(p, 64, "%s", text);
        return strlen(text) < 64;
    case PK_PADDING:
        if (strcmp(text, "same") == 0) {
            ((int64_t *)p)[0] = ((int64_t *)p)[1] = PK_SAME;
            return true;
        }
        break;
    default: break;
    }
    if (!parse_list(text, x, PK_MAX_LIST, &n)) return false;
    switch (f->type) {
    case PK_INT:
    case PK_INDEX:
    case PK_DIM: *(int64_t *)p = (int64_t)x[0]; return n == 1;
    case PK_FLOAT: *(double *)p = x[0]; return n == 1;
    case PK_SEED: *(uint64_t *)p = (uint64_t)x[0]; return n == 1;
    case PK_PAIR:
    case PK_PADDING:
        ((int64_t *)p)[0] = (int64_t)x[0];
        ((int64_t *)p)[1] = (int64_t)x[n - 1];
        return n <= 2;
    case PK_INTS:
    case PK_DIMS:
        ((pk_ints *)p)->n = n;
        for (int i = 0; i < n; i++) ((pk_ints *)p)->v[i] = (int32_t)x[i];
        return true;
    case PK_FLOATS:
        ((pk_floats *)p)->n = n;
        for (int i = 0; i < n && i < PK_MAX_STAGES; i++) ((pk_floats *)p)->v[i] = x[i];
        return n <= PK_MAX_STAGES;
    default: return false;
    }
}

pk_status pk_schema_parse(const char *owner, const pk_field *fields, int count, void *params, const char *name,
                          const char *text) {
    const pk_field *f = pk_schema_find(fields, count, name);
    if (!f) {
        const char *near = pk_schema_nearest(fields, count, name);
        return pk_fail(PK_EINVAL, "%s: no parameter '%s'%s%s%s", owner, name, near ? " (did you mean '" : "",
                       near ? near : "", near ? "'?)" : "");
    }
    PK_RETURN_IF(!parse_value(f, at(params, f), text), PK_EINVAL, "%s: %s cannot be '%s'", owner, name, text);
    return PK_OK;
}
