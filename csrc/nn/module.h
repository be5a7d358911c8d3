/* Modules: a tree of layers that own parameters and buffers, each of a class that describes itself. One file
 * nn/nn_<name>.c exports `const pk_class pk_class_<Name>`; make builds the registry from the same kind of grep as for
 * ops (`const pk_class pk_class_NAME = {`). Names, counts, files, masks and summaries are written once, here. */
#ifndef PK_NN_MODULE_H
#define PK_NN_MODULE_H

#include "autograd/autograd.h"

struct pk_merge;
struct pk_affine;

typedef struct pk_class {
    const char *name;  /* "Linear" */
    const char *doc;
    size_t options_size;
    const pk_field *fields; /* order is the order of positional arguments: nn.Linear(10, 20) */
    int nfields;
    pk_status (*build)(pk_module *m);                            /* add parameters, buffers, children */
    pk_status (*forward)(pk_module *m, pk_tensor *x, pk_tensor **y);
    void (*describe)(const pk_module *m, char *text, size_t size); /* "96 -> 384": for printing; may be null */
    bool container; /* :add(child) is allowed */
    /* Re-parameterisation (nn/merge.h); null where there is nothing to do. merge folds what this module holds, after its
     * children. absorb takes a channel-wise y = scale x + shift that comes behind the module, or in front of it, into
     * its weights when that is exact, and says in *done whether it was. */
    pk_status (*merge)(pk_module *m, struct pk_merge *r);
    pk_status (*absorb)(pk_module *m, const struct pk_affine *a, bool behind, bool *done);
} pk_class;

typedef struct pk_slot {
    char name[32];
    pk_tensor *tensor; /* parameters: leaves that require gradients; may be shared between modules */
    bool buffer;       /* statistics: saved, never trained */
    bool no_decay;     /* weight decay skips it whatever its dimensions */
    bool shared;       /* owned (named, counted, saved) by another module of the tree */
} pk_slot;

typedef struct pk_child {
    char name[32];
    pk_module *module;
} pk_child;

struct pk_module {
    atomic_int refs;
    const pk_class *cls;
    void *options;
    bool training;
    bool merged; /* it went through pk_module_merge */
    int nslots, nchildren;
    pk_slot *slot;
    pk_child *child;
    void *hook;                  /* Lambda: whatever forward needs */
    void (*drop_hook)(void *hook);
    pk_status (*call_hook)(void *hook, pk_tensor *x, pk_tensor **y);
    void *cache;                 /* what forward keeps between calls; copies begin without */
    void (*drop_cache)(void *cache);
    struct pk_module *next;      /* in a list of modules to free */
};

const pk_class *pk_class_find(const char *name); /* null: no such class */
const pk_class *pk_class_at(int i); /* null past the end; sorted by name */

/* options: the class's struct, copied after pk_schema_check; null: defaults. Parameters come initialised. */
pk_status pk_module_new(const pk_class *cls, const void *options, pk_module **out);
pk_module *pk_module_retain(pk_module *m);
void pk_module_release(pk_module *m);

/* For build. init: how values begin. Layout is the library's own (NHWC side); files convert (io/). */
typedef enum pk_init { PK_INIT_ZEROS, PK_INIT_ONES, PK_INIT_TRUNC_NORMAL, PK_INIT_CONSTANT } pk_init;
pk_status pk_module_parameter(pk_module *m, const char *name, int ndim, const int64_t *shape, pk_init init, double value);
/* Until it is set back, parameters of new modules hold whatever memory holds, and no random numbers are drawn: for modules
 * that are only counted. Of this thread; returns what it was. */
bool pk_module_set_blank(bool blank);
pk_status pk_module_buffer(pk_module *m, const char *name, int ndim, const int64_t *shape, double value);
/* Use a parameter that another module owns. */
pk_status pk_module_share(pk_module *m, const char *name, pk_tensor *tensor);
/* Add a child (takes over the reference, also on failure). A name of null is the next number, from 0. */
pk_status pk_module_add(pk_module *m, const char *name, pk_module *child);
/* Make a child of a class and add it. */
pk_status pk_module_make(pk_module *m, const char *name, const pk_class *cls, const void *options, pk_module **child);

/* Put `child` (takes over the reference) in the place of child number i, under its name or a new one. */
void pk_module_replace(pk_module *m, int i, const char *name, pk_module *child);
/* Leave only the first n children. */
void pk_module_cut(pk_module *m, int n);
/* Take a slot away; nothing when there is none of that name. */
void pk_module_drop_slot(pk_module *m, const char *name);

pk_tensor *pk_module_tensor(const pk_module *m, const char *name); /* a slot's tensor, borrowed, or null */
pk_slot *pk_module_slot(const pk_module *m, const char *name);
pk_module *pk_module_child(const pk_module *m, const char *name);  /* borrowed, or null */
/* Follow "stages.2.blocks.1.conv_dw"; "" is m itself. Borrowed; null (no message) when there is none. */
pk_module *pk_module_get(pk_module *m, const char *path);

/* Forward. On failure the message begins with the path: "stages.2.blocks.0.conv_dw: ...". */
pk_status pk_module_forward(pk_module *m, pk_tensor *x, pk_tensor **y);
/* Child number i, its name put before a message. */
pk_status pk_module_forward_child(pk_module *m, int i, pk_tensor *x, pk_tensor **y);

/* Somebody who is told of every forward of this thread once it is through: the module, what it gave, multiply-adds (zeros
 * unless they are counted: pk_count) and seconds, its children's included. Returns who watched before; null ends it. */
typedef struct pk_watch {
    void (*saw)(struct pk_watch *w, pk_module *m, const pk_tensor *y, const pk_macs *macs, double seconds);
} pk_watch;
pk_watch *pk_module_watch(pk_watch *w);
/* Is somebody watching? Then a module that can do its children's work in one op runs them one by one. */
bool pk_module_watched(void);

void pk_module_train(pk_module *m, bool training); /* of m and all below it: batch statistics, dropout, drop path */

/* Visit every slot that is not shared, depth first, in the order of building; path is "a.b.weight". */
typedef pk_status pk_visit_slot(void *context, const char *path, pk_module *m, pk_slot *slot);
pk_status pk_module_each_slot(pk_module *m, pk_visit_slot *visit, void *context);
typedef pk_status pk_visit_module(void *context, const char *path, pk_module *m, int depth);
pk_status pk_module_each(pk_module *m, pk_visit_module *visit, void *context);

/* Deep copy: own parameters, same options; hooks are refused. */
pk_status pk_module_clone(pk_module *m, pk_module **out);

#endif
