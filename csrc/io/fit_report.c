/* One readable account of what does not fit. */
#include <stdio.h>
#include <string.h>

#include "io/weights.h"

#define NAMES_SHOWN 8

static void say(pk_fitting *f, const char *text) {
    size_t room = sizeof f->fit->text - f->length;
    int n = snprintf(f->fit->text + f->length, room, "%s", text);
    if (n > 0) f->length += (size_t)n < room ? (size_t)n : room - 1;
}

/* The first few names of a kind go into the account. */
static void count(pk_fitting *f, int64_t *counter, const char *title, const char *name, const char *detail) {
    char line[512];
    if (++*counter > NAMES_SHOWN) return;
    bool first = *counter == 1;
    snprintf(line, sizeof line, "%s%s%.160s%.200s", first && f->length ? "; " : "", first ? title : ", ", name, detail);
    say(f, line);
}

static void close_kind(pk_fitting *f, int64_t counter) {
    char line[64] = "";
    if (counter > NAMES_SHOWN) snprintf(line, sizeof line, " and %lld more", (long long)(counter - NAMES_SHOWN));
    if (counter > 0) snprintf(line + strlen(line), sizeof line - strlen(line), " (%lld in all)", (long long)counter);
    say(f, line);
}

static bool is_tracking(const char *name) {
    static const char end[] = "num_batches_tracked";
    size_t n = strlen(name), k = sizeof end - 1;
    return n >= k && strcmp(name + n - k, end) == 0;
}

static void report_misfit(pk_fitting *f, int64_t i) {
    const pk_named *wanted = &f->wanted.item[i];
    const pk_tensor *given = f->given.item[pk_dict_find(&f->given, wanted->name)].tensor;
    char detail[256];
    pk_ints noted;
    if (given->dtype != wanted->tensor->dtype)
        snprintf(detail, sizeof detail, " is %s, the model has %s", pk_dtype_name(given->dtype),
                 pk_dtype_name(wanted->tensor->dtype));
    else if (pk_same_shape(given, wanted->tensor) && pk_fit_noted_grid(f, wanted->name, &noted))
        snprintf(detail, sizeof detail, " lies on another grid than the model's");
    else
        snprintf(detail, sizeof detail, " is %s, the model has %s", pk_shape_text(given),
                 pk_shape_text(wanted->tensor));
    count(f, &f->fit->misfit, "other shape: ", wanted->name, detail);
}

/* What was done, and what could be. */
static void report_deeds(pk_fitting *f) {
    char line[PK_KEY_ROOM + 128];
    const char *between = f->length ? "; " : "";
    if (f->naming.map || *f->naming.prefix) {
        snprintf(line, sizeof line, "%snames of %s%s%s%s", between, f->naming.map ? f->naming.map->name : "pelk",
                 *f->naming.prefix ? " behind '" : "", f->naming.prefix, *f->naming.prefix ? "'" : "");
        say(f, line);
        between = "; ";
    }
    if (f->fit->resized) {
        snprintf(line, sizeof line, "%sresized: %lld kernels and maps", between, (long long)f->fit->resized);
        say(f, line);
        between = "; ";
    }
    int64_t reset = 0;
    for (int64_t i = 0; i < f->wanted.count; i++)
        if (f->state[i] == PK_FIT_RESET) count(f, &reset, "made anew: ", f->wanted.item[i].name, "");
}

/* Misfits that an option would have settled. */
static void report_hints(pk_fitting *f) {
    bool head = false, kernel = false;
    for (int64_t i = 0; i < f->wanted.count; i++) {
        const pk_tensor *t = f->wanted.item[i].tensor;
        if (f->state[i] != PK_FIT_MISFIT) continue;
        const pk_tensor *given = f->given.item[pk_dict_find(&f->given, f->wanted.item[i].name)].tensor;
        if (given->dtype != t->dtype || given->ndim != t->ndim) continue;
        head |= strncmp(f->wanted.item[i].name, "head.", 5) == 0 && given->shape[0] != t->shape[0];
        kernel |= t->ndim >= 3 && given->shape[0] == t->shape[0];
    }
    if (head && !f->o->reset_head) say(f, ". For other classes the head is made anew by head = \"reset\"");
    if (kernel && f->o->resize == PK_RESIZE_OFF)
        say(f, ". Kernels and maps of another size are fitted by resize = true");
}

void pk_fit_report(pk_fitting *f) {
    for (int64_t i = 0; i < f->wanted.count; i++)
        if (f->state[i] == PK_FIT_MISSING) count(f, &f->fit->missing, "missing: ", f->wanted.item[i].name, "");
    close_kind(f, f->fit->missing);
    for (int64_t i = 0; i < f->given.count; i++) {
        const char *name = f->given.item[i].name;
        if (!f->used[i] && !is_tracking(name)) count(f, &f->fit->unexpected, "unexpected: ", name, "");
    }
    close_kind(f, f->fit->unexpected);
    for (int64_t i = 0; i < f->wanted.count; i++)
        if (f->state[i] == PK_FIT_MISFIT) report_misfit(f, i);
    close_kind(f, f->fit->misfit);
    report_deeds(f);
    report_hints(f);
}
