/* SPDX-License-Identifier: MIT */
/* The bound on hits: by hand, against every choice, and against the optimum for equal sizes. */
#include <criterion/criterion.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "replay/bound.h"

TestSuite(bound, .timeout = 60);

static uint64_t solve(const uint32_t *uses, size_t count, const uint64_t *bytes, uint32_t chunks,
                      uint64_t budget, size_t from, bool in_parts)
{
    uint64_t result = UINT64_MAX;
    const struct bound_problem problem = {.uses = uses,
                                          .bytes = bytes,
                                          .count = count,
                                          .chunks = chunks,
                                          .budget = budget,
                                          .unit = 1,
                                          .from = from,
                                          .in_parts = in_parts};
    cr_assert_eq(bound_hit_bytes(&problem, &result), 0);
    return result;
}

static uint64_t bound_of(const uint32_t *uses, size_t count, const uint64_t *bytes, uint32_t chunks,
                         uint64_t budget, size_t from)
{
    return solve(uses, count, bytes, chunks, budget, from, true);
}

Test(bound, by_hand)
{
    const uint32_t uses[] = {0, 1, 2, 0, 1, 2};
    const uint64_t ones[] = {1, 1, 1}, twos[] = {2, 2, 2};
    cr_assert_eq(bound_of(uses, 6, ones, 3, 3, 0), 3);
    cr_assert_eq(bound_of(uses, 6, ones, 3, 2, 0), 2); /* 0 and 2 */
    cr_assert_eq(bound_of(uses, 6, ones, 3, 1, 0), 0);
    /* 3 bytes beside the chunk in use: all of 0, half of 1, all of 2 */
    cr_assert_eq(bound_of(uses, 6, twos, 3, 5, 0), 5);
}

/* Beside a chunk of 2 fits one more of 2, or nothing. */
Test(bound, whole_chunks_leave_less_room)
{
    const uint32_t uses[] = {0, 1, 2, 0, 1, 2};
    const uint64_t twos[] = {2, 2, 2}, mixed[] = {3, 4, 5};
    cr_assert_eq(solve(uses, 6, twos, 3, 5, 0, false), 4);
    cr_assert_eq(solve(uses, 6, twos, 3, 6, 0, false), 6);
    cr_assert_eq(solve(uses, 6, twos, 3, 3, 0, false), 0);
    /* of 10: beside 3 all but 2 of 4 + 5, so 5; beside 4 the 5, not 6; beside 5 the 4 */
    cr_assert_eq(solve(uses, 6, mixed, 3, 10, 0, true), 3 + 2 + 5);
    cr_assert_eq(solve(uses, 6, mixed, 3, 10, 0, false), 3 + 1 + 4);
}

/* Sizes in units of 4: 1 … 4 take one, 5 … 8 two. */
Test(bound, chunks_take_whole_units)
{
    const uint32_t uses[] = {0, 1, 0, 1};
    const uint64_t bytes[] = {5, 4};
    uint64_t result;
    struct bound_problem problem = {
        .uses = uses, .bytes = bytes, .count = 4, .chunks = 2, .budget = 11, .unit = 4};
    cr_assert_eq(bound_hit_bytes(&problem, &result), 0);
    cr_assert_eq(result, 0);
    problem.budget = 12;
    cr_assert_eq(bound_hit_bytes(&problem, &result), 0);
    cr_assert_eq(result, 9);
}

Test(bound, a_use_leaves_room_for_itself_only)
{
    /* across the use of 1 (4 bytes) only 1 byte of 0 can stay */
    const uint32_t uses[] = {0, 1, 0, 0};
    const uint64_t bytes[] = {3, 4};
    cr_assert_eq(bound_of(uses, 4, bytes, 2, 5, 0), 1 + 3);
    cr_assert_eq(bound_of(uses, 4, bytes, 2, 7, 0), 3 + 3);
}

Test(bound, a_chunk_beyond_the_budget_takes_no_room)
{
    const uint32_t uses[] = {0, 1, 0, 1};
    const uint64_t bytes[] = {3, 9};
    cr_assert_eq(bound_of(uses, 4, bytes, 2, 5, 0), 3);
}

Test(bound, hits_before_the_window_do_not_count)
{
    const uint32_t uses[] = {0, 0, 1, 0, 1};
    const uint64_t bytes[] = {2, 2};
    cr_assert_eq(bound_of(uses, 5, bytes, 2, 4, 0), 2 + 2 + 2);
    cr_assert_eq(bound_of(uses, 5, bytes, 2, 4, 3), 2 + 2);
    cr_assert_eq(bound_of(uses, 5, bytes, 2, 4, 4), 2);
}

