/* From a pickle's root to named tensors: the entry that is asked for or that habit puts them in, names joined. */
#include "io/pth_pick.h"

#include <stdio.h>
#include <string.h>

#include "core/alloc.h"
#include "core/checked.h"
#include "io/json.h"

enum { DEEPEST = 16, MOST_VISITS = 1 << 20, NOTES = 64, LOOKS = 256, SHOWN = 12 };

void pk_pth_forget(pk_finding *f) {
    for (int64_t i = 0; i < f->count; i++) pk_free(f->item[i].name);
    pk_free(f->item);
    memset(f, 0, sizeof *f);
}

static pk_status add(pk_finding *f, const char *name, int32_t v) {
    PK_RETURN_IF(f->count == PK_PTH_MAX_TENSORS, PK_EFORMAT, "more than %d tensors", PK_PTH_MAX_TENSORS);
    PK_TRY(pk_grow(&f->item, f->count, &f->room, sizeof *f->item));
    char *copy = pk_strdup(name);
    if (!copy) return pk_no_memory((int64_t)strlen(name));
    f->item[f->count++] = (pk_found){copy, v};
    return PK_OK;
}

static bool is_container(const pk_pickle *p, int32_t v) {
    pk_value_kind kind = p->value[v].kind;
    return kind == PK_VALUE_DICT || kind == PK_VALUE_LIST || kind == PK_VALUE_TUPLE;
}

/* List the tensors in container v; name holds its own name, n bytes. */
static pk_status walk(pk_finding *f, int32_t v, char *name, size_t n, int depth) {
    const pk_pickle *p = f->p;
    PK_RETURN_IF(depth > DEEPEST, PK_EFORMAT, "entries nested deeper than %d", DEEPEST);
    bool dict = p->value[v].kind == PK_VALUE_DICT;
    int32_t c = p->value[v].a;
    int64_t count = p->value[v].i;
    for (int64_t i = 0; i < count; i++, c = p->cell[c].next) {
        int32_t item = p->cell[c].value;
        char key[PK_PTH_MAX_NAME];
        PK_RETURN_IF(++f->visits > MOST_VISITS, PK_EFORMAT, "more than %d entries", MOST_VISITS);
        bool tensor = p->value[item].kind == PK_VALUE_TENSOR;
        if (!tensor && !is_container(p, item)) continue;
        if (!dict)
            snprintf(key, sizeof key, "%lld", (long long)i);
        else if (!pk_value_text(p, p->cell[c].key, key, sizeof key) || !pk_utf8_valid(key, (int64_t)strlen(key)))
            continue; /* not a name */
        int more = snprintf(name + n, PK_PTH_MAX_NAME - n, "%s%s", n ? "." : "", key);
        PK_RETURN_IF(more < 0 || (size_t)more >= PK_PTH_MAX_NAME - n, PK_EFORMAT,
                     "%.100s...: a name of more than %d bytes", name, PK_PTH_MAX_NAME);
        if (tensor)
            PK_TRY(add(f, name, item));
        else
            PK_TRY(walk(f, item, name, n + (size_t)more, depth + 1));
        name[n] = '\0';
    }
    return PK_OK;
}

/* Is there a tensor directly in container v? */
static bool holds_tensors(const pk_pickle *p, int32_t v) {
    int32_t c = p->value[v].a;
    for (int64_t n = is_container(p, v) ? p->value[v].i : 0; n > 0; n--, c = p->cell[c].next)
        if (p->value[p->cell[c].value].kind == PK_VALUE_TENSOR) return true;
    return false;
}

/* "model (dict of 182), epoch (int)": the fields of a dict, for a message. */
static void list_fields(const pk_pickle *p, int32_t v, char *out, size_t size) {
    int32_t c = p->value[v].a;
    size_t n = 0;
    *out = '\0';
    for (int64_t i = 0; i < p->value[v].i && i < SHOWN && n + 1 < size; i++, c = p->cell[c].next) {
        const pk_value *item = &p->value[p->cell[c].value];
        char key[48], global[256];
        if (!pk_value_text(p, p->cell[c].key, key, sizeof key) || !pk_utf8_valid(key, (int64_t)strlen(key)))
            snprintf(key, sizeof key, "?");
        pk_value_global(p, p->cell[c].value, global, sizeof global);
        int more = snprintf(out + n, size - n, "%s%s (%.60s)", n ? ", " : "", key,
                            *global ? global : pk_value_kind_name(item->kind));
        n += more > 0 ? pk_min(more, (int64_t)(size - n) - 1) : 0;
    }
}

