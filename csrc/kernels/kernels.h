/* The kernel table. kernels.def lists every kernel once; prototypes, table, check and bench expand it.
 *
 * A kernel has a scalar truth in ref_<family>.c (plain loops, PK_NAME with the level "ref") and one body in
 * <family>.inc.c over the vector vocabulary of vec.h, which make compiles for every level (build/kernels/
 * <family>__<isa>.o, flags per level, -DPK_LEVEL=<isa>). Kernels work on pointers, run on one thread, never fail and
 * never allocate: scratch comes from the caller. They neither read nor write outside the stated ranges. */
#ifndef PK_KERNELS_KERNELS_H
#define PK_KERNELS_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/cpu.h"
#include "core/status.h"
#include "kernels/gemm_block.h"
#include "kernels/window.h"

#define PK_PASTE3_(a, b, c) a##b##__##c
#define PK_PASTE3(a, b, c) PK_PASTE3_(a, b, c)
#define PK_NAME(name) PK_PASTE3(pk_, name, PK_LEVEL) /* pk_gelu__avx2 */

typedef struct pk_kernels {
#define PK_KERNEL(ret, name, args) ret (*name) args;
#include "kernels/kernels.def"
#undef PK_KERNEL
} pk_kernels;

#define PK_KERNEL(ret, name, args) \
    ret pk_##name##__ref args;     \
    ret pk_##name##__generic args; \
    ret pk_##name##__avx2 args;    \
    ret pk_##name##__avx512 args;  \
    ret pk_##name##__neon args;
#include "kernels/kernels.def"
#undef PK_KERNEL

enum { PK_PEAK_CHAINS = 10 }; /* independent multiply-adds a round of the kernel `peak` */

/* The table in use: the best level the machine supports, or what PELK_ISA / pk_set_isa asked for. */
const pk_kernels *pk_k(void);
const pk_kernels *pk_kernels_at(pk_isa_level level); /* null if not supported here */
pk_isa_level pk_isa_in_use(void);
/* PELK_ISA, where it is set, must name a level that runs here. Without this check, what does not is as if not set. */
pk_status pk_isa_check_environment(void);

#endif
