/* SPDX-License-Identifier: MIT */
/* How long passes take: a ring of the latest, ordered when somebody asks. */
#include <stdlib.h>
#include <string.h>

#include "encoder/handle.h"

void swi_latencies_add(struct swi_latencies *latencies, uint64_t ns, uint32_t tokens)
{
    latencies->ns[latencies->passes % SWI_LATENCIES] = ns;
    latencies->passes++;
    latencies->tokens += tokens;
}

static int by_size(const void *a, const void *b)
{
    uint64_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

void swi_latencies_get(const struct swi_latencies *latencies, struct sw_inference_stats *stats)
{
    stats->passes = latencies->passes;
    stats->tokens = latencies->tokens;
    stats->mean_ms = stats->p50_ms = stats->p99_ms = 0;
    size_t count = latencies->passes < SWI_LATENCIES ? (size_t)latencies->passes : SWI_LATENCIES;
    if (count == 0)
        return;
    uint64_t sorted[SWI_LATENCIES], sum = 0;
    memcpy(sorted, latencies->ns, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, by_size);
    for (size_t i = 0; i < count; i++)
        sum += sorted[i];
    stats->mean_ms = (double)sum / (double)count / 1e6;
    stats->p50_ms = (double)sorted[(count - 1) / 2] / 1e6;
    stats->p99_ms = (double)sorted[(count - 1) * 99 / 100] / 1e6;
}
