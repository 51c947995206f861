/* SPDX-License-Identifier: MIT */
/* The algorithm of bound.h: chunks are kept in pieces, and pieces that end last are dropped first.
 */
#include "replay/bound.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SUBSET_WORK_MAX (UINT64_C(1) << 32) /* words looked at in all subset sums */

struct kept {
    uint64_t bytes; /* of the chunk that are kept; 0: not in the list */
    size_t until;   /* the use that its interval ends at */
    uint32_t at;    /* place in the list while bytes > 0 */
};

struct state {
    struct kept *kept; /* [chunks] */
    uint32_t *list;    /* chunks that are kept, in no order */
    uint32_t length;
    uint64_t sum;   /* of kept bytes */
    size_t *next;   /* [count]: the next use of the same chunk; SIZE_MAX: none */
    uint64_t *room; /* [chunks]: beside that chunk */
};

static void drop(struct state *state, uint32_t chunk)
{
    struct kept *kept = &state->kept[chunk];
    uint32_t moved = state->list[--state->length];
    state->list[kept->at] = moved;
    state->kept[moved].at = kept->at;
    state->sum -= kept->bytes;
    kept->bytes = 0;
}

static void keep(struct state *state, uint32_t chunk, uint64_t bytes, size_t until)
{
    state->kept[chunk] = (struct kept){.bytes = bytes, .until = until, .at = state->length};
    state->list[state->length++] = chunk;
    state->sum += bytes;
}

/* Drops bytes, those whose interval ends last first, until at most `room` are kept. */
static void fit(struct state *state, uint64_t room)
{
    while (state->sum > room) {
        uint32_t last = state->list[0];
        for (uint32_t i = 1; i < state->length; i++) {
            if (state->kept[state->list[i]].until > state->kept[last].until)
                last = state->list[i];
        }
        uint64_t excess = state->sum - room;
        struct kept *kept = &state->kept[last];
        if (kept->bytes <= excess) {
            drop(state, last);
        } else {
            kept->bytes -= excess;
            state->sum -= excess;
        }
    }
}

static void link_uses(const struct bound_problem *problem, struct state *state)
{
    for (uint32_t chunk = 0; chunk < problem->chunks; chunk++)
        state->kept[chunk].until = SIZE_MAX;
    for (size_t i = problem->count; i-- > 0;) {
        struct kept *kept = &state->kept[problem->uses[i]];
        state->next[i] = kept->until;
        kept->until = i;
    }
}

/* ---- room beside a chunk --------------------------------------------------------------------- */

static uint64_t units_of(const struct bound_problem *problem, uint32_t chunk)
{
    return (problem->bytes[chunk] + problem->unit - 1) / problem->unit;
}

/* sums |= sums << by, for sums of at most `most` */
static void add_shifted(uint64_t *sums, uint64_t most, uint64_t by)
{
    size_t words = (size_t)(most / 64) + 1, skip = (size_t)(by / 64);
    unsigned bits = (unsigned)(by % 64);
    for (size_t i = words; i-- > skip;) {
        uint64_t shifted = sums[i - skip] << bits;
        if (bits > 0 && i > skip)
            shifted |= sums[i - skip - 1] >> (64 - bits);
        sums[i] |= shifted;
    }
}

/* The largest sum of units of chunks other than `beside` that is at most `most`. */
static uint64_t largest_sum(const struct bound_problem *problem, uint32_t beside, uint64_t most,
                            uint64_t *sums)
{
    memset(sums, 0, ((size_t)(most / 64) + 1) * sizeof sums[0]);
    sums[0] = 1;
    for (uint32_t chunk = 0; chunk < problem->chunks; chunk++) {
        uint64_t units = units_of(problem, chunk);
        if (chunk != beside && units <= most)
            add_shifted(sums, most, units);
    }
    uint64_t sum = most;
    while (!(sums[sum / 64] >> (sum % 64) & 1))
        sum--;
    return sum;
}

static int find_room(const struct bound_problem *problem, struct state *state)
{
    uint64_t budget = problem->budget / problem->unit;
    uint64_t words = budget / 64 + 1;
    bool whole = !problem->in_parts && words * problem->chunks < SUBSET_WORK_MAX &&
                 words * problem->chunks * problem->chunks < SUBSET_WORK_MAX;
    uint64_t *sums = calloc(whole ? words : 1, sizeof sums[0]);
    if (!sums)
        return -ENOMEM;
    for (uint32_t chunk = 0; chunk < problem->chunks; chunk++) {
        uint64_t units = units_of(problem, chunk);
        if (units > budget)
            continue; /* never in the cache */
        state->room[chunk] = problem->budget - problem->bytes[chunk];
        if (!whole)
            continue;
        uint32_t alike = 0; /* a chunk of the same size leaves the same others */
        while (alike < chunk && units_of(problem, alike) != units)
            alike++;
        uint64_t room = alike < chunk
                            ? state->room[alike]
                            : largest_sum(problem, chunk, budget - units, sums) * problem->unit;
        state->room[chunk] = room;
    }
    free(sums);
    return 0;
}

/* ---- the rule -------------------------------------------------------------------------------- */

static uint64_t run(const struct bound_problem *problem, struct state *state)
{
    uint64_t hits = 0;
    for (size_t i = 0; i < problem->count; i++) {
        uint32_t chunk = problem->uses[i];
        uint64_t bytes = problem->bytes[chunk];
        if (units_of(problem, chunk) > problem->budget / problem->unit)
            continue;
        if (state->kept[chunk].bytes > 0) {
            hits += state->kept[chunk].bytes;
            drop(state, chunk);
        }
        fit(state, state->room[chunk]);
        if (state->next[i] != SIZE_MAX && state->next[i] >= problem->from)
            keep(state, chunk, bytes, state->next[i]);
    }
    return hits;
}

int bound_hit_bytes(const struct bound_problem *problem, uint64_t *ret_bytes)
{
    struct state state = {.length = 0};
    state.kept = calloc(problem->chunks + 1u, sizeof state.kept[0]);
    state.list = calloc(problem->chunks + 1u, sizeof state.list[0]);
    state.next = calloc(problem->count + 1u, sizeof state.next[0]);
    state.room = calloc(problem->chunks + 1u, sizeof state.room[0]);
    int result =
        state.kept && state.list && state.next && state.room ? find_room(problem, &state) : -ENOMEM;
    if (result == 0) {
        link_uses(problem, &state);
        *ret_bytes = run(problem, &state);
    }
    free(state.kept);
    free(state.list);
    free(state.next);
    free(state.room);
    return result;
}
