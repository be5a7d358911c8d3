/* The opcodes of pickles: one short function each, and a table of all names, so that what is refused has one. */
#include <string.h>

#include "core/checked.h"
#include "io/json.h"
#include "io/pickle.h"

/* ---- operands ---- */

/* The next n bytes of the pickle, which are passed over. */
static pk_status operand(pk_pickle *p, int64_t n, const uint8_t **out) {
    PK_RETURN_IF(n < 0 || n > p->size - p->at, PK_EFORMAT, "a pickle cut short");
    *out = p->text + p->at;
    p->at += n;
    return PK_OK;
}

static pk_status push_new(pk_pickle *p, pk_value value) {
    int32_t v = 0;
    PK_TRY(pk_pickle_new(p, value, &v));
    return pk_pickle_push(p, v);
}

static pk_status new_text(pk_pickle *p, int64_t at, int64_t n, int32_t *v) {
    PK_RETURN_IF(n > INT32_MAX, PK_EFORMAT, "a text of %lld bytes in a pickle", (long long)n);
    return pk_pickle_new(p, (pk_value){.kind = PK_VALUE_TEXT, .c = (int32_t)n, .i = at}, v);
}

/* A text whose length stands before it in `width` bytes; utf8: it must be. */
static pk_status sized_text(pk_pickle *p, int width, bool utf8) {
    const uint8_t *raw = NULL, *bytes = NULL;
    int32_t v = 0;
    PK_TRY(operand(p, width, &raw));
    uint64_t n = 0;
    for (int i = width - 1; i >= 0; i--) n = n << 8 | raw[i];
    PK_TRY(operand(p, n > INT64_MAX ? -1 : (int64_t)n, &bytes));
    PK_RETURN_IF(utf8 && !pk_utf8_valid((const char *)bytes, (int64_t)n), PK_EFORMAT,
                 "a text in a pickle is not UTF-8");
    PK_TRY(new_text(p, bytes - p->text, (int64_t)n, &v));
    return pk_pickle_push(p, v);
}

/* Little-endian two's complement of n bytes; numbers past 64 bits are kept as their bytes. */
static pk_status push_long(pk_pickle *p, int64_t n) {
    const uint8_t *raw = NULL;
    int32_t v = 0;
    PK_TRY(operand(p, n, &raw));
    if (n > 8) {
        PK_TRY(new_text(p, raw - p->text, n, &v));
        return pk_pickle_push(p, v);
    }
    uint64_t value = n > 0 && raw[n - 1] & 0x80 ? UINT64_MAX : 0;
    for (int64_t i = n - 1; i >= 0; i--) value = value << 8 | raw[i];
    return push_new(p, (pk_value){.kind = PK_VALUE_INT, .i = (int64_t)value});
}

/* Everything above the last mark goes into a new container, and the mark goes. A mark is a -1 on the stack. */
static pk_status find_mark(pk_pickle *p, int32_t *at) {
    int32_t i = p->depth - 1;
    while (i >= 0 && p->stack[i] >= 0) i--;
    PK_RETURN_IF(i < 0, PK_EFORMAT, "a pickle without the mark it needs");
    *at = i;
    return PK_OK;
}

static pk_status collect(pk_pickle *p, pk_value_kind kind, int32_t from, int32_t below) {
    int32_t v = 0;
    PK_TRY(pk_pickle_new(p, (pk_value){.kind = kind, .a = -1, .b = -1}, &v));
    for (int32_t i = from; i < p->depth; i++) {
        PK_RETURN_IF(p->stack[i] < 0, PK_EFORMAT, "a mark inside a tuple of a pickle");
        PK_TRY(pk_pickle_append(p, v, -1, p->stack[i]));
    }
    p->depth = below;
    return pk_pickle_push(p, v);
}

static pk_status collect_marked(pk_pickle *p, pk_value_kind kind) {
    int32_t mark = 0;
    PK_TRY(find_mark(p, &mark));
    return collect(p, kind, mark + 1, mark);
}

