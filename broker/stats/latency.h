/* SPDX-License-Identifier: MIT */
/* A histogram of durations with fixed bounds. */
#ifndef SWB_STATS_LATENCY_H
#define SWB_STATS_LATENCY_H

#include <stdint.h>

#define LATENCY_BOUNDS 14u

/* Upper bounds of all buckets but the last, in microseconds. */
extern const uint64_t latency_bound_us[LATENCY_BOUNDS];

struct latency {
    uint64_t count[LATENCY_BOUNDS + 1]; /* per bucket, not cumulative; the last: above all bounds */
    uint64_t sum_us;
};

void latency_note(struct latency *latency, uint64_t duration_ns);

#endif
