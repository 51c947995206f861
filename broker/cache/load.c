/* SPDX-License-Identifier: MIT */
/* Starts the reads of queued chunks and handles their completion. */
#include "cache/load.h"

#include <errno.h>
#include <unistd.h>

#include "cache/evict.h"
#include "cache/origin.h"
#include "cache/queue.h"
#include "cache/stats.h"
#include "core/size.h"

#define RETRY_MIN_NS UINT64_C(1000000)
#define RETRY_MAX_NS UINT64_C(20000000)
#define ATTEMPTS     32u /* queued chunks tried in one go if the first finds no room */
#define ATTEMPTS_BEST                                                                              \
    16u /* of these in order; the rest in rotation, so that every chunk has a turn */

/* ---- failures -------------------------------------------------------------------------------- */

/* Both origins have failed. */
static void fail_chunk(struct cache *cache, struct chunk *chunk)
{
    struct attempt *attempt = chunk->attempt;
    struct swi_error error;
    cache_describe_failure(attempt, &error);
    if (!attempt->tried_file) { /* else it was counted and reported when the file failed */
        cache->stats.load_errors++;
        if (cache->failed)
            cache->failed(cache->failed_context, &chunk->info, error.code, attempt->remote_problem);
    }
    cache_end_attempt(chunk);
    chunk->ahead = false;
    cache_answer_chunk(cache, chunk, error.code, error.text);
}

/* ---- starting -------------------------------------------------------------------------------- */

static void load_done(struct load *load);

/* The range belongs to the chunk, whose entry says loading. fd -1: the remote supplies the
 * bytes. */
static void start_read(struct cache *cache, struct attempt *attempt, int fd)
{
    struct chunk *chunk = attempt->chunk;
    attempt->load = (struct load){
        .fd = fd,
        .target = cache->segment.base + chunk->offset,
        .bytes = chunk->info.bytes,
        .priority = chunk->priority,
        .order = chunk->session == NO_SESSION ? 0 : cache_share(cache, chunk->session),
        .digest = chunk->info.digest,
        .done = load_done,
        .context = attempt,
    };
    attempt->read_ns = cache->now_ns;
    attempt->remote = fd < 0;
    if (fd >= 0) {
        cache_forget_failure(chunk);
        loader_start(cache->loader, &attempt->load);
    } else {
        attempt->tried_remote = true;
        cache->remote_loading++;
        loader_start_brought(cache->loader, &attempt->load);
        cache->remote.fetch(cache->remote.context, &attempt->load);
    }
}

static void start_load(struct cache *cache, struct attempt *attempt, int fd)
{
    struct chunk *chunk = attempt->chunk;
    cache_dequeue(cache, chunk);
    cache->loading++;
    swi_entry_begin_load(cache->index.index, chunk->id, chunk->offset);
    cache_charge(cache, chunk);
    start_read(cache, attempt, fd);
}

static void describe_full_arena(struct cache *cache, const struct chunk *chunk,
                                struct swi_error *ret)
{
    char holders[256], need[32];
    cache_describe_holders(cache, holders, sizeof holders);
    swi_size_format(chunk->info.bytes, need, sizeof need);
    (void)swi_fail(ret, SW_EARENAFULL,
                   "no room for %.80s/%.80s (%s): %s; release leases or enlarge the cache (swctl "
                   "resize)",
                   chunk->info.model, chunk->info.name, need, holders);
}

/* Answers the waiters whose deadline has passed: the arena is full or, with why, the remote is
 * unreachable. Returns true if the chunk has no waiter left. */
