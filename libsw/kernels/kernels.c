/* SPDX-License-Identifier: MIT */
/* Chooses the kernels for this CPU. */
#include "kernels/kernels.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#ifdef __x86_64__
#include <cpuid.h>
#include <stdbool.h>
#endif

extern const struct swi_kernels swi_kernels_portable;
#ifdef __x86_64__
extern const struct swi_kernels swi_kernels_avx2;
extern const struct swi_kernels swi_kernels_avx512;

/* clang 14 has no __builtin_cpu_supports("f16c") */
static bool has_f16c(void)
{
    unsigned a, b, c = 0, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}
#endif

const struct swi_kernels *swi_kernels_at(unsigned index)
{
    const struct swi_kernels *found[3] = {&swi_kernels_portable};
    unsigned count = 1;
#ifdef __x86_64__
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c()) {
        found[count++] = &swi_kernels_avx2;
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
            __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
            found[count++] = &swi_kernels_avx512;
    }
#endif
    return index < count ? found[index] : NULL;
}

static const struct swi_kernels *best;
static pthread_once_t best_once = PTHREAD_ONCE_INIT;

static void choose(void)
{
    const char *wanted = getenv("SW_CPU");
    for (unsigned i = 0; swi_kernels_at(i); i++) {
        best = swi_kernels_at(i);
        if (wanted && strcmp(best->name, wanted) == 0)
            break;
    }
}

/* Chosen once: in a virtual machine, CPUID traps to the hypervisor and takes tens of microseconds,
 * and this is called once per row. */
const struct swi_kernels *swi_kernels(void)
{
    pthread_once(&best_once, choose);
    return best;
}
