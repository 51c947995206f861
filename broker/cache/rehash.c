/* SPDX-License-Identifier: MIT */
/* Hashing what was taken over from another process.
 *
 * What is withheld goes first and without a pause, and of that what somebody waits for; the rest a
 * MiB at a time, when there is nothing else to do. A chunk whose bytes are not what its digest says
 * loses its place and its leases, and is read again when somebody wants it.
 */
#include "cache/internal.h"

#define TURN_BYTES (UINT64_C(1) << 20)

static void put_down(struct cache *cache)
{
    swi_hasher_destroy(cache->verify.hasher);
    cache->verify.hasher = NULL;
    cache->verify.chunk = NULL;
    cache->verify.hashed = 0;
}

void cache_verify_fini(struct cache *cache)
{
    put_down(cache);
}

void cache_verify_forget(struct cache *cache, struct chunk *chunk)
{
    if (cache->verify.chunk == chunk)
        put_down(cache);
    cache->stats.unverified -= chunk->unverified;
    cache->verify.withheld -= chunk->withheld;
    chunk->unverified = chunk->withheld = false;
}

static int rank(const struct chunk *chunk)
{
    if (!chunk->unverified)
        return 0;
    if (!chunk->withheld)
        return 1;
    return TAILQ_EMPTY(&chunk->waiters) ? 2 : 3;
}

static struct chunk *choose(struct cache *cache)
{
    struct chunk *best = NULL;
    for (uint32_t i = 0; i < cache->resident_count; i++) {
        struct chunk *chunk = cache->chunk[cache->resident[i]];
        if (rank(chunk) > (best ? rank(best) : 0))
            best = chunk;
        if (best && rank(best) == 3)
            break;
    }
    return best;
}

/* The chunk to go on with; NULL: out of memory, or nothing. */
static struct chunk *current(struct cache *cache)
{
    if (cache->verify.chunk && cache->verify.urgent && rank(cache->verify.chunk) < 3)
        put_down(cache);
    cache->verify.urgent = false;
    if (cache->verify.chunk)
        return cache->verify.chunk;
    struct chunk *chunk = choose(cache);
    cache->verify.hasher = chunk ? swi_hasher_create() : NULL;
    if (!cache->verify.hasher)
        return NULL;
    return cache->verify.chunk = chunk;
}

static void answer_waiters(struct cache *cache, struct chunk *chunk)
{
    struct waiter_list waiters = TAILQ_HEAD_INITIALIZER(waiters);
    TAILQ_CONCAT(&waiters, &chunk->waiters, link);
    cache_answer(cache, &waiters, 0, "");
}

static void conclude(struct cache *cache, struct chunk *chunk)
{
    struct swi_digest found = swi_hasher_digest(cache->verify.hasher);
    bool withheld = chunk->withheld;
    cache->pump_wanted = true;
    if (swi_digest_equal(found, chunk->info.digest)) {
        cache->stats.verified++;
        cache_verify_forget(cache, chunk);
        if (withheld)
            swi_entry_restore_evict(cache->index.index, chunk->id);
        answer_waiters(cache, chunk);
        return;
    }
    cache->stats.verify_errors++;
    cache->stats.digest_errors++;
    if (!withheld)
        swi_entry_begin_evict(cache->index.index, chunk->id);
    cache_evicted(cache, chunk, true, CACHE_EVICTED_REPLACED);
    if (chunk->gone)
        cache_release_id(cache, chunk);
}

bool cache_verify(struct cache *cache)
{
    bool patient = cache->verify.withheld == 0;
    if (cache->stats.unverified == 0 || (patient && cache->now_ns < cache->verify.due_ns))
        return false;
    cache->verify.due_ns = cache->now_ns + CACHE_VERIFY_PACE_NS;
    struct chunk *chunk = current(cache);
    if (!chunk)
        return false;
    uint64_t rest = chunk->info.bytes - cache->verify.hashed;
    uint64_t length = rest < TURN_BYTES ? rest : TURN_BYTES;
    swi_hasher_update(cache->verify.hasher,
                      cache->segment.base + chunk->offset + cache->verify.hashed, length);
    cache->verify.hashed += length;
    if (length == rest)
        conclude(cache, chunk);
    return cache->verify.withheld > 0;
}

uint64_t cache_verify_due_ns(const struct cache *cache)
{
    return cache->stats.unverified == 0 ? UINT64_MAX : cache->verify.due_ns;
}
