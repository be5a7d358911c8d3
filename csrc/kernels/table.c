/* The kernel tables, one a level, and the choice among them. Detection itself is core/cpu.c. */
#include "kernels/kernels.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/status.h"

#define PK_KERNEL(ret, name, args) .name = pk_##name##__ref,
static const pk_kernels table_ref = {
#include "kernels/kernels.def"
};
#undef PK_KERNEL

#ifdef PK_HAVE_generic
#define PK_KERNEL(ret, name, args) .name = pk_##name##__generic,
static const pk_kernels table_generic = {
#include "kernels/kernels.def"
};
#undef PK_KERNEL
#endif

#ifdef PK_HAVE_avx2
#define PK_KERNEL(ret, name, args) .name = pk_##name##__avx2,
static const pk_kernels table_avx2 = {
#include "kernels/kernels.def"
};
#undef PK_KERNEL
#endif

#ifdef PK_HAVE_avx512
#define PK_KERNEL(ret, name, args) .name = pk_##name##__avx512,
static const pk_kernels table_avx512 = {
#include "kernels/kernels.def"
};
#undef PK_KERNEL
#endif

#ifdef PK_HAVE_neon
#define PK_KERNEL(ret, name, args) .name = pk_##name##__neon,
static const pk_kernels table_neon = {
#include "kernels/kernels.def"
};
#undef PK_KERNEL
#endif

static const pk_kernels *const tables[PK_ISA_COUNT] = {
    [PK_ISA_REF] = &table_ref,
#ifdef PK_HAVE_generic
    [PK_ISA_GENERIC] = &table_generic,
#endif
#ifdef PK_HAVE_avx2
    [PK_ISA_AVX2] = &table_avx2,
#endif
#ifdef PK_HAVE_avx512
    [PK_ISA_AVX512] = &table_avx512,
#endif
#ifdef PK_HAVE_neon
    [PK_ISA_NEON] = &table_neon,
#endif
};

const pk_kernels *pk_kernels_at(pk_isa_level level) {
    return level >= 0 && level < PK_ISA_COUNT && pk_isa_supported(level) ? tables[level] : NULL;
}

static int level_named(const char *name) {
    for (int level = 0; level < PK_ISA_COUNT; level++)
        if (!strcmp(name, pk_isa_name((pk_isa_level)level))) return level;
    return -1;
}

static int best_level(void) {
    int best = PK_ISA_REF;
    for (int level = 0; level < PK_ISA_COUNT; level++)
        if (pk_kernels_at((pk_isa_level)level)) best = level;
    return best;
}

/* -1: not chosen yet. Threads that meet here at once come to the same choice. */
static atomic_int chosen = -1;

pk_isa_level pk_isa_in_use(void) {
    int level = atomic_load_explicit(&chosen, memory_order_relaxed);
    if (level < 0) {
        const char *wanted = getenv("PELK_ISA");
        level = wanted ? level_named(wanted) : -1;
        if (level < 0 || !pk_kernels_at((pk_isa_level)level)) level = best_level();
        atomic_store_explicit(&chosen, level, memory_order_relaxed);
    }
    return (pk_isa_level)level;
}

const pk_kernels *pk_k(void) { return tables[pk_isa_in_use()]; }

const char *pk_isa(void) { return pk_isa_name(pk_isa_in_use()); }

static pk_status find_level(const char *owner, const char *name, int *level) {
    *level = level_named(name);
    PK_RETURN_IF(*level < 0, PK_EINVAL, "%s: unknown kernel set '%s' (one of ref, generic, avx2, avx512, neon)", owner,
                 name);
    PK_RETURN_IF(!pk_kernels_at((pk_isa_level)*level), PK_EINVAL,
                 "%s: kernel set '%s' is not available on this machine (the best one is %s)", owner, name,
                 pk_isa_name((pk_isa_level)best_level()));
    return PK_OK;
}

pk_status pk_isa_check_environment(void) {
    int level;
    const char *name = getenv("PELK_ISA");
    return name && *name ? find_level("PELK_ISA", name, &level) : PK_OK;
}

pk_status pk_set_isa(const char *name) {
    int level;
    PK_TRY(find_level("set_isa", name, &level));
    atomic_store_explicit(&chosen, level, memory_order_relaxed);
    return PK_OK;
}
