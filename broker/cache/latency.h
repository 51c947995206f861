/* SPDX-License-Identifier: MIT */
/* How long things took: a histogram with fixed bounds, as metrics want it. */
#ifndef SWB_CACHE_LATENCY_H
#define SWB_CACHE_LATENCY_H

#include <stdint.h>

#define LATENCY_BOUNDS 14u

/* Upper bounds of the buckets but the last, in microseconds. */
extern const uint64_t latency_bound_us[LATENCY_BOUNDS];

struct latency {
    uint64_t count[LATENCY_BOUNDS + 1]; /* each its own, not cumulated; the last: over all bounds */
    uint64_t sum_us;
};

void latency_note(struct latency *latency, uint64_t duration_ns);

#endif
