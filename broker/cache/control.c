/* SPDX-License-Identifier: MIT */
/* What operators change: the contents, holds, the budget and the policy. */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "cache/evict.h"
#include "cache/stats.h"
#include "core/size.h"

static bool matches(const struct chunk *chunk, const char *model, const char *component)
{
    if (chunk->gone)
        return !model;
    return (!model || strcmp(chunk->info.model, model) == 0) &&
           (!component || strcmp(chunk->info.name, component) == 0);
}

struct cache_cleared cache_clear(struct cache *cache, const char *model, const char *component)
{
    struct cache_cleared result = {.chunks = 0};
    uint32_t count = 0;
    for (uint32_t i = 0; i < cache->resident_count; i++) {
        const struct chunk *chunk = cache->chunk[cache->resident[i]];
        if (matches(chunk, model, component)) {
            cache->scratch[count++] = chunk->id;
            result.bytes += chunk->info.bytes;
        }
    }
    uint32_t gone = cache_evict(cache, cache->scratch, count, false, CACHE_EVICTED_BY_CLEAR);
    result.chunks = gone;
    result.pinned_chunks = count - gone;
    for (uint32_t i = 0; i < count; i++) {
        struct chunk *chunk = cache->chunk[cache->scratch[i]];
        result.held_chunks += cache->held[chunk->id];
        if (cache_is_kept(cache, chunk->id))
            result.pinned_bytes += chunk->info.bytes;
        else if (chunk->gone)
            cache_release_id(cache, chunk);
    }
    result.bytes -= result.pinned_bytes;
    cache->pump_wanted = true;
    return result;
}

void cache_hold(struct cache *cache, uint32_t id, bool held)
{
    assert(cache->chunk[id] && !cache->chunk[id]->gone);
    cache->held[id] = held;
    cache->pump_wanted = true;
}

bool cache_withdraw(struct cache *cache, uint32_t id)
{
    assert(cache->chunk[id] && cache_state(cache, id) == SWI_RESIDENT);
    cache->overriding = true;
    bool left = cache_evict(cache, &id, 1, true, CACHE_EVICTED_DAMAGED) == 1;
    cache->overriding = false;
    cache->stats.digest_errors += left;
    if (left && cache->chunk[id]->gone)
        cache_release_id(cache, cache->chunk[id]);
    cache->pump_wanted = true;
    return left;
}

void cache_set_policy(struct cache *cache, enum policy_kind policy)
{
    policy_set_kind(cache->policy, policy);
}

static void apply_session_bytes(struct cache *cache)
{
    policy_set_session_bytes(cache->policy,
                             cache->session_bytes ? cache->session_bytes : cache->budget / 2);
}

void cache_set_session_bytes(struct cache *cache, uint64_t bytes)
{
    cache->session_bytes = bytes;
    apply_session_bytes(cache);
}

int cache_resize(struct cache *cache, uint64_t budget_bytes, struct swi_error *error)
{
    char want[32], most[32];
    swi_size_format(budget_bytes, want, sizeof want);
    if (budget_bytes < SWI_PAGE_BYTES || budget_bytes > cache->segment.max_bytes) {
        swi_size_format(cache->segment.max_bytes, most, sizeof most);
        return swi_fail(error, -EINVAL,
                        "cannot resize the cache to %s: it must be between %u KiB and %s; to go "
                        "beyond, restart "
                        "the broker with a larger --max-cache-size",
                        want, SWI_PAGE_BYTES >> 10, most);
    }
    budget_bytes = budget_bytes / SWI_PAGE_BYTES * SWI_PAGE_BYTES;
    int result = segment_check_space(&cache->segment, budget_bytes, error);
    if (result < 0)
        return result;
    cache->budget = budget_bytes;
    cache->reserve_again_ns = 0;
    cache_apply_limit(cache);
    apply_session_bytes(cache);
    cache_shrink_tail(cache);
    cache->pump_wanted = true;
    cache->tidy_ns = 0;
    if (arena_end(cache->arena) <= cache->budget)
        return 0;
    char holders[256];
    cache_describe_holders(cache, holders, sizeof holders);
    return swi_fail(error, SW_EARENAFULL,
                    "the cache is being resized to %s; the rest follows as chunks are released: %s",
                    want, holders);
}
