/* SPDX-License-Identifier: MIT */
/* The peak by AVX-512: on some cores that of AVX2, on others twice as much. */
#define VECTOR_BYTES 64
#define KEEP(value)  __asm__ volatile("" : "+v"(value))
#define PEAK         bench_peak_avx512
#include "lib/peak_body.h"
