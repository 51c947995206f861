/* SPDX-License-Identifier: MIT */
/* The peak of vectors that every CPU of the architecture has. */
#define VECTOR_BYTES 16
#ifdef __x86_64__
#define KEEP(value) __asm__ volatile("" : "+x"(value))
#else
#define KEEP(value) __asm__ volatile("" : "+w"(value))
#endif
#define PEAK bench_peak_portable
#include "lib/peak_body.h"
