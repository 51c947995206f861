/* SPDX-License-Identifier: MIT */
/* Descriptions of the cache for messages. */
#ifndef SWB_CACHE_STATS_H
#define SWB_CACHE_STATS_H

#include "cache/state.h"

/* Writes what keeps a chunk from finding room:
 * "60 MiB of 64 MiB are pinned: session 3 holds 40 MiB, the operator holds 20 MiB". */
void cache_describe_holders(struct cache *cache, char *text, size_t size);

#endif
