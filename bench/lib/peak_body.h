/* SPDX-License-Identifier: MIT */
/* The peak rate with one instruction set: independent fused multiply-adds without memory accesses.
 * Included by peak_<instruction set>.c, which
 * defines VECTOR_BYTES, KEEP (a value stays in a register) and PEAK (the function's name), and is
 * compiled with that instruction set's flags. */
#include "lib/peak.h"

#include "lib/bench.h"

#define LANES (VECTOR_BYTES / sizeof(float))
enum { CHAINS = 12, ROUNDS = 200000 };

typedef float vector __attribute__((vector_size(VECTOR_BYTES)));

/* one variable per chain, so that each stays in a register */
#define EACH(do)                                                                                   \
    do                                                                                             \
    (0) do(1) do(2) do(3) do(4) do(5) do(6) do(7) do(8) do(9) do(10) do(11)
#define DECLARE(i) vector chain##i = {(float)i};
#define STEP(i)                                                                                    \
    chain##i = chain##i * factor + term;                                                           \
    KEEP(chain##i);

double PEAK(unsigned repeats)
{
    double best = 0;
    vector factor = {0.5f, 0.5f}, term = {1.0f, 1.0f};
    EACH(DECLARE)
    KEEP(factor);
    KEEP(term);
    for (unsigned repeat = 0; repeat < repeats; repeat++) {
        uint64_t start = bench_now_ns();
        for (int round = 0; round < ROUNDS; round++) {
            EACH(STEP)
        }
        double flops = 2.0 * CHAINS * (double)LANES * ROUNDS;
        double rate = flops / (double)(bench_now_ns() - start);
        best = rate > best ? rate : best;
    }
    return best;
}
