/* Which kernel levels this process can run. The compiler's builtin asks cpuid and, for AVX, the register state that
 * the operating system saves (xgetbv). */
#include "core/cpu.h"

#include <sched.h>
#include <stdio.h>
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

/* The numbers at a file's beginning, as many as are wanted ("max" is none). */
static bool read_numbers(const char *path, int wanted, long long number[2]) {
    FILE *f = fopen(path, "re");
    if (!f) return false;
    const int n = fscanf(f, "%lld %lld", &number[0], &number[1]);
    fclose(f);
    return n >= wanted;
}

/* The processors' time that a container may use, in whole processors, rounded up; 0: any. */
static int quota(void) {
    long long v2[2], most[2], period[2]; /* cgroup v2 keeps both in one file */
    if (read_numbers("/sys/fs/cgroup/cpu.max", 2, v2)) most[0] = v2[0], period[0] = v2[1];
    else if (!read_numbers("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", 1, most) ||
             !read_numbers("/sys/fs/cgroup/cpu/cpu.cfs_period_us", 1, period))
        return 0;
    if (most[0] <= 0 || period[0] <= 0 || most[0] / period[0] > 4096) return 0;
    return (int)((most[0] + period[0] - 1) / period[0]);
}

int pk_cpu_cores(void) {
    cpu_set_t set;
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0) n = CPU_COUNT(&set);
    const int most = quota();
    if (most > 0 && most < n) n = most;
    return n > 0 ? (int)n : 1;
}