static pk_status collect_last(pk_pickle *p, int32_t n) {
    PK_RETURN_IF(p->depth < n, PK_EFORMAT, "a pickle that takes a value where none is");
    return collect(p, PK_VALUE_TUPLE, p->depth - n, p->depth - n);
}

/* What lies below stack place `above`: a container of this kind, or an opaque value, which forgets what it is given. */
static pk_status container_below(pk_pickle *p, int32_t above, pk_value_kind kind, int32_t *v) {
    PK_RETURN_IF(above < 1 || p->stack[above - 1] < 0, PK_EFORMAT, "a pickle that fills a container where none is");
    *v = p->stack[above - 1];
    pk_value_kind given = p->value[*v].kind;
    PK_RETURN_IF(given != kind && given != PK_VALUE_OPAQUE, PK_EFORMAT, "a pickle that fills a %s as if it were a %s",
                 pk_value_kind_name(given), pk_value_kind_name(kind));
    return PK_OK;
}

/* Items from stack place `from` on into the container below `above`: one a value, or a key and a value. */
static pk_status fill(pk_pickle *p, pk_value_kind kind, int32_t above, int32_t from) {
    int32_t container = 0, step = kind == PK_VALUE_DICT ? 2 : 1;
    PK_TRY(container_below(p, above, kind, &container));
    PK_RETURN_IF((p->depth - from) % step != 0, PK_EFORMAT, "a key without a value in a pickle");
    for (int32_t i = from; i < p->depth; i += step) {
        int32_t key = step == 2 ? p->stack[i] : -1, item = p->stack[i + step - 1];
        PK_RETURN_IF(item < 0 || (step == 2 && key < 0), PK_EFORMAT, "a mark inside a container of a pickle");
        if (p->value[container].kind == kind) PK_TRY(pk_pickle_append(p, container, key, item));
    }
    p->depth = above;
    return PK_OK;
}

static pk_status fill_marked(pk_pickle *p, pk_value_kind kind) {
    int32_t mark = 0;
    PK_TRY(find_mark(p, &mark));
    return fill(p, kind, mark, mark + 1);
}

static pk_status fill_last(pk_pickle *p, pk_value_kind kind, int32_t n) {
    PK_RETURN_IF(p->depth < n, PK_EFORMAT, "a pickle that takes a value where none is");
    return fill(p, kind, p->depth - n, p->depth - n);
}

/* ---- one function an opcode ---- */

#define OPCODE(name) static pk_status name(pk_pickle *p)

OPCODE(op_proto) {
    const uint8_t *raw = NULL;
    PK_TRY(operand(p, 1, &raw));
    PK_RETURN_IF(raw[0] < 2 || raw[0] > 5, PK_EFORMAT, "a pickle of protocol %d, read are 2 to 5", raw[0]);
    return PK_OK;
}
OPCODE(op_frame) { /* a hint about lengths */
    const uint8_t *raw = NULL;
    return operand(p, 8, &raw);
}
OPCODE(op_none) { return push_new(p, (pk_value){.kind = PK_VALUE_NONE}); }
OPCODE(op_true) { return push_new(p, (pk_value){.kind = PK_VALUE_BOOL, .i = 1}); }
OPCODE(op_false) { return push_new(p, (pk_value){.kind = PK_VALUE_BOOL}); }
OPCODE(op_binint) {
    const uint8_t *raw = NULL;
    PK_TRY(operand(p, 4, &raw));
    return push_new(p, (pk_value){.kind = PK_VALUE_INT, .i = (int32_t)pk_le32(raw)});
}
OPCODE(op_binint1) {
    const uint8_t *raw = NULL;
    PK_TRY(operand(p, 1, &raw));
    return push_new(p, (pk_value){.kind = PK_VALUE_INT, .i = raw[0]});
}
OPCODE(op_binint2) {
    const uint8_t *raw = NULL;
    PK_TRY(operand(p, 2, &raw));
    return push_new(p, (pk_value){.kind = PK_VALUE_INT, .i = pk_le16(raw)});
}
OPCODE(op_long1) {
    const uint8_t *raw = NULL;
    PK_TRY(operand(p, 1, &raw));
    return push_long(p, raw[0]);
}
OPCODE(op_binfloat) {
    const uint8_t *raw = NULL;
    PK_TRY(operand(p, 8, &raw));
    uint64_t bits = 0;
    pk_value v = {.kind = PK_VALUE_FLOAT};
    for (int i = 0; i < 8; i++) bits = bits << 8 | raw[i];
    memcpy(&v.f, &bits, sizeof v.f);
    return push_new(p, v);
}
OPCODE(op_short_text) { return sized_text(p, 1, true); }
OPCODE(op_text) { return sized_text(p, 4, true); }
OPCODE(op_text8) { return sized_text(p, 8, true); }
OPCODE(op_short_bytes) { return sized_text(p, 1, false); }
OPCODE(op_bytes) { return sized_text(p, 4, false); }

