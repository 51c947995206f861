/* SPDX-License-Identifier: MIT */
/* Placement of chunks in the arena: which contiguous range a chunk gets, and which neighbours must
 * leave for it.
 *
 * Pure: it knows offsets and lengths, never memory. The space [0, end) is a list of runs in address
 * order, each free or owned by one chunk. Invariants (arena_check):
 *   - runs cover [0, end) without gap or overlap, every bound is a multiple of ARENA_UNIT;
 *   - no two free runs touch each other; the last run is free or ends at `end`;
 *   - used_bytes is the sum of the owned runs.
 * New chunks are placed below `limit` only; end > limit while chunks beyond a lowered limit have
 * not left.
 *
 * Chunks are packed without regard to huge-page boundaries: every block of the segment is a huge
 * page whatever lies in it, and gaps would cost hits (a tenth of them, measured on passes through a
 * model in an arena of three quarters its size).
 *
 * It does not decide whom to evict: the caller's regret callback does.
 */
#ifndef SWB_MEMORY_ARENA_H
#define SWB_MEMORY_ARENA_H

#include <stdbool.h>
#include <stdint.h>

#include "core/layout.h"

#define ARENA_UNIT   SWI_PAGE_BYTES
#define ARENA_NOBODY UINT32_MAX

struct arena;

/* NULL: out of memory. Starts with limit and end at 0. */
struct arena *arena_create(void);
void arena_destroy(struct arena *arena);

/* Where chunks may be placed: [0, limit), a multiple of ARENA_UNIT. */
void arena_set_limit(struct arena *arena, uint64_t limit);
uint64_t arena_limit(const struct arena *arena);
/* Offset past the last byte that may still be owned; arena_set_limit's value once everything beyond
 * it is free. */
uint64_t arena_end(const struct arena *arena);
uint64_t arena_used(const struct arena *arena);
/* Where the free run that touches the limit begins; the limit when it is not free. */
uint64_t arena_free_tail(const struct arena *arena);

/* Length of a chunk's range: bytes rounded up to ARENA_UNIT. */
uint64_t arena_range_bytes(uint64_t bytes);
/* Best fit among the holes below limit. False when none is large enough. */
bool arena_place(struct arena *arena, uint64_t bytes, uint32_t owner, uint64_t *ret_offset);
/* The same within one span, after a window was emptied; false when the span is not free or too
 * short. */
bool arena_place_within(struct arena *arena, uint64_t from, uint64_t to, uint64_t bytes,
                        uint32_t owner, uint64_t *ret_offset);
/* Gives back the range that starts at offset; it must be owned. */
void arena_free(struct arena *arena, uint64_t offset);

/* What evicting one chunk costs. Windows are compared by the largest peak in them, then by the sum
 * of weights. */
struct arena_regret {
    bool keep; /* cannot leave now: pinned, being read, or needed sooner */
    double peak;
    double weight;
};
typedef struct arena_regret (*arena_regret_fn)(void *context, uint32_t owner);

struct arena_window {
    uint64_t from, to; /* whole runs; to is at most limit */
    uint64_t start;    /* of the chunk in it */
    struct arena_regret regret;
};
/* The adjacent free and evictable runs that hold `bytes` with least regret. The first such window
 * in address order wins a tie. The chunk goes to the end whose neighbour is regretted more, so that
 * what is left over can join the other one when that leaves. False when there is no window. */
bool arena_find_window(struct arena *arena, uint64_t bytes, arena_regret_fn regret, void *context,
                       struct arena_window *ret);

/* Owners of the runs that touch [from, to), in address order; returns their number, writes at most
 * capacity. */
uint32_t arena_owners(const struct arena *arena, uint64_t from, uint64_t to, uint32_t *owners,
                      uint32_t capacity);

/* All invariants above; for tests and assertions. */
bool arena_check(const struct arena *arena);

#endif
