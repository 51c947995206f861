/* Picks the kernels for this CPU. */
#include "bert/kernels.h"

extern const struct swi_kernels swi_kernels_portable;
#ifdef __x86_64__
extern const struct swi_kernels swi_kernels_avx2;
extern const struct swi_kernels swi_kernels_avx512;
#endif

const struct swi_kernels *swi_kernels_at(unsigned index)
{
    const struct swi_kernels *found[3] = {&swi_kernels_portable};
    unsigned count = 1;
#ifdef __x86_64__
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
        __builtin_cpu_supports("f16c")) {
        found[count++] = &swi_kernels_avx2;
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
            __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
            found[count++] = &swi_kernels_avx512;
    }
#endif
    return index < count ? found[index] : NULL;
}

const struct swi_kernels *swi_kernels(void)
{
    const struct swi_kernels *best = NULL;
    for (unsigned i = 0; swi_kernels_at(i); i++)
        best = swi_kernels_at(i);
    return best;
}
