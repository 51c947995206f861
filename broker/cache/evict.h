/* SPDX-License-Identifier: MIT */
/* Pins, eviction, and room in the arena. */
#ifndef SWB_CACHE_EVICT_H
#define SWB_CACHE_EVICT_H

#include "cache/state.h"

/* Counts the pins of every chunk, under the number of this scan. */
void cache_scan_pins(struct cache *cache);
/* The following two as of the last scan. */
uint32_t cache_pins(const struct cache *cache, uint32_t id);
/* True if a pin, a hold or the end of the broker keeps the chunk from leaving. */
bool cache_is_kept(const struct cache *cache, uint32_t id);
/* Merges last uses from client pages; true if any was newer than known. */
bool cache_merge(struct cache *cache);

/* The chunk's bytes are in its range and its entry says so. */
void cache_add_resident(struct cache *cache, struct chunk *chunk);
/* Evicts those of the resident chunks `ids` that are not kept; returns how many. all: evicts none
 * unless it can evict all. */
uint32_t cache_evict(struct cache *cache, const uint32_t *ids, uint32_t count, bool all,
                     enum cache_eviction reason);
/* Removes a chunk whose entry is EVICTING. damaged: revokes the leases on it and does not count as
 * an eviction. */
void cache_evicted(struct cache *cache, struct chunk *chunk, bool damaged,
                   enum cache_eviction reason);

enum room {
    ROOM_MADE,
    ROOM_GROWING, /* once more of the arena is reserved; growth_goal is set */
    ROOM_BUSY,    /* once reads have finished or pins have gone */
};
/* Finds a range for the chunk and places it there. */
enum room cache_make_room(struct cache *cache, struct chunk *chunk);

/* Allows placement wherever memory is reserved and the budget reaches. */
void cache_apply_limit(struct cache *cache);
/* Evicts what lies beyond the budget and returns the memory behind the last remaining chunk. */
void cache_shrink_tail(struct cache *cache);
/* Removes what only waits for pins or reads: the tail beyond a lowered budget, unregistered
 * chunks. */
void cache_tidy(struct cache *cache);
bool cache_wants_tidy(const struct cache *cache);

#endif
