/* SPDX-License-Identifier: MIT */
/* How many bytes of a trace no cache of a given size can have had to load again.
 *
 * Belady's rule (evict what is needed furthest in the future) is optimal for chunks of equal size
 * only; for unequal sizes the optimum is hard to compute. This is the value of a linear programme
 * over reuse intervals that every policy obeys, so it is at least the optimum, and for equal sizes
 * it is the optimum.
 *
 * Derivation. Between two uses of the same chunk, one after the other, the cache has kept some of
 * the chunk or it has not. Let interval j reach from the chunk's use at a(j) to its next at b(j),
 * and y(j) be the bytes kept all the time between, 0 ≤ y(j) ≤ size(j). A hit needs y(j) = size(j),
 * so the bytes hit are at most the sum of all y(j). While use i is going on, its own chunk is in
 * the cache, and all that is kept across i has to fit beside it, into room(i):
 *
 *   maximise  sum y(j)   subject to   sum over a(j) < i < b(j) of y(j)  ≤  room(i)
 *
 * for every use i. Every schedule of whole chunks is a feasible y, whatever it prefetches and
 * however it places chunks, because a byte hit was in the cache from its load, at or before a(j),
 * until b(j).
 *
 * Two values of room(i) are valid. The plain one is budget - size(use i): it lets a chunk be kept
 * in part, which no cache has a use for. The one for whole chunks is the largest sum of sizes of
 * other chunks that is not above it: whatever is kept across i and hit later is a set of whole
 * chunks. With an arena of a few chunks' size that is a good deal less. It is found by going
 * through all subset sums, in units of the arena's allocation; where that would take too long, the
 * plain one is used.
 *
 * Fragmentation, pins of several workers at once and room for reads under way only make the true
 * optimum smaller.
 *
 * Solution. Take every interval as size(j) intervals of one byte. Go through the uses in order,
 * keeping everything, and wherever the constraint of use i is exceeded give up bytes whose interval
 * ends last. That is optimal. Say G is what is kept after use i-1, and some optimal choice O lies
 * within G (as it does before the first use). G obeys the constraints of all uses before i, so any
 * subset of G does. If the rule now gives up a byte x that O keeps, then O, which obeys the
 * constraint of i too, lacks some byte y that the rule retains across i and that ends no later. O
 * with y in place of x is worth the same, obeys the constraints before i as a subset of G, that of
 * i because it keeps as many bytes across it, and those after i because y spans no use that x does
 * not. Repeat until O lies within what the rule retains.
 *
 * Hits before use `from` are not counted: their intervals are left out, so that the bound also
 * holds for a run whose warm-up is not measured.
 */
#ifndef SWBENCH_REPLAY_BOUND_H
#define SWBENCH_REPLAY_BOUND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bound_problem {
    const uint32_t *uses;  /* [count]: chunks in the order of their use */
    const uint64_t *bytes; /* [chunks] */
    size_t count;
    uint32_t chunks;
    uint64_t budget;
    uint64_t unit; /* chunks take a whole number of units of the budget */
    size_t from;   /* first use that counts */
    bool in_parts; /* room(i) as if a part of a chunk were worth keeping */
};
/* A chunk larger than the budget is never in the cache: its uses hit nothing and take no room.
 * Returns 0 or -ENOMEM. */
int bound_hit_bytes(const struct bound_problem *problem, uint64_t *ret_bytes);

#endif
