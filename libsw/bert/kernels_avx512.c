/* The kernels for x86-64 with AVX-512 F, BW, DQ and VL. Compiled with those flags; called only after
 * asking the CPU. */
#define SWI_LANES 16
#define SWI_TABLE swi_kernels_avx512
#define SWI_TABLE_NAME "avx512"
#include "bert/kernels_body.h"
