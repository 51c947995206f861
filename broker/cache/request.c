/* SPDX-License-Identifier: MIT */
/* Sessions, chunks and requests. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "cache/evict.h"
#include "cache/load.h"
#include "cache/queue.h"
#include "core/size.h"

#define ROOM_WAIT_NS UINT64_C(5000000000) /* for pins to go */
#define PREFETCH_MAX 1024u                /* queued; more are dropped */
#define WAITERS_MAX  65536u

/* ---- sessions -------------------------------------------------------------------------------- */

void cache_leave(struct cache *cache)
{
    cache->leaving = true;
}

void cache_attach_page(struct cache *cache, uint32_t session, const struct swi_page *page)
{
    assert(session < SWI_SESSIONS && !cache->page[session]);
    cache->page[session] = page;
    cache->sessions[cache->session_count++] = session;
    cache_forget_share(cache, session);
    cache->tick_step_ns = CACHE_TICK_MIN_NS;
    cache->tick_ns = 0;
}

void cache_detach_page(struct cache *cache, uint32_t session)
{
    assert(session < SWI_SESSIONS && cache->page[session]);
    for (uint32_t id = 0; id < SWI_CHUNKS; id++)
        if (cache->chunk[id])
            cache->chunk[id]->departed_uses += swi_page_uses(cache->page[session], id);
    cache->page[session] = NULL;
    cache->scan_fresh = false;
    uint32_t at = 0;
    while (cache->sessions[at] != session)
        at++;
    cache->sessions[at] = cache->sessions[--cache->session_count];
    policy_forget_session(cache->policy, session);
    cache->pump_wanted = true; /* its pins are gone */
    cache->tidy_ns = 0;
}

/* ---- chunks ---------------------------------------------------------------------------------- */

int cache_register(struct cache *cache, const struct cache_chunk *info, uint32_t *ret_id)
{
    if (info->bytes == 0 || info->incarnation == 0)
        return -EINVAL;
    if (cache->free_count == 0)
        return SW_EQUOTA;
    uint32_t id = cache->free_ids[cache->free_first];
    int result = cache_add_chunk(cache, id, info);
    if (result < 0)
        return result;
    cache->free_first = (cache->free_first + 1) % SWI_CHUNKS;
    cache->free_count--;
    swi_entry_assign(cache->index.index, id, info->incarnation, info->bytes, info->digest.low,
                     info->digest.high);
    *ret_id = id;
    return 0;
}

void cache_unregister(struct cache *cache, uint32_t id)
{
    struct chunk *chunk = cache->chunk[id];
    assert(chunk && !chunk->gone);
    if (chunk->queued)
        cache_dequeue(cache, chunk);
    chunk->gone = true;
    cache->held[id] = false;
    cache->gone_count++;
    struct waiter_list waiters = TAILQ_HEAD_INITIALIZER(waiters);
    TAILQ_CONCAT(&waiters, &chunk->waiters, link);
    enum swi_state state = cache_state(cache, id);
    if (state == SWI_LOADING)
        cache_cancel_load(cache, chunk);
    else if (state == SWI_ABSENT)
        cache_release_id(cache, chunk);
    else if (cache_evict(cache, &id, 1, true, CACHE_EVICTED_REPLACED) == 1)
        cache_release_id(cache, chunk);
    cache->pump_wanted = true;
    cache_answer(cache, &waiters, SW_ESTALE, sw_strerror(SW_ESTALE));
}

/* ---- requests -------------------------------------------------------------------------------- */

static void tell(struct cache_waiter *waiter, int status, const char *message)
{
    if (waiter)
        waiter->done(waiter, status, message);
}

static void refuse_too_large(struct cache *cache, const struct chunk *chunk,
                             struct cache_waiter *waiter)
{
    char need[32], have[32];
    struct swi_error error;
    swi_size_format(chunk->info.bytes, need, sizeof need);
    swi_size_format(cache->budget, have, sizeof have);
    (void)swi_fail(&error, SW_EARENAFULL,
                   "%.150s/%.150s needs %s, the whole cache is %s; start the broker with a larger "
                   "--cache-size or use swctl resize",
                   chunk->info.model, chunk->info.name, need, have);
    tell(waiter, SW_EARENAFULL, error.text);
}

static void join(struct cache *cache, struct chunk *chunk, enum cache_priority priority,
                 struct cache_waiter *waiter)
{
    if (waiter) {
        TAILQ_INSERT_TAIL(&chunk->waiters, waiter, link);
        cache->waiter_count++;
    }
    uint32_t session = waiter ? waiter->session : NO_SESSION;
    bool loading = cache_state(cache, chunk->id) == SWI_LOADING;
    bool withheld = chunk->trust == TRUST_WITHHELD;
    cache->rehash.urgent = cache->rehash.urgent || (waiter && withheld);
    if (!chunk->queued && !loading && !withheld) {
        chunk->ahead = priority == CACHE_PREFETCH;
        chunk->session = session;
        cache_enqueue(cache, chunk, priority);
        return;
    }
    cache->stats.coalesced++;
    if (chunk->ahead && priority != CACHE_PREFETCH) {
        chunk->ahead = false;
        cache->stats.prefetch_used++;
    }
    cache_raise(cache, chunk, priority, session);
}

void cache_request(struct cache *cache, uint32_t id, enum cache_priority priority,
                   struct cache_waiter *waiter, uint64_t now_ns)
{
    struct chunk *chunk = cache->chunk[id];
    assert(chunk && !chunk->gone);
    cache->now_ns = now_ns;
    cache->scan_fresh = false;
    if (waiter) {
        waiter->id = id;
        waiter->deadline_ns = now_ns + ROOM_WAIT_NS;
    }
    cache_tick(cache);
    cache->tick_step_ns = CACHE_TICK_MIN_NS;
    if (priority == CACHE_DEMAND) {
        chunk->uses++;
        policy_touch(cache->policy, id, cache_now_tick(cache));
    }
    enum swi_state state = cache_state(cache, id);
    if (state == SWI_RESIDENT) {
        tell(waiter, 0, "");
        return;
    }
    cache->stats.misses += priority == CACHE_DEMAND;
    if (arena_range_bytes(chunk->info.bytes) > cache->budget) {
        refuse_too_large(cache, chunk, waiter);
        return;
    }
    if (waiter && cache->waiter_count >= WAITERS_MAX) {
        tell(waiter, SW_EQUOTA, "the broker has too many requests waiting; try again later");
        return;
    }
    if (priority == CACHE_PREFETCH && state == SWI_ABSENT && !chunk->queued) {
        if (cache->queue_count[CACHE_PREFETCH] >= PREFETCH_MAX) {
            cache->stats.prefetch_dropped++;
            tell(waiter, SW_EQUOTA, "too many prefetches are waiting");
            return;
        }
        cache->stats.prefetches++;
    }
    join(cache, chunk, priority, waiter);
}

void cache_cancel(struct cache *cache, struct cache_waiter *waiter)
{
    cache->waiter_count--;
    for (struct answering *frame = cache->answering; frame; frame = frame->outer) {
        struct cache_waiter *other;
        TAILQ_FOREACH(other, &frame->list, link)
        {
            if (other == waiter) {
                TAILQ_REMOVE(&frame->list, waiter, link);
                return;
            }
        }
    }
    struct chunk *chunk = cache->chunk[waiter->id];
    assert(chunk && "a waiter is cancelled before it is answered");
    TAILQ_REMOVE(&chunk->waiters, waiter, link);
    if (chunk->queued && chunk->priority == CACHE_WARM && TAILQ_EMPTY(&chunk->waiters))
        cache_dequeue(cache, chunk);
}