OPCODE(op_empty_tuple) { return push_new(p, (pk_value){.kind = PK_VALUE_TUPLE, .a = -1, .b = -1}); }
OPCODE(op_empty_list) { return push_new(p, (pk_value){.kind = PK_VALUE_LIST, .a = -1, .b = -1}); }
OPCODE(op_empty_dict) { return push_new(p, (pk_value){.kind = PK_VALUE_DICT, .a = -1, .b = -1}); }
OPCODE(op_empty_set) { return push_new(p, (pk_value){.kind = PK_VALUE_SET, .a = -1, .b = -1}); }
OPCODE(op_mark) { return pk_pickle_push(p, -1); }
OPCODE(op_tuple) { return collect_marked(p, PK_VALUE_TUPLE); }
OPCODE(op_frozenset) { return collect_marked(p, PK_VALUE_SET); }
OPCODE(op_tuple1) { return collect_last(p, 1); }
OPCODE(op_tuple2) { return collect_last(p, 2); }
OPCODE(op_tuple3) { return collect_last(p, 3); }
OPCODE(op_append) { return fill_last(p, PK_VALUE_LIST, 1); }
OPCODE(op_appends) { return fill_marked(p, PK_VALUE_LIST); }
OPCODE(op_additems) { return fill_marked(p, PK_VALUE_SET); }
OPCODE(op_setitem) { return fill_last(p, PK_VALUE_DICT, 2); }
OPCODE(op_setitems) { return fill_marked(p, PK_VALUE_DICT); }

OPCODE(op_pop) {
    PK_RETURN_IF(p->depth == 0, PK_EFORMAT, "a pickle that takes a value where none is");
    p->depth--; /* a mark too */
    return PK_OK;
}
OPCODE(op_pop_mark) {
    int32_t mark = 0;
    PK_TRY(find_mark(p, &mark));
    p->depth = mark;
    return PK_OK;
}
OPCODE(op_dup) {
    int32_t v = 0;
    PK_TRY(pk_pickle_pop(p, &v));
    PK_TRY(pk_pickle_push(p, v));
    return pk_pickle_push(p, v);
}

static pk_status put(pk_pickle *p, int64_t place) {
    int32_t v = 0;
    PK_TRY(pk_pickle_pop(p, &v));
    PK_TRY(pk_pickle_push(p, v));
    return pk_pickle_remember(p, place, v);
}
static pk_status get(pk_pickle *p, int64_t place) {
    PK_RETURN_IF(place >= p->memos || p->memo[place] < 0, PK_EFORMAT, "a pickle that recalls what it never stored");
    return pk_pickle_push(p, p->memo[place]);
}
OPCODE(op_binput) {
    const uint8_t *raw = NULL;
    PK_TRY(operand(p, 1, &raw));
    return put(p, raw[0]);
}
OPCODE(op_long_binput) {
    const uint8_t *raw = NULL;
    PK_TRY(operand(p, 4, &raw));
    return put(p, pk_le32(raw));
}
OPCODE(op_memoize) { return put(p, p->memos); }
OPCODE(op_binget) {
    const uint8_t *raw = NULL;
    PK_TRY(operand(p, 1, &raw));
    return get(p, raw[0]);
}
OPCODE(op_long_binget) {
    const uint8_t *raw = NULL;
    PK_TRY(operand(p, 4, &raw));
    return get(p, pk_le32(raw));
}

