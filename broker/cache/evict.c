/* SPDX-License-Identifier: MIT */
/* Pins, eviction, and room in the arena. */
#include "cache/evict.h"

#include <assert.h>

#include "cache/queue.h"

#define WINDOW_TRIES 8u     /* a pin that appears between the scan and the eviction costs one */
#define MERGE_MAX    65536u /* stamps merged in one go */
#define AHEAD_NS     UINT64_C(1000000000) /* how long a prefetched chunk is safe from prefetches */

/* ---- pins ------------------------------------------------------------------------------------ */

void cache_scan_pins(struct cache *cache)
{
    uint32_t ids[SWI_SLOTS];
    uint32_t bad;
    cache->scan++;
    for (uint32_t i = 0; i < cache->session_count; i++) {
        uint32_t count = swi_page_list_pins(cache->page[cache->sessions[i]], ids, &bad);
        for (uint32_t k = 0; k < count; k++) {
            if (cache->pins[ids[k]].scan != cache->scan)
                cache->pins[ids[k]].count = 0;
            cache->pins[ids[k]].scan = cache->scan;
            cache->pins[ids[k]].count++;
        }
    }
    cache->scan_fresh = true;
}

uint32_t cache_pins(const struct cache *cache, uint32_t id)
{
    return cache->pins[id].scan == cache->scan ? cache->pins[id].count : 0;
}

bool cache_is_kept(const struct cache *cache, uint32_t id)
{
    return cache->leaving || cache_pins(cache, id) > 0 || (cache->held[id] && !cache->overriding);
}

bool cache_merge(struct cache *cache)
{
    uint32_t newer = 0;
    uint32_t merged = 0;
    uint32_t tick = cache_now_tick(cache);
    for (uint32_t i = 0; i < cache->session_count && merged <= MERGE_MAX; i++) {
        uint32_t at = cache->merge_next++ % cache->session_count;
        newer += policy_observe(cache->policy, cache->sessions[at],
                                cache->page[cache->sessions[at]], cache->now_ns);
        newer += policy_merge_page(cache->policy, cache->page[cache->sessions[at]], tick,
                                   cache->resident, cache->resident_count);
        merged += cache->resident_count + SW_CURSOR_LANES;
    }
    for (uint32_t i = 0; newer > 0 && i < cache->resident_count; i++) {
        struct chunk *chunk = cache->chunk[cache->resident[i]];
        uint32_t since = policy_last_use(cache->policy, chunk->id) - chunk->load_tick;
        if (chunk->ahead && since != 0 && since < UINT32_C(1) << 31) {
            chunk->ahead = false;
            cache->stats.prefetch_used++;
        }
    }
    return newer > 0;
}

/* ---- eviction -------------------------------------------------------------------------------- */

void cache_add_resident(struct cache *cache, struct chunk *chunk)
{
    chunk->resident_at = cache->resident_count;
    cache->resident[cache->resident_count++] = chunk->id;
    chunk->load_tick = cache_now_tick(cache);
    chunk->load_ns = cache->now_ns;
    policy_set_resident(cache->policy, chunk->id, true);
    cache->stats.resident_bytes += chunk->info.bytes;
}

void cache_evicted(struct cache *cache, struct chunk *chunk, bool damaged,
                   enum cache_eviction reason)
{
    if (damaged)
        swi_entry_drop(cache->index.index, chunk->id);
    else
        swi_entry_finish_evict(cache->index.index, chunk->id);
    arena_free(cache->arena, chunk->offset);
    uint32_t moved = cache->resident[--cache->resident_count];
    cache->resident[chunk->resident_at] = moved;
    cache->chunk[moved]->resident_at = chunk->resident_at;
    cache->stats.resident_bytes -= chunk->info.bytes;
    if (!damaged) {
        cache->stats.evictions++;
        cache->stats.evicted[chunk->gone ? CACHE_EVICTED_REPLACED : reason]++;
    }
    cache->stats.prefetch_wasted += chunk->ahead;
    policy_set_resident(cache->policy, chunk->id, false);
    chunk->ahead = false;
    cache_forget_rehash(cache, chunk);
    if (!TAILQ_EMPTY(&chunk->waiters)) /* they waited for its hash and now need its file */
        cache_enqueue(cache, chunk, CACHE_DEMAND);
}

/* The eviction of the lease protocol: mark the chunks, look for pins, then evict or unmark.
 * Withheld chunks are marked already and stay so. */
uint32_t cache_evict(struct cache *cache, const uint32_t *ids, uint32_t count, bool all,
                     enum cache_eviction reason)
{
    struct swi_index *index = cache->index.index;
    for (uint32_t i = 0; i < count; i++)
        if (cache->chunk[ids[i]]->trust != TRUST_WITHHELD)
            swi_entry_begin_evict(index, ids[i]);
    cache_scan_pins(cache);
    uint32_t free_to_go = 0;
    for (uint32_t i = 0; i < count; i++)
        free_to_go += !cache_is_kept(cache, ids[i]);
    if (all && free_to_go < count)
        free_to_go = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct chunk *chunk = cache->chunk[ids[i]];
        if (free_to_go > 0 && !cache_is_kept(cache, ids[i]))
            cache_evicted(cache, chunk, false, reason);
        else if (chunk->trust != TRUST_WITHHELD)
            swi_entry_restore_evict(index, ids[i]);
    }
    return free_to_go;
}

