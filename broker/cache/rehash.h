/* SPDX-License-Identifier: MIT */
/* Hashing of resident chunks. */
#ifndef SWB_CACHE_REHASH_H
#define SWB_CACHE_REHASH_H

#include "cache/state.h"

/* True if a request or a withheld chunk waits. */
bool cache_rehash_wanted(const struct cache *cache);
/* Hashes at most 1 MiB. Returns true if it should be called again at once. */
bool cache_rehash_some(struct cache *cache);
/* When the next call is due; UINT64_MAX: never. */
uint64_t cache_rehash_due_ns(const struct cache *cache);

#endif
