/* SPDX-License-Identifier: MIT */
/* A histogram of durations with fixed bounds. */
#include "stats/latency.h"

const uint64_t latency_bound_us[LATENCY_BOUNDS] = {
    100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000};

void latency_note(struct latency *latency, uint64_t duration_ns)
{
    uint64_t us = duration_ns / 1000;
    unsigned bucket = 0;
    while (bucket < LATENCY_BOUNDS && us > latency_bound_us[bucket])
        bucket++;
    latency->count[bucket]++;
    latency->sum_us += us;
}
