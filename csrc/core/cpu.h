/* What the processor and the operating system support. Plain code only: it runs before anything is known. */
#ifndef PK_CORE_CPU_H
#define PK_CORE_CPU_H

#include <stdbool.h>

typedef enum pk_isa_level { PK_ISA_REF, PK_ISA_GENERIC, PK_ISA_AVX2, PK_ISA_AVX512, PK_ISA_NEON, PK_ISA_COUNT } pk_isa_level;

const char *pk_isa_name(pk_isa_level level); /* "avx2" */
/* Compiled in, and both processor and OS (saved register state) support it. ref and generic always are. */
bool pk_isa_supported(pk_isa_level level);
int pk_cpu_cores(void); /* usable by this process (affinity), at least 1 */

#endif