/* "a.b": field "a.b" of a dict, or field "b" of what is under "a". */
static pk_status follow(const pk_pickle *p, const char *key, int32_t *v) {
    char part[PK_PTH_MAX_NAME], fields[1024];
    const char *whole = key;
    while (*key) {
        int32_t next = pk_value_field(p, *v, key);
        if (next >= 0) {
            *v = next;
            return PK_OK;
        }
        const char *dot = strchr(key, '.');
        snprintf(part, sizeof part, "%.*s", (int)(dot ? dot - key : 0), key);
        next = dot ? pk_value_field(p, *v, part) : -1;
        if (next < 0) {
            PK_RETURN_IF(p->value[*v].kind != PK_VALUE_DICT, PK_EFORMAT, "no entry '%.100s': where it would be is no dict, but: %s",
                         whole, pk_value_kind_name(p->value[*v].kind));
            list_fields(p, *v, fields, sizeof fields);
            return pk_fail(PK_EFORMAT, "no entry '%.100s'; there are: %s", whole, fields);
        }
        *v = next;
        key = dot + 1;
    }
    return PK_OK;
}

/* Where training scripts put a model's weights. */
static int32_t habitual(const pk_pickle *p, int32_t v) {
    static const char *const names[] = {"model", "state_dict", "model_state_dict", "module", "net", "weights"};
    for (int depth = 0; depth < 3 && p->value[v].kind == PK_VALUE_DICT && !holds_tensors(p, v); depth++) {
        int32_t next = -1;
        for (size_t i = 0; next < 0 && i < sizeof names / sizeof *names; i++) {
            next = pk_value_field(p, v, names[i]);
            if (next >= 0 && !is_container(p, next)) next = -1;
        }
        if (next < 0) break;
        v = next;
    }
    return v;
}

/* Numbers and texts of the root: the epoch, the name of the architecture. */
static pk_status note_others(const pk_pickle *p, pk_dict *d) {
    if (p->value[p->root].kind != PK_VALUE_DICT) return PK_OK;
    int32_t c = p->value[p->root].a;
    int notes = 0, looks = 0;
    for (int64_t n = p->value[p->root].i; n > 0 && notes < NOTES && looks < LOOKS; n--, c = p->cell[c].next) {
        char key[64], value[256];
        if (!pk_value_text(p, p->cell[c].key, key, sizeof key) || !pk_utf8_valid(key, (int64_t)strlen(key))) continue;
        if (!pk_value_text(p, p->cell[c].value, value, sizeof value)) continue;
        if (!pk_utf8_valid(value, (int64_t)strlen(value))) continue;
        looks++; /* each goes through the whole dict */
        if (pk_value_field(p, p->root, key) != p->cell[c].value) continue; /* set again later */
        PK_TRY(pk_dict_note(d, key, value));
        notes++;
    }
    return PK_OK;
}

pk_status pk_pth_find(const pk_pickle *p, const pk_pick *pick, pk_finding *f, pk_dict *d) {
    char name[PK_PTH_MAX_NAME] = "", global[256], fields[1024] = "";
    int32_t v = p->root;
    memset(f, 0, sizeof *f);
    f->p = p;
    if (pick && pick->key && *pick->key)
        PK_TRY(follow(p, pick->key, &v));
    else
        v = habitual(p, v);
    if (p->value[v].kind == PK_VALUE_TENSOR) {
        PK_TRY(add(f, "tensor", v));
    } else if (is_container(p, v)) {
        PK_TRY(walk(f, v, name, 0, 0));
    } else {
        pk_value_global(p, v, global, sizeof global);
        return pk_fail(PK_EFORMAT, "holds no tensors but an object, %s: save its state_dict() instead",
                       *global ? global : pk_value_kind_name(p->value[v].kind));
    }
    if (f->count == 0 && p->value[v].kind == PK_VALUE_DICT) list_fields(p, v, fields, sizeof fields);
    PK_RETURN_IF(f->count == 0 && *fields, PK_EFORMAT, "holds no tensors; there are: %s", fields);
    return note_others(p, d);
}
