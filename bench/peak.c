/* What the core's multipliers can do at most: independent fused multiply-adds that never wait for each
 * other and touch no memory. Compiled with the flags of its instruction set; called after asking the
 * CPU. */
#include "peak.h"

#include "bench.h"

#define LANES (sizeof(vector) / sizeof(float))
enum { CHAINS = 12, ROUNDS = 200000 };

#ifdef __x86_64__
typedef float vector __attribute__((vector_size(32)));
#define KEEP(value) __asm__ volatile("" : "+x"(value))
#else
typedef float vector __attribute__((vector_size(16)));
#define KEEP(value) __asm__ volatile("" : "+w"(value))
#endif

/* each chain in a variable of its own, so that it stays in a register */
#define EACH(do) do(0) do(1) do(2) do(3) do(4) do(5) do(6) do(7) do(8) do(9) do(10) do(11)
#define DECLARE(i) vector chain##i = {(float)i};
#define STEP(i)                                                                                    \
    chain##i = chain##i * factor + term;                                                           \
    KEEP(chain##i);

double bench_peak_gflops(unsigned repeats)
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