static bool expire_waiters(struct cache *cache, struct chunk *chunk, struct swi_error *why)
{
    struct waiter_list expired = TAILQ_HEAD_INITIALIZER(expired);
    struct cache_waiter *waiter = TAILQ_FIRST(&chunk->waiters);
    while (waiter) {
        struct cache_waiter *next = TAILQ_NEXT(waiter, link);
        if (cache->now_ns >= waiter->deadline_ns) {
            TAILQ_REMOVE(&chunk->waiters, waiter, link);
            TAILQ_INSERT_TAIL(&expired, waiter, link);
        }
        waiter = next;
    }
    bool abandoned = TAILQ_EMPTY(&chunk->waiters);
    if (abandoned) {
        cache_dequeue(cache, chunk);
        if (chunk->ahead) {
            cache->stats.prefetch_dropped++;
            chunk->ahead = false;
        }
    }
    if (TAILQ_EMPTY(&expired))
        return abandoned;
    struct swi_error error;
    if (why)
        error = *why;
    else
        describe_full_arena(cache, chunk, &error);
    cache_answer(cache, &expired, error.code, error.text);
    return true; /* a callback may have changed the queue */
}

enum outcome {
    OUTCOME_STARTED,
    OUTCOME_CHANGED, /* callbacks ran, and may have changed the queue */
    OUTCOME_BLOCKED,
    OUTCOME_GROWING,
};

static enum outcome try_start(struct cache *cache, struct chunk *chunk)
{
    struct attempt *attempt = cache_begin_attempt(cache, chunk);
    struct swi_error why;
    int fd = -1;
    switch (cache_choose_origin(cache, attempt, &fd, &why)) {
    case ORIGIN_LATER:
        cache_end_attempt(chunk);
        (void)swi_fail_within(&why, why.code, "%.100s/%.100s: ", chunk->info.model,
                              chunk->info.name);
        return expire_waiters(cache, chunk, &why) ? OUTCOME_CHANGED : OUTCOME_BLOCKED;
    case ORIGIN_NOWHERE:
        cache_dequeue(cache, chunk);
        fail_chunk(cache, chunk);
        return OUTCOME_CHANGED;
    default:
        break;
    }
    enum room room = cache_make_room(cache, chunk);
    if (room == ROOM_MADE) {
        start_load(cache, attempt, fd);
        return OUTCOME_STARTED;
    }
    cache_end_attempt(chunk);
    if (fd >= 0)
        (void)close(fd);
    if (room == ROOM_GROWING)
        return OUTCOME_GROWING;
    return expire_waiters(cache, chunk, NULL) ? OUTCOME_CHANGED : OUTCOME_BLOCKED;
}

/* Less urgent reads leave part of the loader free for demands. */
static const uint32_t loads_allowed[CACHE_PRIORITIES] = {CACHE_LOADS_MAX, 6, 4};

void cache_pump(struct cache *cache)
{
    uint64_t round = ++cache->round;
    bool blocked = false;
    bool started = false;
    unsigned attempts = 0;
    cache->pump_wanted = false;
    cache->growth_goal = 0;
    for (unsigned priority = 0; priority < CACHE_PRIORITIES; priority++) {
        while (cache->loading < loads_allowed[priority] && attempts++ < ATTEMPTS) {
            struct chunk *chunk = cache_next(cache, priority, round, attempts > ATTEMPTS_BEST);
            if (!chunk)
                break;
            enum outcome outcome = try_start(cache, chunk);
            if (outcome == OUTCOME_CHANGED) {
                cache->pump_wanted = true; /* go on in the next turn */
                return;
            }
            started = started || outcome == OUTCOME_STARTED;
            blocked = blocked || outcome == OUTCOME_BLOCKED;
        }
    }
    if (!blocked) {
        cache->retry_ns = 0;
        return;
    }
    if (started || cache->retry_ns == 0)
        cache->retry_step_ns = RETRY_MIN_NS;
    else if (cache->retry_step_ns < RETRY_MAX_NS)
        cache->retry_step_ns *= 2;
    cache->retry_ns = cache->now_ns + cache->retry_step_ns;
}

/* ---- finishing ------------------------------------------------------------------------------- */

static void count_load(struct cache *cache, const struct attempt *attempt)
{
    struct cache_stats *stats = &cache->stats;
    uint64_t bytes = attempt->chunk->info.bytes;
    uint64_t took_ns = cache->now_ns > attempt->read_ns ? cache->now_ns - attempt->read_ns : 0;
    stats->loads++;
    stats->load_bytes += bytes;
    if (attempt->remote) {
        stats->remote_loads++;
        stats->remote_bytes += bytes;
        stats->file_to_remote += attempt->tried_file;
        latency_note(&stats->remote_latency, took_ns);
    } else {
        stats->file_loads++;
        stats->file_bytes += bytes;
        stats->remote_to_file += attempt->tried_remote;
        latency_note(&stats->file_latency, took_ns);
    }
}

