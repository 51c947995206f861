/* SPDX-License-Identifier: MIT */
/* What the Redis tier counts. */
#ifndef SWB_STATS_REMOTE_STATS_H
#define SWB_STATS_REMOTE_STATS_H

#include <stdbool.h>
#include <stdint.h>

struct remote_connection_stats {
    bool used; /* by this mode */
    bool up;
    const char *breaker; /* "closed", "open", "half-open"; static */
    uint64_t breaker_opened;
    uint64_t connects; /* up to the end of the greeting */
    /* why connections were not made or were lost */
    uint64_t connect_failures; /* refused, unreachable, no such host, no answer in time */
    uint64_t refused;          /* by the server: password, database, its limits */
    uint64_t timeouts;         /* an answer did not come in time */
    uint64_t closed;           /* by the server */
    uint64_t garbage;          /* what came was not Redis's protocol, too large, or unasked */
};

struct remote_stats {
    const char *url;          /* without secrets; the tier's */
    const char *mode, *order; /* the settings; not filled by the tier */
    /* chunks */
    uint64_t hits;     /* loaded from the Redis */
    uint64_t misses;   /* not there, or incomplete */
    uint64_t wrong;    /* of another length or digest */
    uint64_t failures; /* the server could not be asked, or answered with an error */
    uint64_t hit_bytes;
    uint64_t stores, store_bytes; /* written */
    uint64_t store_present;       /* not written: already there */
    uint64_t store_dropped;       /* evicted, or crowded out of the queue, before its turn */
    uint64_t store_failures;
    /* errors that the server answered with */
    uint64_t out_of_memory, read_only, other_errors;
    uint64_t writes_queued;
    bool writes_paused;
    struct remote_connection_stats reads, writes;
};

#endif
