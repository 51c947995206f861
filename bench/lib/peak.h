/* SPDX-License-Identifier: MIT */
/* The reference for GEMM rates. */
#ifndef SWBENCH_LIB_PEAK_H
#define SWBENCH_LIB_PEAK_H

/* The peak rate of one core in GFLOP/s: fused multiply-adds on the CPU's widest float vectors, the
 * best of several runs of about 0.1 ms. */
double bench_peak_gflops(unsigned repeats);

/* With one instruction set, which the CPU must support. */
double bench_peak_avx512(unsigned repeats);
double bench_peak_avx2(unsigned repeats);
double bench_peak_portable(unsigned repeats);

#endif
