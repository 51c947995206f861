/* SPDX-License-Identifier: MIT */
/* The yardstick for GEMM rates. */
#ifndef SWBENCH_LIB_PEAK_H
#define SWBENCH_LIB_PEAK_H

/* GFLOP/s of one core's fused multiply-adds on float vectors as wide as this CPU has them; the best
 * of some repeats of about a tenth of a millisecond. */
double bench_peak_gflops(unsigned repeats);

/* By one instruction set, which the CPU must have. */
double bench_peak_avx512(unsigned repeats);
double bench_peak_avx2(unsigned repeats);
double bench_peak_portable(unsigned repeats);

#endif
