/* SPDX-License-Identifier: MIT */
/* Counts of what clients did since the broker started: one number for each kind of misbehaviour. */
#ifndef SWB_STATS_COUNTERS_H
#define SWB_STATS_COUNTERS_H

#include <stdint.h>

struct counters {
    uint64_t sessions;            /* ever attached */
    uint64_t departed_hits;       /* by sessions that have ended */
    uint64_t protocol_errors;     /* malformed or misplaced messages */
    uint64_t descriptors_refused; /* sent by clients, closed */
    uint64_t sessions_refused;    /* over the limit, or of another version */
    uint64_t requests_refused;    /* over the limit of queued requests or open models */
    uint64_t ids_refused;         /* named a handle or chunk that is not open to the client */
    uint64_t rate_limited;        /* times a session was not read for a while */
    uint64_t slow_readers;        /* closed: did not take their answers */
    uint64_t silent_closed;       /* closed: sent nothing */
    uint64_t quota_revoked;       /* sessions that pinned too much */
    uint64_t damage_revoked;      /* sessions that held a chunk damaged in memory */
    uint64_t page_garbage;        /* sessions whose page held what no client writes */
};

#endif