/* A name up to the end of the line. */
static pk_status line(pk_pickle *p, int32_t *v) {
    const uint8_t *from = p->text + p->at, *end = memchr(from, '\n', (size_t)(p->size - p->at));
    PK_RETURN_IF(!end, PK_EFORMAT, "a pickle cut short");
    PK_TRY(new_text(p, p->at, end - from, v));
    p->at += end - from + 1;
    return PK_OK;
}

static pk_status push_global(pk_pickle *p, int32_t module, int32_t name) {
    int32_t v = 0;
    PK_TRY(pk_pickle_new(p, (pk_value){.kind = PK_VALUE_GLOBAL, .a = module, .b = name}, &v));
    PK_TRY(pk_pickle_check_global(p, v));
    return pk_pickle_push(p, v);
}
OPCODE(op_global) {
    int32_t module = 0, name = 0;
    PK_TRY(line(p, &module));
    PK_TRY(line(p, &name));
    return push_global(p, module, name);
}
OPCODE(op_stack_global) {
    int32_t module = 0, name = 0;
    PK_TRY(pk_pickle_pop(p, &name));
    PK_TRY(pk_pickle_pop(p, &module));
    PK_RETURN_IF(p->value[module].kind != PK_VALUE_TEXT || p->value[name].kind != PK_VALUE_TEXT, PK_EFORMAT,
                 "a global in a pickle whose name is no text");
    return push_global(p, module, name);
}
OPCODE(op_reduce) {
    int32_t callable = 0, args = 0, v = 0;
    PK_TRY(pk_pickle_pop(p, &args));
    PK_TRY(pk_pickle_pop(p, &callable));
    PK_TRY(pk_pickle_reduce(p, callable, args, &v));
    return pk_pickle_push(p, v);
}
OPCODE(op_newobj_ex) { /* class, positional, named arguments */
    int32_t named = 0;
    PK_TRY(pk_pickle_pop(p, &named));
    return op_reduce(p);
}
OPCODE(op_build) { /* attributes: nothing here has any */
    int32_t state = 0, v = 0;
    PK_TRY(pk_pickle_pop(p, &state));
    PK_TRY(pk_pickle_pop(p, &v));
    pk_value_kind kind = p->value[v].kind;
    PK_RETURN_IF(kind != PK_VALUE_DICT && kind != PK_VALUE_TENSOR && kind != PK_VALUE_OPAQUE, PK_EFORMAT,
                 "a pickle that gives attributes to a %s", pk_value_kind_name(kind));
    return pk_pickle_push(p, v);
}
OPCODE(op_binpersid) {
    int32_t id = 0, v = 0;
    PK_TRY(pk_pickle_pop(p, &id));
    PK_TRY(pk_pickle_persistent(p, id, &v));
    return pk_pickle_push(p, v);
}

