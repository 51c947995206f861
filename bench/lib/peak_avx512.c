/* SPDX-License-Identifier: MIT */
/* The peak with AVX-512: on some cores equal to that of AVX2, on others twice as high. */
#define VECTOR_BYTES 64
#define KEEP(value)  __asm__ volatile("" : "+v"(value))
#define PEAK         bench_peak_avx512
#include "lib/peak_body.h"
