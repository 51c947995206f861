/* SPDX-License-Identifier: MIT */
/* Statistics, views of chunks, and descriptions for messages. */
#include "cache/stats.h"

#include <stdio.h>

#include "cache/evict.h"
#include "core/size.h"

#define HOLDERS_NAMED 4u

/* The bytes that one session pins, each chunk counted once. */
static uint64_t session_bytes(const struct cache *cache, uint32_t session)
{
    uint32_t ids[SWI_SLOTS];
    uint32_t bad;
    uint64_t bytes = 0;
    uint32_t count = swi_page_list_pins(cache->page[session], ids, &bad);
    for (uint32_t i = 0; i < count; i++) {
        bool again = false;
        for (uint32_t k = 0; k < i; k++)
            again = again || ids[k] == ids[i];
        const struct chunk *chunk = cache->chunk[ids[i]];
        if (!again && chunk && cache_state(cache, ids[i]) == SWI_RESIDENT)
            bytes += chunk->info.bytes;
    }
    return bytes;
}

static uint64_t pinned_bytes(struct cache *cache)
{
    uint64_t bytes = 0;
    cache_scan_pins(cache);
    for (uint32_t i = 0; i < cache->resident_count; i++) {
        if (cache_is_kept(cache, cache->resident[i]))
            bytes += cache->chunk[cache->resident[i]]->info.bytes;
    }
    return bytes;
}

static uint64_t held_bytes(const struct cache *cache)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < cache->resident_count; i++)
        if (cache->held[cache->resident[i]])
            bytes += cache->chunk[cache->resident[i]]->info.bytes;
    return bytes;
}

void cache_describe_holders(struct cache *cache, char *text, size_t size)
{
    struct holder {
        uint32_t session;
        uint64_t bytes;
    } top[HOLDERS_NAMED + 1];
    unsigned known = 0;
    for (uint32_t i = 0; i < cache->session_count; i++) {
        struct holder holder = {cache->sessions[i], session_bytes(cache, cache->sessions[i])};
        if (holder.bytes == 0)
            continue;
        unsigned at = known < HOLDERS_NAMED ? known++ : HOLDERS_NAMED;
        top[at] = holder;
        for (; at > 0 && top[at].bytes > top[at - 1].bytes; at--) {
            struct holder swap = top[at];
            top[at] = top[at - 1];
            top[at - 1] = swap;
        }
    }
    char pinned[32], budget[32], reserved[32];
    swi_size_format(pinned_bytes(cache), pinned, sizeof pinned);
    swi_size_format(cache->budget, budget, sizeof budget);
    int length = snprintf(text, size, "%s of %s are pinned", pinned, budget);
    for (unsigned i = 0; i < known && length >= 0 && (size_t)length < size; i++) {
        char bytes[32];
        swi_size_format(top[i].bytes, bytes, sizeof bytes);
        length += snprintf(text + length, size - (size_t)length, "%s session %u holds %s",
                           i == 0 ? ":" : ",", top[i].session, bytes);
    }
    uint64_t held = held_bytes(cache);
    if (length >= 0 && (size_t)length < size && held > 0) {
        char bytes[32];
        swi_size_format(held, bytes, sizeof bytes);
        length += snprintf(text + length, size - (size_t)length,
                           "%s the operator holds %s (swctl unpin)", known == 0 ? ":" : ",", bytes);
    }
    if (length >= 0 && (size_t)length < size && cache->loading > 0)
        length += snprintf(text + length, size - (size_t)length, "; %u chunks are being read",
                           cache->loading);
    if (length >= 0 && (size_t)length < size && cache->refused.code != 0 &&
        cache->segment.reserved_bytes < cache->budget) {
        swi_size_format(cache->segment.reserved_bytes, reserved, sizeof reserved);
        (void)snprintf(text + length, size - (size_t)length,
                       "; only %s of it could be reserved (%.100s)", reserved, cache->refused.text);
    }
}

void cache_get_stats(struct cache *cache, struct cache_stats *ret)
{
    (void)cache_merge(cache);
    struct cache_stats stats = cache->stats;
    stats.arena_bytes = cache->budget;
    stats.reserved_bytes = cache->segment.reserved_bytes;
    stats.huge_bytes = cache->segment.huge_blocks * SWI_BLOCK_BYTES;
    stats.collapse_refused = cache->segment.collapse_refused;
    stats.pinned_bytes = pinned_bytes(cache);
    stats.chunks_resident = cache->resident_count;
    stats.loading = cache->loading;
    for (int i = 0; i < CACHE_PRIORITIES; i++)
        stats.queued += cache->queue_count[i];
    stats.io_engine = loader_engine_name(cache->loader);
    stats.policy = policy_name(cache->policy);
    *ret = stats;
}

uint64_t cache_unverified(const struct cache *cache)
{
    return cache->stats.unverified;
}

void cache_look_ahead(struct cache *cache, uint64_t now_ns)
{
    cache->now_ns = now_ns;
    (void)cache_merge(cache);
    policy_prepare(cache->policy, cache_now_tick(cache), now_ns);
}

bool cache_view(struct cache *cache, uint32_t id, struct cache_chunk_view *ret)
{
    const struct chunk *chunk = id < SWI_CHUNKS ? cache->chunk[id] : NULL;
    if (!chunk || chunk->gone)
        return false;
    if (!cache->scan_fresh) /* one scan serves a listing of many chunks */
        cache_scan_pins(cache);
    struct cache_chunk_view view = {
        .chunk = &chunk->info,
        .entry = swi_entry_get(cache->index.index, id),
        .requests = chunk->uses,
        .last_use_tick = policy_last_use(cache->policy, id),
        .last_use_ns = policy_last_use_ns(cache->policy, id),
        .last_error = chunk->failure.code,
        .pins = cache_pins(cache, id),
        .held = cache->held[id],
        .queued = chunk->queued,
    };
    view.next_use_ns = policy_next_use(cache->policy, id, &view.next_use_steps);
    uint64_t leases = chunk->departed_uses;
    for (uint32_t i = 0; i < cache->session_count; i++)
        leases += swi_page_uses(cache->page[cache->sessions[i]], id);
    view.uses = chunk->uses + leases;
    /* a lease that had to ask the broker was also a request */
    view.hits = leases > chunk->uses ? leases - chunk->uses : 0;
    *ret = view;
    return true;
}
