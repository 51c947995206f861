/* The kernels for x86-64 with AVX2, FMA and F16C. Compiled with those flags; called only after asking
 * the CPU. */
#define SWI_LANES 8
#define SWI_TABLE swi_kernels_avx2
#define SWI_TABLE_NAME "avx2"
#include "bert/kernels_body.h"
