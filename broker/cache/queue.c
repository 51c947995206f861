/* SPDX-License-Identifier: MIT */
/* The order of reads: by priority, and among demands by what was recently read for their sessions.
 *
 * A session's share is the bytes read for it, halved every SHARE_HALF_NS. Demands of the session
 * with the smallest share go first, so that a client with an occasional miss does not queue behind
 * clients that keep missing; being served makes a session heavier, so none starves. A chunk that
 * several sessions wait for counts for the lightest of them. All operators' requests (session
 * SWI_SESSIONS) count as one session. Warm-ups and prefetches go in order of arrival. When many
 * chunks find no room, half of a round's attempts go to those tried longest ago.
 */
#include "cache/queue.h"

#include <assert.h>
#include <math.h>

#define SHARE_HALF_NS 500e6
#define SCAN_MAX      1024u /* queued demands compared for each choice */

void cache_enqueue(struct cache *cache, struct chunk *chunk, enum cache_priority priority)
{
    assert(!chunk->queued);
    chunk->queued = true;
    chunk->priority = priority;
    chunk->tried = 0;
    TAILQ_INSERT_TAIL(&cache->queue[priority], chunk, link);
    cache->queue_count[priority]++;
    cache->pump_wanted = true;
}

void cache_dequeue(struct cache *cache, struct chunk *chunk)
{
    assert(chunk->queued);
    chunk->queued = false;
    TAILQ_REMOVE(&cache->queue[chunk->priority], chunk, link);
    cache->queue_count[chunk->priority]--;
}

double cache_share(const struct cache *cache, uint32_t session)
{
    const struct share *share = &cache->share[session];
    double age_ns = (double)(cache->now_ns - share->at_ns);
    return share->bytes * exp2(-age_ns / SHARE_HALF_NS);
}

void cache_charge(struct cache *cache, const struct chunk *chunk)
{
    if (chunk->session == NO_SESSION)
        return;
    struct share *share = &cache->share[chunk->session];
    *share = (struct share){
        .bytes = cache_share(cache, chunk->session) + (double)chunk->info.bytes,
        .at_ns = cache->now_ns,
    };
}

void cache_forget_share(struct cache *cache, uint32_t session)
{
    cache->share[session] = (struct share){.bytes = 0};
}

void cache_raise(struct cache *cache, struct chunk *chunk, enum cache_priority priority,
                 uint32_t session)
{
    if (chunk->session == NO_SESSION ||
        (session != NO_SESSION && cache_share(cache, session) < cache_share(cache, chunk->session)))
        chunk->session = session;
    if (priority < chunk->priority) {
        if (chunk->queued) {
            cache_dequeue(cache, chunk);
            cache_enqueue(cache, chunk, priority);
        }
        chunk->priority = priority;
    }
    if (chunk->attempt)
        chunk->attempt->load.priority = chunk->priority;
}

static bool goes_before(const struct chunk *a, double share, const struct chunk *b, double other,
                        bool rotate)
{
    return rotate && a->tried != b->tried ? a->tried < b->tried : share < other;
}

struct chunk *cache_next(struct cache *cache, enum cache_priority priority, uint64_t round,
                         bool rotate)
{
    struct chunk *best = NULL;
    double least = 0;
    unsigned seen = 0;
    struct chunk *chunk;
    TAILQ_FOREACH(chunk, &cache->queue[priority], link)
    {
        if (chunk->tried == round)
            continue;
        double share = 0; /* warm-up and prefetch: order of arrival */
        if (priority == CACHE_DEMAND && chunk->session != NO_SESSION)
            share = cache_share(cache, chunk->session);
        if (!best || goes_before(chunk, share, best, least, rotate)) {
            best = chunk;
            least = share;
        }
        if (++seen == SCAN_MAX || (priority != CACHE_DEMAND && !rotate))
            break;
    }
    if (best)
        best->tried = round;
    return best;
}
