/* SPDX-License-Identifier: MIT */
/* Room in the arena: pins, eviction, the budget and what follows when it changes. */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "cache/internal.h"
#include "core/size.h"

#define WINDOW_TRIES 8u /* a pin that appears between the scan and the eviction costs one */

/* ---- pins ------------------------------------------------------- */

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
    for (uint32_t i = 0; i < cache->session_count && merged <= CACHE_MERGE_MAX; i++) {
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

/* ---- eviction ------------------------------------------------------- */

void cache_became_resident(struct cache *cache, struct chunk *chunk)
{
    cache_add_resident(cache, chunk);
    policy_touch(cache->policy, chunk->id, chunk->load_tick);
}

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
    cache_verify_forget(cache, chunk);
    if (!TAILQ_EMPTY(&chunk->waiters)) /* for the hash of it: they need the file now */
        cache_enqueue(cache, chunk, CACHE_DEMAND);
}

/* The lease protocol's eviction: mark, then look for pins, then go through with it or take it back.
 * What is withheld is marked already and stays so. */
uint32_t cache_evict(struct cache *cache, const uint32_t *ids, uint32_t count, bool all,
                     enum cache_eviction reason)
{
    struct swi_index *index = cache->index.index;
    for (uint32_t i = 0; i < count; i++)
        if (!cache->chunk[ids[i]]->withheld)
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
        else if (!chunk->withheld)
            swi_entry_restore_evict(index, ids[i]);
    }
    return free_to_go;
}

struct asking {
    struct cache *cache;
    const struct chunk *chunk; /* that wants room */
};

static struct arena_regret regret_of(void *context, uint32_t id)
{
    const struct asking *asking = context;
    struct cache *cache = asking->cache;
    if (id == QUARANTINE || cache_is_kept(cache, id) ||
        swi_entry_get(cache->index.index, id).state != SWI_RESIDENT)
        return (struct arena_regret){.keep = true};
    /* a guess may not push out what is needed sooner, nor what another guess just brought */
    const struct chunk *chunk = cache->chunk[id];
    if (asking->chunk->priority == CACHE_PREFETCH &&
        ((chunk->ahead && cache->now_ns - chunk->load_ns < CACHE_AHEAD_NS) ||
         policy_needed_before(cache->policy, id, asking->chunk->id)))
        return (struct arena_regret){.keep = true};
    return policy_regret(cache->policy, id);
}

/* Unregistered chunks whose last reader has left. */
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

/* What is known of uses and pins, once for all chunks that one round tries. Pins that come later
 * are seen by the eviction itself. */
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
    /* memory that was not used yet comes before eviction */
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
            continue; /* somebody was faster; the scan now knows whom to leave alone */
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

/* ---- control ------------------------------------------------------- */

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

const void *cache_bytes(struct cache *cache, uint32_t id)
{
    if (!cache->chunk[id] || swi_entry_get(cache->index.index, id).state != SWI_RESIDENT)
        return NULL;
    return cache->segment.base + cache->chunk[id]->offset;
}

bool cache_withdraw(struct cache *cache, uint32_t id)
{
    assert(cache_bytes(cache, id));
    cache->overriding = true;
    bool left = cache_evict(cache, &id, 1, true, CACHE_EVICTED_DAMAGED) == 1;
    cache->overriding = false;
    cache->stats.digest_errors += left;
    if (left && cache->chunk[id]->gone)
        cache_release_id(cache, cache->chunk[id]);
    cache->pump_wanted = true;
    return left;
}

/* Chunks may be placed where memory is reserved and the budget reaches. */
void cache_apply_limit(struct cache *cache)
{
    uint64_t reserved = cache->segment.reserved_bytes;
    arena_set_limit(cache->arena, reserved < cache->budget ? reserved : cache->budget);
}

/* Evicts what lies beyond the budget and returns the memory behind the last chunk that is left. */
static void shrink_tail(struct cache *cache)
{
    uint32_t count =
        arena_owners(cache->arena, cache->budget, UINT64_MAX, cache->scratch, SWI_CHUNKS);
    uint32_t resident = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t id = cache->scratch[i];
        if (id != QUARANTINE && swi_entry_get(cache->index.index, id).state == SWI_RESIDENT)
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
        shrink_tail(cache);
    if (cache->gone_count > 0)
        release_gone(cache);
    cache->pump_wanted = true;
}

void cache_set_policy(struct cache *cache, enum policy_kind policy)
{
    policy_set_kind(cache->policy, policy);
}

void cache_apply_session_bytes(struct cache *cache)
{
    policy_set_session_bytes(cache->policy,
                             cache->session_bytes ? cache->session_bytes : cache->budget / 2);
}

void cache_set_session_bytes(struct cache *cache, uint64_t bytes)
{
    cache->session_bytes = bytes;
    cache_apply_session_bytes(cache);
}

int cache_resize(struct cache *cache, uint64_t budget_bytes, struct swi_error *error)
{
    char want[32], most[32];
    swi_size_format(budget_bytes, want, sizeof want);
    if (budget_bytes < SWI_PAGE_BYTES || budget_bytes > cache->segment.max_bytes) {
        swi_size_format(cache->segment.max_bytes, most, sizeof most);
        return swi_fail(
            error, -EINVAL,
            "cannot resize the cache to %s: it may have 4 KiB to %s; restart the broker "
            "for more",
            want, most);
    }
    budget_bytes = budget_bytes / SWI_PAGE_BYTES * SWI_PAGE_BYTES;
    int result = segment_check_space(&cache->segment, budget_bytes, error);
    if (result < 0)
        return result;
    cache->budget = budget_bytes;
    cache->reserve_again_ns = 0;
    cache_apply_limit(cache);
    cache_apply_session_bytes(cache);
    shrink_tail(cache);
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
