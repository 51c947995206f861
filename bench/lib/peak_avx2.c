/* SPDX-License-Identifier: MIT */
/* The peak with AVX2 and FMA. */
#define VECTOR_BYTES 32
#define KEEP(value)  __asm__ volatile("" : "+x"(value))
#define PEAK         bench_peak_avx2
#include "lib/peak_body.h"