static void load_succeeded(struct cache *cache, struct attempt *attempt)
{
    struct chunk *chunk = attempt->chunk;
    bool from_file = !attempt->remote;
    bool wrong = chunk->remote_wrong;
    count_load(cache, attempt);
    chunk->remote_wrong = false;
    cache_end_attempt(chunk);
    cache_tick(cache);
    swi_entry_publish(cache->index.index, chunk->id);
    cache_add_resident(cache, chunk);
    policy_touch(cache->policy, chunk->id, chunk->load_tick);
    if (from_file && cache->remote.fetch)
        cache->remote.was_read(cache->remote.context, chunk->id, &chunk->info, wrong);
    cache_answer_chunk(cache, chunk, 0, "");
}

/* Records why the read failed. Returns true if the remote could not be reached. */
static bool note_failure(struct cache *cache, struct attempt *attempt, bool unreachable)
{
    struct swi_error error = attempt->load.error;
    error.code = attempt->load.status;
    if (!attempt->remote) {
        cache_file_failed(cache, attempt, &error, &attempt->identity);
        return false;
    }
    if (error.code == SW_EDIGEST) {
        attempt->chunk->remote_wrong = true;
        (void)swi_fail(&error, SW_EDIGEST,
                       "the bytes in Redis do not match its digest; swctl push replaces them");
    }
    cache_remote_failed(attempt, &error);
    return unreachable;
}

/* Continues with the chunk's other origin, in the same range. */
static bool try_elsewhere(struct cache *cache, struct attempt *attempt)
{
    struct swi_error why;
    int fd = -1;
    enum origin origin = cache_choose_origin(cache, attempt, &fd, &why);
    if (origin != ORIGIN_FILE && origin != ORIGIN_REMOTE)
        return false;
    start_read(cache, attempt, fd);
    return true;
}

/* The remote has gone away, and the chunk has no file: it is queued again for the waiters whose
 * deadline has not passed. */
static void try_again_later(struct cache *cache, struct chunk *chunk)
{
    struct swi_error why;
    cache_describe_failure(chunk->attempt, &why);
    cache_end_attempt(chunk);
    cache_enqueue(cache, chunk, chunk->priority);
    (void)expire_waiters(cache, chunk, &why);
}

static void load_done(struct load *load)
{
    struct attempt *attempt = load->context;
    struct chunk *chunk = attempt->chunk;
    struct cache *cache = chunk->cache;
    bool unreachable = false;
    if (attempt->remote) {
        cache->remote_loading--;
        if (cache->remote.fetch)
            unreachable = cache->remote.over(cache->remote.context, load);
    }
    cache->pump_wanted = true;
    bool failed = load->status != 0 && load->status != -ECANCELED && !chunk->gone;
    if (failed) {
        unreachable = note_failure(cache, attempt, unreachable);
        if (!cache->closing && try_elsewhere(cache, attempt))
            return;
    }
    cache->loading--;
    if (load->status == 0 && !chunk->gone) {
        load_succeeded(cache, attempt);
        return;
    }
    /* No read is under way any more: the range may be reused. */
    swi_entry_fail_load(cache->index.index, chunk->id);
    arena_free(cache->arena, chunk->offset);
    if (chunk->gone)
        cache_release_id(cache, chunk);
    else if (!failed) /* the cache is being destroyed */
        return;
    else if (unreachable && !chunk->info.source.open && !TAILQ_EMPTY(&chunk->waiters))
        try_again_later(cache, chunk);
    else
        fail_chunk(cache, chunk);
}

void cache_cancel_load(struct cache *cache, struct chunk *chunk)
{
    struct attempt *attempt = chunk->attempt;
    loader_cancel(cache->loader, &attempt->load);
    if (attempt->remote && cache->remote.fetch)
        cache->remote.cancel(cache->remote.context, &attempt->load);
}
