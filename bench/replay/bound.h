/* SPDX-License-Identifier: MIT */
/* An upper bound on the bytes of a trace that a cache of a given size does not have to load again.
 *
 * Belady's rule (evict what is needed furthest in the future) is optimal for chunks of equal size
 * only; for unequal sizes the optimum is hard to compute. This is the value of a linear program
 * over reuse intervals whose constraints every policy satisfies, so it is at least the optimum, and
 * equal to it for equal sizes.
 *
 * Derivation. Let interval j reach from a chunk's use at a(j) to its next use at b(j), and let y(j)
 * be the bytes of the chunk that the cache keeps throughout, 0 ≤ y(j) ≤ size(j). A hit needs y(j) =
 * size(j), so the bytes hit are at most the sum of all y(j). During use i its chunk is in the
 * cache, and everything kept across i must fit beside it, into room(i):
 *
 *   maximise  sum y(j)   subject to   sum over a(j) < i < b(j) of y(j)  ≤  room(i)
 *
 * for every use i. Every schedule of whole chunks is a feasible y, with any prefetches and any
 * placement, because a byte that is hit was in the cache from its load, at or before a(j), until
 * b(j).
 *
 * Two values of room(i) are valid. The plain one is budget - size(use i); it allows keeping a part
 * of a chunk, which is useless in a cache. The one for whole chunks is the largest sum of sizes of
 * other chunks that does not exceed the plain one, because the chunks kept across i and hit later
 * are whole. It is much smaller if the arena holds only a few chunks. It is found by enumerating
 * subset sums in units of the arena's allocation; if that would take too long, the plain one is
 * used.
 *
 * Fragmentation, pins of several workers and room for reads in progress only reduce the true
 * optimum.
 *
 * Solution. Take every interval as size(j) intervals of one byte. Go through the uses in order,
 * keeping everything, and where the constraint of use i is violated drop the bytes whose interval
 * ends last. This is optimal: let G be the bytes kept after use i-1, and O an optimal choice within
 * G (which exists before the first use). G satisfies the constraints of all uses before i, and so
 * does any subset of G. If the rule now drops a byte x that O keeps, then O, which also satisfies
 * the constraint of i, lacks a byte y that the rule keeps across i and that ends no later. O with y
 * instead of x has the same value; it satisfies the constraints before i as a subset of G, that of
 * i because it keeps as many bytes across it, and those after i because y spans no use that x does
 * not. Repeat until O is within the bytes that the rule keeps.
 *
 * Hits before use `from` do not count: their intervals are left out, so the bound also holds for a
 * run whose warm-up is not measured.
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
