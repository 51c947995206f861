/* SPDX-License-Identifier: MIT */
/* Loads: from a queued chunk to a resident one. */
#ifndef SWB_CACHE_LOAD_H
#define SWB_CACHE_LOAD_H

#include "cache/state.h"

/* Tries queued chunks, most urgent first, until nothing more can start. A chunk that finds no room
 * does not hold up those behind it. */
void cache_pump(struct cache *cache);
/* Its completion releases the id of an unregistered chunk. */
void cache_cancel_load(struct cache *cache, struct chunk *chunk);

#endif
