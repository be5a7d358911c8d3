/* libFuzzer's entry for every reader of tensors, and for what fits them into a model. `make fuzz` builds and runs it under
 * the sanitizers; what it found is in corpus/, which the specs replay. Checksums of ZIP members are not looked at in this
 * build, so that what is behind them is reached. */
#include <stdio.h>
#include <stdlib.h>

#include "gen/ops.h"
#include "core/alloc.h"
#include "io/pickle.h"
#include "io/pth_pick.h"
#include "io/tensors.h"
#include "io/weights.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A small model whose names the corpus has: "weight" is a shared kernel, beside a position map. */
static pk_module *model(void) {
    static pk_module *m;
    if (m) return m;
    char options[sizeof(double) * 1024] = {0};
    const pk_class *cls = &pk_class_PeripheralConv;
    pk_schema_defaults(cls->fields, cls->nfields, options, cls->options_size);
    pk_schema_set(cls->fields, cls->nfields, options, "channels", 3);
    pk_schema_set(cls->fields, cls->nfields, options, "kernel", 13);
    if (pk_module_new(cls, options, &m) != PK_OK) {
        fprintf(stderr, "%s\n", pk_message());
        abort();
    }
    return m;
}

/* A pickle alone, as it stands in a ZIP archive. */
static void try_pickle(const uint8_t *data, size_t size) {
    pk_pickle p;
    pk_finding found = {0};
    pk_dict d = {0};
    pk_window w;
    pk_pickle_begin(&p, data, (int64_t)size, 2 * (int64_t)size + (1 << 20));
    if (pk_pickle_run(&p) == PK_OK && pk_pth_find(&p, NULL, &found, &d) == PK_OK)
        for (int64_t i = 0; i < found.count; i++) (void)pk_value_window(&p, found.item[i].v, found.item[i].name, &w);
    pk_pth_forget(&found);
    pk_dict_clear(&d);
    pk_pickle_end(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const opaque[] = {"my.*", NULL};
    const pk_pick pick = {NULL, opaque};
    pk_source s;
    pk_dict d = {0};
    pk_source_memory(&s, "input", data, (int64_t)size);
    if (pk_tensors_read(&s, &pick, &d, NULL) == PK_OK) {
        for (int how = PK_RESIZE_OFF; how <= PK_RESIZE_SCALE; how++) {
            const pk_load_options o = {.reset_head = true, .resize = how};
            pk_fit fit;
            (void)pk_module_set_state(model(), &d, &o, PK_EFORMAT, &fit);
        }
        for (int64_t i = 0; i < d.count; i++) { /* every element is there */
            pk_tensor *copy = NULL;
            if (pk_tensor_like(d.item[i].tensor, &copy) == PK_OK) (void)pk_tensor_copy(copy, d.item[i].tensor);
            pk_tensor_release(copy);
        }
    }
    pk_dict_clear(&d);
    if (size > 1 && data[0] == 0x80) try_pickle(data, size);
    return 0;
}
