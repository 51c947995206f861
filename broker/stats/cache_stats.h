/* SPDX-License-Identifier: MIT */
/* What the cache counts. */
#ifndef SWB_STATS_CACHE_STATS_H
#define SWB_STATS_CACHE_STATS_H

#include <stdint.h>

#include "stats/latency.h"

/* Why a chunk left the arena. */
enum cache_eviction {
    CACHE_EVICTED_FOR_ROOM, /* another chunk needed its place */
    CACHE_EVICTED_BY_CLEAR,
    CACHE_EVICTED_BY_RESIZE, /* it lay beyond the end of a smaller arena */
    CACHE_EVICTED_REPLACED,  /* its model, or that revision of it, is gone */
    CACHE_EVICTED_DAMAGED,   /* its bytes no longer matched: cache_withdraw */
    CACHE_EVICTION_REASONS
};

struct cache_stats {
    uint64_t arena_bytes, reserved_bytes, resident_bytes, pinned_bytes, huge_bytes,
        collapse_refused;
    uint64_t chunks_resident, misses, coalesced, evictions, loads, load_bytes, load_errors,
        digest_errors;
    uint64_t evicted[CACHE_EVICTION_REASONS]; /* their sum is evictions */
    uint64_t prefetches, prefetch_used, prefetch_dropped, loading, queued;
    uint64_t prefetch_wasted;                /* evicted unused */
    uint64_t file_loads, file_bytes;         /* of loads: served by files */
    uint64_t remote_loads, remote_bytes;     /* of loads: served by the remote */
    uint64_t remote_to_file, file_to_remote; /* loads that one could not serve and the other did */
    struct latency file_latency, remote_latency; /* from a load's first read to its verification */
    /* of chunks taken over from another process: still to be hashed, intact, damaged */
    uint64_t unverified, verified, verify_errors;
    const char *io_engine; /* "io_uring" or "threads"; static */
    const char *policy;    /* "lru" or "next-use"; static */
};

#endif
