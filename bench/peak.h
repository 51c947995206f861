/* The yardstick for GEMM rates. */
#ifndef SW_BENCH_PEAK_H
#define SW_BENCH_PEAK_H

/* GFLOP/s of one core's fused multiply-adds on float vectors; the best of some repeats of about a tenth
 * of a millisecond. On x86-64 the CPU must have AVX2 and FMA. */
double bench_peak_gflops(unsigned repeats);

#endif
