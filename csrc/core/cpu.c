/* Which kernel levels this process can run. The compiler's builtin asks cpuid and, for AVX, the register state that
 * the operating system saves (xgetbv). */
#include "core/cpu.h"

#include <sched.h>
#include <unistd.h>

const char *pk_isa_name(pk_isa_level level) {
    static const char *const names[PK_ISA_COUNT] = {"ref", "generic", "avx2", "avx512", "neon"};
    return (unsigned)level < PK_ISA_COUNT ? names[level] : "unknown";
}

bool pk_isa_supported(pk_isa_level level) {
    switch (level) {
    case PK_ISA_REF:
    case PK_ISA_GENERIC:
        return true;
#ifdef PK_HAVE_avx2
    case PK_ISA_AVX2:
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
#if defined PK_HAVE_avx512 && defined PK_WIDE
    case PK_ISA_AVX512:
        return true; /* its intrinsics are emulated */
#elif defined PK_HAVE_avx512
    case PK_ISA_AVX512:
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("fma");
#endif
#ifdef PK_HAVE_neon
    case PK_ISA_NEON:
        return true; /* part of every AArch64 */
#endif
    default:
        return false;
    }
}

int pk_cpu_cores(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        int n = CPU_COUNT(&set);
        if (n > 0) return n;
    }
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (int)n : 1;
}