struct asking {
    struct cache *cache;
    const struct chunk *chunk; /* that needs room */
};

static struct arena_regret regret_of(void *context, uint32_t id)
{
    const struct asking *asking = context;
    struct cache *cache = asking->cache;
    if (id == QUARANTINE || cache_is_kept(cache, id) || cache_state(cache, id) != SWI_RESIDENT)
        return (struct arena_regret){.keep = true};
    /* a prefetch must not evict a chunk needed sooner, nor one that was just prefetched */
    const struct chunk *chunk = cache->chunk[id];
    if (asking->chunk->priority == CACHE_PREFETCH &&
        ((chunk->ahead && cache->now_ns - chunk->load_ns < AHEAD_NS) ||
         policy_needed_before(cache->policy, id, asking->chunk->id)))
        return (struct arena_regret){.keep = true};
    return policy_regret(cache->policy, id);
}

/* Removes unregistered chunks whose last reader has left. */
static void release_gone(struct cache *cache)
{
    for (uint32_t i = cache->resident_count; i > 0 && cache->gone_count > 0; i--) {
        uint32_t id = cache->resident[i - 1];
        if (cache->chunk[id]->gone && cache_evict(cache, &id, 1, true, CACHE_EVICTED_REPLACED) == 1)
            cache_release_id(cache, cache->chunk[id]);
    }
}

static bool grow_to(struct cache *cache, uint64_t goal)
{
    if (goal > cache->budget || cache->segment.reserved_bytes >= cache->budget ||
        cache->now_ns < cache->reserve_again_ns)
        return false;
    if (goal > cache->growth_goal)
        cache->growth_goal = goal;
    return true;
}

/* Looks at uses and pins once for all chunks that one round tries. The eviction itself sees pins
 * that come later. */
static void prepare(struct cache *cache)
{
    if (cache->prepared == cache->round)
        return;
    cache->prepared = cache->round;
    (void)cache_merge(cache);
    policy_prepare(cache->policy, cache_now_tick(cache), cache->now_ns);
    cache_scan_pins(cache);
}

enum room cache_make_room(struct cache *cache, struct chunk *chunk)
{
    uint64_t bytes = chunk->info.bytes;
    if (arena_place(cache->arena, bytes, chunk->id, &chunk->offset))
        return ROOM_MADE;
    /* unused memory comes before eviction */
    if (grow_to(cache, arena_free_tail(cache->arena) + arena_range_bytes(bytes)))
        return ROOM_GROWING;
    if (cache->gone_count > 0)
        release_gone(cache);
    prepare(cache);
    for (unsigned try = 0; try < WINDOW_TRIES; try++) {
        struct arena_window window;
        struct asking asking = {cache, chunk};
        if (!arena_find_window(cache->arena, bytes, regret_of, &asking, &window))
            return grow_to(cache, cache->budget) ? ROOM_GROWING : ROOM_BUSY;
        uint32_t count =
            arena_owners(cache->arena, window.from, window.to, cache->scratch, SWI_CHUNKS);
        if (count > 0 &&
            cache_evict(cache, cache->scratch, count, true, CACHE_EVICTED_FOR_ROOM) == 0)
            continue; /* a client pinned one of them first; the scan now knows which */
        for (uint32_t i = 0; i < count; i++) {
            if (cache->chunk[cache->scratch[i]]->gone)
                cache_release_id(cache, cache->chunk[cache->scratch[i]]);
        }
        bool placed = arena_place_within(cache->arena, window.start, window.to, bytes, chunk->id,
                                         &chunk->offset);
        assert(placed && "an emptied window holds what it was chosen for");
        return placed ? ROOM_MADE : ROOM_BUSY;
    }
    return ROOM_BUSY;
}

/* ---- the budget ------------------------------------------------------------------------------ */

void cache_apply_limit(struct cache *cache)
{
    uint64_t reserved = cache->segment.reserved_bytes;
    arena_set_limit(cache->arena, reserved < cache->budget ? reserved : cache->budget);
}

void cache_shrink_tail(struct cache *cache)
{
    uint32_t count =
        arena_owners(cache->arena, cache->budget, UINT64_MAX, cache->scratch, SWI_CHUNKS);
    uint32_t resident = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t id = cache->scratch[i];
        if (id != QUARANTINE && cache_state(cache, id) == SWI_RESIDENT)
            cache->scratch[resident++] = id;
    }
    cache->overriding = true;
    (void)cache_evict(cache, cache->scratch, resident, false, CACHE_EVICTED_BY_RESIZE);
    cache->overriding = false;
    for (uint32_t i = 0; i < resident; i++) {
        struct chunk *chunk = cache->chunk[cache->scratch[i]];
        if (chunk->gone && cache_pins(cache, chunk->id) == 0)
            cache_release_id(cache, chunk);
    }
    uint64_t end = arena_end(cache->arena);
    segment_trim(&cache->segment, end > cache->budget ? end : cache->budget);
}

bool cache_wants_tidy(const struct cache *cache)
{
    return cache->gone_count > 0 || arena_end(cache->arena) > arena_limit(cache->arena);
}

void cache_tidy(struct cache *cache)
{
    if (arena_end(cache->arena) > arena_limit(cache->arena))
        cache_shrink_tail(cache);
    if (cache->gone_count > 0)
        release_gone(cache);
    cache->pump_wanted = true;
}
