/* SPDX-License-Identifier: MIT */
/* One dispatch, and when the next one is due. */
#include "cache/evict.h"
#include "cache/load.h"
#include "cache/rehash.h"

#define BLOCKS_A_DISPATCH 1u /* to reserve; a block that the host must back takes milliseconds */
#define RESERVE_PACE_NS   UINT64_C(8000000)
#define TIDY_NS           UINT64_C(50000000) /* between looks at chunks that leave late */
#define TICK_MAX_NS       UINT64_C(2000000000)

/* Memory is reserved in the background while nothing is read, one block every few milliseconds, and
 * without a pause when a queued chunk needs it. */
static bool wants_reserve(const struct cache *cache)
{
    return cache->segment.reserved_bytes < cache->budget &&
           (cache->loading == 0 || cache->growth_goal > 0);
}

static uint64_t reserve_due_ns(const struct cache *cache)
{
    bool patient = cache->growth_goal == 0 && cache->reserve_pace_ns > cache->reserve_again_ns;
    return patient ? cache->reserve_pace_ns : cache->reserve_again_ns;
}

/* A refusal is not fatal: the cache works with the memory that it has and asks again later. Returns
 * true if a queued chunk waits for more. */
static bool reserve_some(struct cache *cache)
{
    if (!wants_reserve(cache) || cache->now_ns < reserve_due_ns(cache))
        return false;
    bool failed =
        segment_reserve(&cache->segment, cache->budget, BLOCKS_A_DISPATCH, &cache->refused) < 0;
    if (failed)
        cache->reserve_again_ns = cache->now_ns + CACHE_RETRY_ERR_NS;
    cache->reserve_pace_ns = cache->now_ns + RESERVE_PACE_NS;
    cache_apply_limit(cache);
    if (cache->growth_goal == 0)
        return false;
    if (failed || arena_limit(cache->arena) >= cache->growth_goal)
        cache->pump_wanted = true;
    return true;
}

static void run_tick(struct cache *cache)
{
    if (cache->session_count == 0 || cache->now_ns < cache->tick_ns)
        return;
    bool active = cache_merge(cache);
    if (active)
        cache->tick_step_ns = CACHE_TICK_MIN_NS;
    else if (cache->tick_step_ns < TICK_MAX_NS)
        cache->tick_step_ns *= 2;
    cache_tick(cache);
    cache->tick_ns = cache->now_ns + cache->tick_step_ns;
}

bool cache_dispatch(struct cache *cache, uint64_t now_ns)
{
    cache->now_ns = now_ns;
    cache->scan_fresh = false;
    bool more = loader_turn(cache->loader);
    if (cache->remote_loading > 0 && cache->remote.fetch)
        more = cache->remote.turn(cache->remote.context) || more;
    run_tick(cache);
    if (cache_wants_tidy(cache) && now_ns >= cache->tidy_ns) {
        cache_tidy(cache);
        cache->tidy_ns = now_ns + TIDY_NS;
    }
    if (cache->retry_ns != 0 && now_ns >= cache->retry_ns)
        cache->pump_wanted = true;
    if (cache->pump_wanted) {
        unsigned before = loader_active(cache->loader);
        cache_pump(cache);
        more = more || loader_active(cache->loader) != before; /* reads remain to be issued */
    }
    if (!more || cache->growth_goal > 0)
        more = reserve_some(cache) || more;
    if (!more || cache_rehash_wanted(cache))
        more = cache_rehash_some(cache) || more;
    return more || cache->pump_wanted;
}

static void sooner(uint64_t *at, uint64_t other)
{
    if (other < *at)
        *at = other;
}

int cache_timeout_ms(const struct cache *cache, uint64_t now_ns)
{
    if (cache->pump_wanted)
        return 0;
    uint64_t at = UINT64_MAX;
    if (cache->retry_ns != 0)
        sooner(&at, cache->retry_ns);
    if (cache_wants_tidy(cache))
        sooner(&at, cache->tidy_ns);
    if (cache->session_count > 0)
        sooner(&at, cache->tick_ns);
    if (wants_reserve(cache))
        sooner(&at, reserve_due_ns(cache));
    sooner(&at, cache_rehash_due_ns(cache));
    if (at == UINT64_MAX)
        return -1;
    if (at <= now_ns)
        return 0;
    uint64_t wait_ms = (at - now_ns + 999999) / 1000000;
    return wait_ms > INT32_MAX ? INT32_MAX : (int)wait_ms;
}
