/* What a pickle may name: the functions that rebuild tensors, done here, and classes of values beside the weights,
 * which are never made. */
#include <stdio.h>
#include <string.h>

#include "io/pickle.h"

typedef pk_status reducer(pk_pickle *p, int32_t callable, int32_t args, int32_t *out);

static pk_status opaque(pk_pickle *p, int32_t callable, int32_t args, int32_t *out) {
    (void)args;
    return pk_pickle_new(p, (pk_value){.kind = PK_VALUE_OPAQUE, .a = callable}, out);
}

/* torch._utils._rebuild_tensor[_v2](storage, offset, size, stride, ...): looked at closely when it is wanted. */
static pk_status rebuild_tensor(pk_pickle *p, int32_t callable, int32_t args, int32_t *out) {
    (void)callable;
    int32_t storage = pk_value_item(p, args, 0);
    PK_RETURN_IF(storage < 0 || p->value[storage].kind != PK_VALUE_STORAGE || p->value[args].i < 4, PK_EFORMAT,
                 "a tensor that is not made of storage, offset, size and stride");
    return pk_pickle_new(p, (pk_value){.kind = PK_VALUE_TENSOR, .a = storage, .b = args}, out);
}

/* torch._utils._rebuild_parameter(tensor, ...), torch.Size(tuple), list(list): the first argument itself. */
static pk_status first_argument(pk_pickle *p, int32_t callable, int32_t args, int32_t *out) {
    *out = pk_value_item(p, args, 0);
    return *out >= 0 ? PK_OK : opaque(p, callable, args, out);
}

/* torch._tensor._rebuild_from_type_v2(function, type, arguments, state) */
static pk_status rebuild_from_type(pk_pickle *p, int32_t callable, int32_t args, int32_t *out) {
    int32_t function = pk_value_item(p, args, 0), given = pk_value_item(p, args, 2);
    if (function < 0 || given < 0 || p->value[function].kind != PK_VALUE_GLOBAL || function == callable)
        return opaque(p, callable, args, out);
    char name[256];
    pk_value_global(p, function, name, sizeof name);
    if (strcmp(name, "torch._tensor._rebuild_from_type_v2") == 0) return opaque(p, callable, args, out);
    return pk_pickle_reduce(p, function, given, out);
}

/* collections.OrderedDict(): filled afterwards. From a list of pairs at once, as Python 2 wrote it. */
static pk_status ordered_dict(pk_pickle *p, int32_t callable, int32_t args, int32_t *out) {
    (void)callable;
    int32_t pairs = pk_value_item(p, args, 0);
    PK_TRY(pk_pickle_new(p, (pk_value){.kind = PK_VALUE_DICT, .a = -1, .b = -1}, out));
    if (pairs < 0 || p->value[pairs].kind != PK_VALUE_LIST) return PK_OK;
    int32_t c = p->value[pairs].a;
    for (int64_t n = p->value[pairs].i; n > 0; n--, c = p->cell[c].next) {
        int32_t key = pk_value_item(p, p->cell[c].value, 0), item = pk_value_item(p, p->cell[c].value, 1);
        PK_RETURN_IF(key < 0 || item < 0, PK_EFORMAT, "an OrderedDict that is not made of pairs");
        PK_TRY(pk_pickle_append(p, *out, key, item));
    }
    return PK_OK;
}

/* "module.name", or "module.*" for all in the module and below it. */
static const struct {
    const char *name;
    reducer *reduce;
} known[] = {
    {"torch._utils._rebuild_tensor_v2", rebuild_tensor},
    {"torch._utils._rebuild_tensor", rebuild_tensor},
    {"torch._utils._rebuild_parameter", first_argument},
    {"torch._utils._rebuild_parameter_with_state", first_argument},
    {"torch._tensor._rebuild_from_type_v2", rebuild_from_type},
    {"torch.Size", first_argument},
    {"collections.OrderedDict", ordered_dict},
    {"collections.defaultdict", ordered_dict},
    {"builtins.dict", ordered_dict}, {"__builtin__.dict", ordered_dict},
    /* values beside the weights */
    {"argparse.Namespace", opaque}, {"types.SimpleNamespace", opaque},
    {"collections.Counter", opaque}, {"collections.deque", opaque},
    {"numpy.core.multiarray.*", opaque}, {"numpy._core.multiarray.*", opaque}, {"numpy.dtype", opaque},
    {"numpy.ndarray", opaque}, {"numpy.random.*", opaque}, {"_codecs.encode", opaque},
    {"datetime.*", opaque}, {"pathlib.*", opaque},
    {"decimal.Decimal", opaque}, {"fractions.Fraction", opaque}, {"uuid.UUID", opaque}, {"typing.*", opaque},
    {"copyreg._reconstructor", opaque}, {"copy_reg._reconstructor", opaque},
    {"builtins.object", opaque}, {"__builtin__.object", opaque}, {"builtins.set", opaque}, {"__builtin__.set", opaque},
    {"builtins.frozenset", opaque}, {"__builtin__.frozenset", opaque}, {"builtins.list", opaque},
    {"__builtin__.list", opaque}, {"builtins.tuple", opaque}, {"__builtin__.tuple", opaque}, {"builtins.int", opaque},
    {"__builtin__.int", opaque}, {"__builtin__.long", opaque}, {"builtins.float", opaque},
    {"__builtin__.float", opaque}, {"builtins.bool", opaque}, {"__builtin__.bool", opaque}, {"builtins.str", opaque},
    {"__builtin__.str", opaque},
    {"__builtin__.unicode", opaque}, {"builtins.bytes", opaque}, {"builtins.bytearray", opaque},
    {"__builtin__.bytearray", opaque}, {"builtins.complex", opaque}, {"__builtin__.complex", opaque},
    {"builtins.slice", opaque}, {"__builtin__.slice", opaque}, {"builtins.range", opaque},
    {"__builtin__.xrange", opaque},
    {"torch.device", opaque}, {"torch.dtype", opaque}, {"torch.layout", opaque}, {"torch.float32", opaque},
    {"torch.float16", opaque}, {"torch.float64", opaque}, {"torch.bfloat16", opaque}, {"torch.int64", opaque},
    {"torch.int32", opaque}, {"torch.torch_version.TorchVersion", opaque}, {"torch.nn.*", opaque},
    {"torch.optim.*", opaque}, {"torch.cuda.amp.*", opaque}, {"torch.serialization._get_layout", opaque},
    {"torch._utils._rebuild_qtensor", opaque}, {"torch._utils._rebuild_sparse_tensor", opaque},
    {"omegaconf.*", opaque}, {"yacs.config.CfgNode", opaque}, {"easydict.EasyDict", opaque},
    {"mmcv.*", opaque}, {"mmengine.*", opaque}, {"timm.*", opaque},
};