Test(bound, nothing)
{
    cr_assert_eq(bound_of(NULL, 0, NULL, 0, 5, 0), 0);
}

/* ---- against every choice of bytes ----------------------------------------------------------- */

#define SMALL_USES 7
#define UNITS_MAX  14

struct unit {
    size_t from, to;
};

/* The linear programme over one-byte intervals by trying all subsets: its matrix is an interval
 * matrix, so whole bytes are enough. */
static uint64_t best_subset(const uint32_t *uses, const uint64_t *bytes, uint64_t budget,
                            const struct unit *units, unsigned count)
{
    uint64_t best = 0;
    for (uint32_t subset = 0; subset < UINT32_C(1) << count; subset++) {
        bool feasible = true;
        for (size_t i = 0; i < SMALL_USES && feasible; i++) {
            uint64_t across = 0;
            for (unsigned u = 0; u < count; u++)
                across += (subset >> u & 1) && units[u].from < i && i < units[u].to;
            feasible = across <= budget - bytes[uses[i]];
        }
        uint64_t value = (uint64_t)__builtin_popcount(subset);
        if (feasible && value > best)
            best = value;
    }
    return best;
}

Test(bound, equals_the_programme_solved_by_trying_everything)
{
    srand(7);
    unsigned compared = 0;
    for (unsigned round = 0; round < 400; round++) {
        uint32_t uses[SMALL_USES];
        uint64_t bytes[3];
        struct unit units[UNITS_MAX];
        unsigned count = 0;
        bool small = true;
        for (unsigned c = 0; c < 3; c++)
            bytes[c] = 1 + (unsigned)rand() % 3;
        for (unsigned i = 0; i < SMALL_USES; i++)
            uses[i] = (uint32_t)rand() % 3;
        for (size_t i = 0; i < SMALL_USES && small; i++) {
            size_t next = i + 1;
            while (next < SMALL_USES && uses[next] != uses[i])
                next++;
            for (uint64_t b = 0; next < SMALL_USES && b < bytes[uses[i]] && small; b++) {
                small = count < UNITS_MAX;
                if (small)
                    units[count++] = (struct unit){i, next};
            }
        }
        uint64_t budget = 3 + (unsigned)rand() % 4;
        if (!small)
            continue;
        compared++;
        cr_assert_eq(bound_of(uses, SMALL_USES, bytes, 3, budget, 0),
                     best_subset(uses, bytes, budget, units, count));
    }
    cr_assert_gt(compared, 200);
}

/* ---- equal sizes: Belady --------------------------------------------------------------------- */

#define LONG_USES 300

static size_t next_use(const uint32_t *uses, size_t after, uint32_t chunk)
{
    for (size_t i = after + 1; i < LONG_USES; i++)
        if (uses[i] == chunk)
            return i;
    return SIZE_MAX;
}

static uint64_t belady(const uint32_t *uses, uint32_t chunks, unsigned places)
{
    bool in[16] = {false};
    unsigned taken = 0;
    uint64_t hits = 0;
    for (size_t i = 0; i < LONG_USES; i++) {
        if (in[uses[i]]) {
            hits++;
            continue;
        }
        if (taken == places) {
            uint32_t victim = chunks;
            for (uint32_t c = 0; c < chunks; c++)
                if (in[c] && (victim == chunks || next_use(uses, i, c) > next_use(uses, i, victim)))
                    victim = c;
            in[victim] = false;
            taken--;
        }
        in[uses[i]] = true;
        taken++;
    }
    return hits;
}

Test(bound, is_beladys_optimum_for_equal_sizes)
{
    srand(11);
    uint64_t bytes[12];
    uint32_t uses[LONG_USES];
    for (unsigned c = 0; c < 12; c++)
        bytes[c] = 4096;
    for (unsigned round = 0; round < 40; round++) {
        for (size_t i = 0; i < LONG_USES; i++)
            uses[i] = (uint32_t)rand() % 12;
        unsigned places = 1 + (unsigned)rand() % 11;
        uint64_t best = belady(uses, 12, places) * 4096;
        cr_assert_eq(bound_of(uses, LONG_USES, bytes, 12, places * UINT64_C(4096), 0), best);
        /* a budget that holds a part of one more chunk */
        cr_assert_eq(solve(uses, LONG_USES, bytes, 12, places * UINT64_C(4096) + 1000, 0, false),
                     best);
    }
}