/* All opcodes of protocols 0 to 5; those without a function are refused. */
static const struct {
    const char *name;
    pk_status (*run)(pk_pickle *p);
} opcodes[256] = {
    [0x80] = {"PROTO", op_proto}, [0x95] = {"FRAME", op_frame},
    ['N'] = {"NONE", op_none}, [0x88] = {"NEWTRUE", op_true}, [0x89] = {"NEWFALSE", op_false},
    ['J'] = {"BININT", op_binint}, ['K'] = {"BININT1", op_binint1}, ['M'] = {"BININT2", op_binint2},
    [0x8a] = {"LONG1", op_long1}, ['G'] = {"BINFLOAT", op_binfloat},
    [0x8c] = {"SHORT_BINUNICODE", op_short_text}, ['X'] = {"BINUNICODE", op_text}, [0x8d] = {"BINUNICODE8", op_text8},
    ['U'] = {"SHORT_BINSTRING", op_short_bytes}, ['T'] = {"BINSTRING", op_bytes},
    ['C'] = {"SHORT_BINBYTES", op_short_bytes}, ['B'] = {"BINBYTES", op_bytes},
    [')'] = {"EMPTY_TUPLE", op_empty_tuple}, [']'] = {"EMPTY_LIST", op_empty_list},
    ['}'] = {"EMPTY_DICT", op_empty_dict}, [0x8f] = {"EMPTY_SET", op_empty_set}, ['('] = {"MARK", op_mark},
    ['t'] = {"TUPLE", op_tuple}, [0x85] = {"TUPLE1", op_tuple1}, [0x86] = {"TUPLE2", op_tuple2},
    [0x87] = {"TUPLE3", op_tuple3}, [0x91] = {"FROZENSET", op_frozenset},
    ['a'] = {"APPEND", op_append}, ['e'] = {"APPENDS", op_appends}, [0x90] = {"ADDITEMS", op_additems},
    ['s'] = {"SETITEM", op_setitem}, ['u'] = {"SETITEMS", op_setitems},
    ['0'] = {"POP", op_pop}, ['1'] = {"POP_MARK", op_pop_mark}, ['2'] = {"DUP", op_dup},
    ['q'] = {"BINPUT", op_binput}, ['r'] = {"LONG_BINPUT", op_long_binput}, [0x94] = {"MEMOIZE", op_memoize},
    ['h'] = {"BINGET", op_binget}, ['j'] = {"LONG_BINGET", op_long_binget},
    ['c'] = {"GLOBAL", op_global}, [0x93] = {"STACK_GLOBAL", op_stack_global},
    ['R'] = {"REDUCE", op_reduce}, [0x81] = {"NEWOBJ", op_reduce}, [0x92] = {"NEWOBJ_EX", op_newobj_ex},
    ['b'] = {"BUILD", op_build}, ['Q'] = {"BINPERSID", op_binpersid}, ['.'] = {"STOP", NULL},
    ['I'] = {"INT", NULL}, ['L'] = {"LONG", NULL}, ['F'] = {"FLOAT", NULL}, ['S'] = {"STRING", NULL},
    ['V'] = {"UNICODE", NULL}, ['P'] = {"PERSID", NULL}, ['d'] = {"DICT", NULL}, ['l'] = {"LIST", NULL},
    ['p'] = {"PUT", NULL}, ['g'] = {"GET", NULL}, ['i'] = {"INST", NULL}, ['o'] = {"OBJ", NULL},
    [0x82] = {"EXT1", NULL}, [0x83] = {"EXT2", NULL}, [0x84] = {"EXT4", NULL}, [0x8b] = {"LONG4", NULL},
    [0x8e] = {"BINBYTES8", NULL}, [0x96] = {"BYTEARRAY8", NULL}, [0x97] = {"NEXT_BUFFER", NULL},
    [0x98] = {"READONLY_BUFFER", NULL},
};

pk_status pk_pickle_step(pk_pickle *p, uint8_t opcode, bool *stop) {
    *stop = opcode == '.';
    if (*stop) return PK_OK;
    PK_RETURN_IF(!opcodes[opcode].name, PK_EFORMAT, "byte 0x%02x is no opcode of pickles", opcode);
    PK_RETURN_IF(!opcodes[opcode].run, PK_EFORMAT, "the pickle uses opcode %s, which tensors do not need: refused",
                 opcodes[opcode].name);
    return opcodes[opcode].run(p);
}
