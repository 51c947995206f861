/* SPDX-License-Identifier: MIT */
/* Replays a trace against the broker's placement (broker/memory/arena) and policy (broker/policy),
 * in memory and without a broker.
 *
 * Unlike in a broker, chunks are loaded instantly, there are no pins and no prefetches, and uses
 * come at the recorded times even if they miss.
 */
#ifndef SWBENCH_REPLAY_SIMULATE_H
#define SWBENCH_REPLAY_SIMULATE_H

#include "cache/cache.h"
#include "replay/trace_file.h"

struct simulate_options {
    enum policy_kind policy;
    uint64_t budget;
    size_t from; /* uses before this one are replayed and not counted */
};

struct simulated {
    uint64_t uses, hits;       /* counted uses */
    uint64_t bytes, hit_bytes; /* of them */
    uint64_t loads, load_bytes, evictions;
    uint64_t too_large; /* uses of chunks that do not fit the budget at all */
};

/* Errors: -ENOMEM; SW_EFORMAT for a trace that gives one component two chunks. */
int simulate(const struct trace_log *trace, const struct simulate_options *options,
             struct simulated *ret, struct swi_error *error);

#endif
