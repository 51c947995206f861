/* SPDX-License-Identifier: MIT */
/* Hashing of resident chunks: those that were taken over from another process, and those that an
 * operator asked for.
 *
 * One chunk at a time, in this order: withheld chunks that have waiters, other withheld chunks,
 * requests, and in the background, one MiB every few milliseconds, the rest of what was taken over.
 * A chunk that was taken over and does not match its digest loses its place and its leases; it is
 * read again on the next demand. The requester decides about the chunk of a request.
 */
#include "cache/rehash.h"

#include <assert.h>

#include "cache/evict.h"

#define STEP_BYTES (UINT64_C(1) << 20)
#define PACE_NS    UINT64_C(2000000) /* between steps in the background */

void cache_rehash_start(struct cache *cache, uint32_t id, struct cache_rehash *request)
{
    assert(cache_state(cache, id) == SWI_RESIDENT);
    *request = (struct cache_rehash){.id = id, .state = CACHE_REHASH_UNDER_WAY};
    TAILQ_INSERT_TAIL(&cache->rehash.requests, request, link);
}

void cache_rehash_cancel(struct cache *cache, struct cache_rehash *request)
{
    if (request->state != CACHE_REHASH_UNDER_WAY)
        return;
    if (cache->rehash.request == request)
        cache_stop_rehash(cache);
    cache_finish_rehash(cache, request, CACHE_REHASH_LEFT);
}

/* ---- choosing -------------------------------------------------------------------------------- */

enum rank { RANK_NONE, RANK_BACKGROUND, RANK_REQUEST, RANK_WITHHELD, RANK_URGENT };

static enum rank rank_of(const struct chunk *chunk)
{
    if (chunk->trust == TRUST_WITHHELD)
        return TAILQ_EMPTY(&chunk->waiters) ? RANK_WITHHELD : RANK_URGENT;
    return chunk->trust == TRUST_UNVERIFIED ? RANK_BACKGROUND : RANK_NONE;
}

static struct chunk *choose(struct cache *cache)
{
    struct chunk *best = NULL;
    enum rank least = TAILQ_EMPTY(&cache->rehash.requests) ? RANK_NONE : RANK_REQUEST;
    if (cache->stats.unverified == 0)
        return NULL;
    for (uint32_t i = 0; i < cache->resident_count && least < RANK_URGENT; i++) {
        struct chunk *chunk = cache->chunk[cache->resident[i]];
        if (rank_of(chunk) > least) {
            best = chunk;
            least = rank_of(chunk);
        }
    }
    return best;
}

/* The chunk to continue with; NULL: out of memory, or nothing to do. */
static struct chunk *current(struct cache *cache)
{
    struct chunk *chunk = cache->rehash.chunk;
    if (chunk && cache->rehash.urgent && rank_of(chunk) < RANK_URGENT)
        cache_stop_rehash(cache);
    cache->rehash.urgent = false;
    if (cache->rehash.chunk)
        return cache->rehash.chunk;
    if (!cache->rehash.hasher && !(cache->rehash.hasher = swi_hasher_create()))
        return NULL;
    chunk = choose(cache);
    if (!chunk && (cache->rehash.request = TAILQ_FIRST(&cache->rehash.requests)))
        chunk = cache->chunk[cache->rehash.request->id];
    swi_hasher_reset(cache->rehash.hasher);
    return cache->rehash.chunk = chunk;
}

/* ---- hashing --------------------------------------------------------------------------------- */

/* The chunk matches its digest. */
static void accept_chunk(struct cache *cache, struct chunk *chunk)
{
    enum trust trust = chunk->trust;
    if (trust == TRUST_VERIFIED)
        return;
    cache->stats.verified++;
    cache->pump_wanted = true;
    cache_settle_trust(cache, chunk);
    if (trust == TRUST_WITHHELD)
        swi_entry_restore_evict(cache->index.index, chunk->id);
    cache_answer_chunk(cache, chunk, 0, "");
}

/* The chunk was taken over and does not match its digest. */
static void reject_chunk(struct cache *cache, struct chunk *chunk)
{
    cache->stats.verify_errors++;
    cache->stats.digest_errors++;
    cache->pump_wanted = true;
    if (chunk->trust != TRUST_WITHHELD)
        swi_entry_begin_evict(cache->index.index, chunk->id);
    cache_evicted(cache, chunk, true, CACHE_EVICTED_REPLACED);
    if (chunk->gone)
        cache_release_id(cache, chunk);
}

static void conclude(struct cache *cache, struct chunk *chunk)
{
    struct cache_rehash *request = cache->rehash.request;
    struct swi_digest found = swi_hasher_digest(cache->rehash.hasher);
    bool matches = swi_digest_equal(found, chunk->info.digest);
    cache_stop_rehash(cache);
    if (request)
        cache_finish_rehash(cache, request, matches ? CACHE_REHASH_MATCHES : CACHE_REHASH_DAMAGED);
    if (matches)
        accept_chunk(cache, chunk);
    else if (!request)
        reject_chunk(cache, chunk);
}

bool cache_rehash_wanted(const struct cache *cache)
{
    return cache->rehash.withheld > 0 || !TAILQ_EMPTY(&cache->rehash.requests);
}

bool cache_rehash_some(struct cache *cache)
{
    bool wanted = cache_rehash_wanted(cache);
    if (!wanted && (cache->stats.unverified == 0 || cache->now_ns < cache->rehash.due_ns))
        return false;
    cache->rehash.due_ns = cache->now_ns + PACE_NS;
    struct chunk *chunk = current(cache);
    if (!chunk)
        return false;
    uint64_t rest = chunk->info.bytes - cache->rehash.hashed;
    uint64_t length = rest < STEP_BYTES ? rest : STEP_BYTES;
    swi_hasher_update(cache->rehash.hasher,
                      cache->segment.base + chunk->offset + cache->rehash.hashed, length);
    cache->rehash.hashed += length;
    if (cache->rehash.request)
        cache->rehash.request->hashed = cache->rehash.hashed;
    if (length == rest)
        conclude(cache, chunk);
    return cache_rehash_wanted(cache);
}

uint64_t cache_rehash_due_ns(const struct cache *cache)
{
    bool idle = cache->stats.unverified == 0 && TAILQ_EMPTY(&cache->rehash.requests);
    return idle ? UINT64_MAX : cache->rehash.due_ns;
}