static const struct {
    const char *name;
    pk_number type;
} storages[] = {
    {"torch.FloatStorage", PK_NUM_F32}, {"torch.HalfStorage", PK_NUM_F16}, {"torch.BFloat16Storage", PK_NUM_BF16},
    {"torch.DoubleStorage", PK_NUM_F64}, {"torch.LongStorage", PK_NUM_I64}, {"torch.IntStorage", PK_NUM_I32},
    {"torch.ShortStorage", PK_NUM_I16}, {"torch.CharStorage", PK_NUM_I8}, {"torch.ByteStorage", PK_NUM_U8},
    {"torch.BoolStorage", PK_NUM_BOOL},
};

static int storage_type(const char *name) {
    for (size_t i = 0; i < sizeof storages / sizeof *storages; i++)
        if (strcmp(storages[i].name, name) == 0) return storages[i].type;
    return -1;
}

static bool matches(const char *pattern, const char *name) {
    size_t n = strlen(pattern);
    if (n < 2 || strcmp(pattern + n - 2, ".*") != 0) return strcmp(pattern, name) == 0;
    return strncmp(pattern, name, n - 1) == 0;
}

static reducer *find(const pk_pickle *p, const char *name) {
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (matches(known[i].name, name)) return known[i].reduce;
    for (const char *const *allow = p->allow; allow && *allow; allow++)
        if (matches(*allow, name)) return opaque;
    size_t n = strlen(name);
    bool storage = strncmp(name, "torch.", 6) == 0 && n > 7 && strcmp(name + n - 7, "Storage") == 0;
    return storage ? opaque : NULL; /* those that are not read are refused where they are used */
}

pk_status pk_pickle_check_global(pk_pickle *p, int32_t global) {
    char name[256];
    pk_value_global(p, global, name, sizeof name);
    PK_RETURN_IF(!find(p, name), PK_EFORMAT,
                 "the pickle names %s, which tensors do not need: refused (nothing was run). A class of values beside "
                 "the weights can be passed over: opaque = {\"%s\"}",
                 name, name);
    return PK_OK;
}

pk_status pk_pickle_reduce(pk_pickle *p, int32_t callable, int32_t args, int32_t *out) {
    pk_value_kind kind = p->value[callable].kind, given = p->value[args].kind;
    PK_RETURN_IF((kind != PK_VALUE_GLOBAL && kind != PK_VALUE_OPAQUE) || given != PK_VALUE_TUPLE, PK_EFORMAT,
                 "a pickle that calls a %s with a %s", pk_value_kind_name(kind), pk_value_kind_name(given));
    if (kind == PK_VALUE_OPAQUE) return opaque(p, callable, args, out);
    char name[256];
    pk_value_global(p, callable, name, sizeof name);
    reducer *reduce = find(p, name);
    return reduce ? reduce(p, callable, args, out) : opaque(p, callable, args, out);
}

/* ("storage", type, key, location, elements), and in old files what part of another storage it is: nothing, here. */
pk_status pk_pickle_persistent(pk_pickle *p, int32_t id, int32_t *out) {
    int32_t item[6];
    for (int i = 0; i < 6; i++) item[i] = pk_value_item(p, id, i);
    bool good = item[4] >= 0 && pk_value_is(p, item[0], "storage") && p->value[item[1]].kind == PK_VALUE_GLOBAL &&
                p->value[item[2]].kind == PK_VALUE_TEXT && p->value[item[2]].c <= 64 &&
                p->value[item[4]].kind == PK_VALUE_INT && p->value[item[4]].i >= 0;
    PK_RETURN_IF(!good, PK_EFORMAT, "a persistent id that is not (\"storage\", type, key, location, elements)");
    PK_RETURN_IF(item[5] >= 0 && p->value[item[5]].kind != PK_VALUE_NONE, PK_EFORMAT,
                 "a storage that is a part of another one");
    char name[256];
    pk_value_global(p, item[1], name, sizeof name);
    int type = storage_type(name);
    PK_RETURN_IF(type < 0, PK_EFORMAT,
                 "a storage of type %s, read are Float Half BFloat16 Double Long Int Short Char Byte Bool", name);
    const pk_value made = {.kind = PK_VALUE_STORAGE, .a = item[2], .b = type, .i = p->value[item[4]].i};
    return pk_pickle_new(p, made, out);
}
