/* SPDX-License-Identifier: MIT */
/* The queue of chunks to be read. */
#ifndef SWB_CACHE_QUEUE_H
#define SWB_CACHE_QUEUE_H

#include "cache/state.h"

void cache_enqueue(struct cache *cache, struct chunk *chunk, enum cache_priority priority);
void cache_dequeue(struct cache *cache, struct chunk *chunk);
/* One more request for a chunk that is queued or loading: the chunk takes the more urgent priority
 * and the lighter session. */
void cache_raise(struct cache *cache, struct chunk *chunk, enum cache_priority priority,
                 uint32_t session);
/* The next chunk of that priority to try in this round; NULL if all were tried. rotate: the one
 * tried longest ago instead of the most deserving one. */
struct chunk *cache_next(struct cache *cache, enum cache_priority priority, uint64_t round,
                         bool rotate);

/* The session's share at present. */
double cache_share(const struct cache *cache, uint32_t session);
/* Adds the chunk's bytes to the share of its session. */
void cache_charge(struct cache *cache, const struct chunk *chunk);
void cache_forget_share(struct cache *cache, uint32_t session);

#endif
