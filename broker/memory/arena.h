/* SPDX-License-Identifier: MIT */
/* Placement of chunks in the arena: which contiguous range a chunk gets, and which adjacent chunks
 * must leave for it.
 *
 * Pure: it works on offsets and lengths and never touches memory. The space [0, end) is a list of
 * runs in address order, each free or owned by one chunk. Invariants:
 *   - runs cover [0, end) without gap or overlap, every bound is a multiple of ARENA_UNIT;
 *   - no two free runs touch each other; the last run is free or ends at `end`.
 * New chunks are placed below `limit` only; end > limit while chunks remain beyond a lowered limit.
 *
 * Chunks are packed without regard to huge-page boundaries: every block of the segment is a huge
 * page anyway, and gaps would cost hits (a tenth of them, measured on passes through a model in an
 * arena of three quarters its size).
 *
 * The caller's regret callback decides which chunks to evict.
 */
#ifndef SWB_MEMORY_ARENA_H
#define SWB_MEMORY_ARENA_H

#include <stdbool.h>
#include <stdint.h>

#include "core/layout.h"

#define ARENA_UNIT   SWI_PAGE_BYTES
#define ARENA_NOBODY UINT32_MAX

struct arena;

/* NULL: out of memory. limit and end start at 0. */
struct arena *arena_create(void);
void arena_destroy(struct arena *arena);

/* Allows placement in [0, limit); limit is a multiple of ARENA_UNIT. */
void arena_set_limit(struct arena *arena, uint64_t limit);
uint64_t arena_limit(const struct arena *arena);
/* The offset past the last owned byte, or the limit if that is higher. */
uint64_t arena_end(const struct arena *arena);
/* The start of the free run that ends at the limit; the limit itself if there is no such run. */
uint64_t arena_free_tail(const struct arena *arena);

/* The length of a chunk's range: bytes rounded up to ARENA_UNIT. */
uint64_t arena_range_bytes(uint64_t bytes);
/* Places a chunk in the best-fitting hole below the limit. False if no hole is large enough. */
bool arena_place(struct arena *arena, uint64_t bytes, uint32_t owner, uint64_t *ret_offset);
/* The same within one span, for instance an emptied window; false if the span has no sufficient
 * hole. */
bool arena_place_within(struct arena *arena, uint64_t from, uint64_t to, uint64_t bytes,
                        uint32_t owner, uint64_t *ret_offset);
/* Frees the range that starts at offset, which must be owned. */
void arena_free(struct arena *arena, uint64_t offset);

/* The cost of evicting one chunk. Windows compare by the largest peak in them, then by the sum of
 * weights. */
struct arena_regret {
    bool keep; /* not evictable now: pinned, being read, or needed sooner */
    double peak;
    double weight;
};
typedef struct arena_regret (*arena_regret_fn)(void *context, uint32_t owner);

struct arena_window {
    uint64_t from, to; /* whole runs; to is at most limit */
    uint64_t start;    /* where the new chunk goes */
    struct arena_regret regret;
};
/* Finds the window of adjacent free and evictable runs that holds `bytes` with the least regret;
 * the first one in address order wins a tie. The chunk goes to the end of the window whose
 * neighbour is regretted more, so that the remainder can merge with the other neighbour when
 * that leaves. False if there is no window. */
bool arena_find_window(struct arena *arena, uint64_t bytes, arena_regret_fn regret, void *context,
                       struct arena_window *ret);

/* Lists the owners of the runs that touch [from, to), in address order. Returns their number;
 * writes at most capacity. */
uint32_t arena_owners(const struct arena *arena, uint64_t from, uint64_t to, uint32_t *owners,
                      uint32_t capacity);

#endif
