/* SPDX-License-Identifier: MIT */
/* Adding and releasing chunks, answering waiters, attempts, and the tick. */
#include "cache/state.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

void cache_tick(struct cache *cache)
{
    swi_tick_advance(cache->index.index);
    policy_note_tick(cache->policy, cache_now_tick(cache), cache->now_ns);
}

/* ---- chunks ---------------------------------------------------------------------------------- */

int cache_add_chunk(struct cache *cache, uint32_t id, const struct cache_chunk *info)
{
    struct chunk *chunk = calloc(1, sizeof *chunk);
    if (!chunk)
        return -ENOMEM;
    chunk->info = *info;
    chunk->cache = cache;
    chunk->id = id;
    const struct policy_chunk known = {.incarnation = info->incarnation,
                                       .ordinal = info->ordinal,
                                       .model_size = info->model_size,
                                       .bytes = info->bytes};
    int result = policy_add_chunk(cache->policy, id, &known);
    if (result < 0) {
        free(chunk);
        return result;
    }
    TAILQ_INIT(&chunk->waiters);
    cache->chunk[id] = chunk;
    return 0;
}

void cache_release_id(struct cache *cache, struct chunk *chunk)
{
    uint32_t id = chunk->id;
    assert(chunk->gone && !chunk->queued && TAILQ_EMPTY(&chunk->waiters));
    swi_entry_assign(cache->index.index, id, 0, 0, 0, 0);
    policy_remove_chunk(cache->policy, id);
    cache_forget_failure(chunk);
    cache_end_attempt(chunk);
    cache->chunk[id] = NULL;
    cache->free_ids[(cache->free_first + cache->free_count++) % SWI_CHUNKS] = id;
    cache->gone_count--;
    free(chunk);
}

/* ---- answers --------------------------------------------------------------------------------- */

void cache_answer(struct cache *cache, struct waiter_list *waiters, int status, const char *message)
{
    struct answering frame = {.outer = cache->answering};
    TAILQ_INIT(&frame.list);
    TAILQ_CONCAT(&frame.list, waiters, link);
    cache->answering = &frame;
    struct cache_waiter *waiter;
    while ((waiter = TAILQ_FIRST(&frame.list))) {
        TAILQ_REMOVE(&frame.list, waiter, link);
        cache->waiter_count--;
        waiter->done(waiter, status, message);
    }
    cache->answering = frame.outer;
}

void cache_answer_chunk(struct cache *cache, struct chunk *chunk, int status, const char *message)
{
    struct waiter_list waiters = TAILQ_HEAD_INITIALIZER(waiters);
    TAILQ_CONCAT(&waiters, &chunk->waiters, link);
    cache_answer(cache, &waiters, status, message);
}

/* ---- attempts -------------------------------------------------------------------------------- */

struct attempt *cache_begin_attempt(struct cache *cache, struct chunk *chunk)
{
    assert(!chunk->attempt);
    unsigned i = 0;
    while (i < CACHE_LOADS_MAX && cache->attempt[i].chunk)
        i++;
    assert(i < CACHE_LOADS_MAX && "loads are bounded before they are tried");
    cache->attempt[i] = (struct attempt){.chunk = chunk};
    return chunk->attempt = &cache->attempt[i];
}

void cache_end_attempt(struct chunk *chunk)
{
    struct attempt *attempt = chunk->attempt;
    if (!attempt)
        return;
    free(attempt->file_problem);
    free(attempt->remote_problem);
    attempt->chunk = NULL;
    chunk->attempt = NULL;
}

void cache_forget_failure(struct chunk *chunk)
{
    free(chunk->failure.text);
    chunk->failure = (struct failure){.code = 0};
}

/* ---- hashing of resident chunks -------------------------------------------------------------- */

void cache_stop_rehash(struct cache *cache)
{
    cache->rehash.chunk = NULL;
    cache->rehash.request = NULL;
    cache->rehash.hashed = 0;
}

void cache_settle_trust(struct cache *cache, struct chunk *chunk)
{
    cache->stats.unverified -= chunk->trust != TRUST_VERIFIED;
    cache->rehash.withheld -= chunk->trust == TRUST_WITHHELD;
    chunk->trust = TRUST_VERIFIED;
}

void cache_finish_rehash(struct cache *cache, struct cache_rehash *request,
                         enum cache_rehash_state state)
{
    TAILQ_REMOVE(&cache->rehash.requests, request, link);
    request->state = state;
}

void cache_forget_rehash(struct cache *cache, struct chunk *chunk)
{
    if (cache->rehash.chunk == chunk)
        cache_stop_rehash(cache);
    cache_settle_trust(cache, chunk);
    struct cache_rehash *request = TAILQ_FIRST(&cache->rehash.requests);
    while (request) {
        struct cache_rehash *next = TAILQ_NEXT(request, link);
        if (request->id == chunk->id)
            cache_finish_rehash(cache, request, CACHE_REHASH_LEFT);
        request = next;
    }
}
