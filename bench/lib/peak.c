/* SPDX-License-Identifier: MIT */
/* Chooses the widest instruction set of this CPU for the peak. */
#include "lib/peak.h"

double bench_peak_gflops(unsigned repeats)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx512f"))
        return bench_peak_avx512(repeats);
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return bench_peak_avx2(repeats);
#endif
    return bench_peak_portable(repeats);
}
