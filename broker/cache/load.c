/* SPDX-License-Identifier: MIT */
/* Starting the reads of queued chunks, and what follows when one has finished or failed. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cache/internal.h"
#include "core/size.h"

/* ---- failures ------------------------------------------------------- */

/* Tells everybody who waits for the chunk. The chunk may be gone afterwards. */
static void answer_all(struct cache *cache, struct chunk *chunk, int status, const char *message)
{
    struct waiter_list waiters = TAILQ_HEAD_INITIALIZER(waiters);
    TAILQ_CONCAT(&waiters, &chunk->waiters, link);
    cache_answer(cache, &waiters, status, message);
}

/* The chunk cannot be had from anywhere. */
static void fail_chunk(struct cache *cache, struct chunk *chunk)
{
    struct swi_error error;
    cache_describe_failure(chunk, &error);
    if (!chunk->tried_file) { /* else it was counted and told when its file failed */
        cache->stats.load_errors++;
        if (cache->failed)
            cache->failed(cache->failed_context, &chunk->info, error.code, chunk->remote_problem);
    }
    cache_forget_tries(chunk);
    chunk->ahead = false;
    answer_all(cache, chunk, error.code, error.text);
}

/* ---- starting ------------------------------------------------------- */

static void load_done(struct load *load);

/* Whether there is reason to hope that its file has it. */
static bool file_may_do(const struct chunk *chunk)
{
    return chunk->info.source.open && !chunk->tried_file && chunk->failure.code == 0;
}

/* The range is the chunk's, and its entry says loading. fd -1: the remote brings it. */
static void start_read(struct cache *cache, struct chunk *chunk, int fd,
                       const struct load_identity *identity)
{
    chunk->load = (struct load){
        .fd = fd,
        .target = cache->segment.base + chunk->offset,
        .bytes = chunk->info.bytes,
        .priority = chunk->priority,
        .order = chunk->session == NO_SESSION ? 0 : cache_share(cache, chunk->session),
        .digest = chunk->info.digest,
        .done = load_done,
        .context = chunk,
    };
    chunk->read_ns = cache->now_ns;
    chunk->remote = fd < 0;
    if (fd >= 0) {
        cache_forget_failure(chunk);
        chunk->failure.identity = *identity; /* kept for the case that this read fails */
        loader_start(cache->loader, &chunk->load);
    } else {
        chunk->tried_remote = true;
        chunk->given_up = false;
        cache->remote_loading++;
        loader_start_brought(cache->loader, &chunk->load);
        cache->remote.fetch(cache->remote.context, &chunk->load, file_may_do(chunk));
    }
}

static void start_load(struct cache *cache, struct chunk *chunk, int fd,
                       const struct load_identity *identity)
{
    cache_dequeue(cache, chunk);
    cache->loading++;
    swi_entry_begin_load(cache->index.index, chunk->id, chunk->offset);
    cache_charge(cache, chunk);
    start_read(cache, chunk, fd, identity);
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

/* Waiters whose patience is over, with a full arena or (why) with a remote that does not come.
 * Returns true when nobody is left to read the chunk for. */
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

enum attempt { STARTED, CHANGED, BLOCKED, GROWING /* cache_make_room has set growth_goal */ };

static enum attempt try_start(struct cache *cache, struct chunk *chunk)
{
    struct load_identity identity;
    struct swi_error why;
    int fd = -1;
    cache_forget_tries(chunk);
    switch (cache_choose_origin(cache, chunk, &fd, &identity, &why)) {
    case ORIGIN_LATER:
        (void)swi_fail_within(&why, why.code, "%.100s/%.100s: ", chunk->info.model,
                              chunk->info.name);
        return expire_waiters(cache, chunk, &why) ? CHANGED : BLOCKED;
    case ORIGIN_NOWHERE:
        cache_dequeue(cache, chunk);
        fail_chunk(cache, chunk);
        return CHANGED;
    default:
        break;
    }
    enum room room = cache_make_room(cache, chunk);
    if (room == ROOM_MADE) {
        start_load(cache, chunk, fd, &identity);
        return STARTED;
    }
    if (fd >= 0)
        (void)close(fd);
    if (room == ROOM_GROWING)
        return GROWING;
    return expire_waiters(cache, chunk, NULL) ? CHANGED : BLOCKED;
}

/* Less urgent reads leave part of the loader free for a demand that may come. */
static const uint32_t loads_allowed[CACHE_PRIORITIES] = {CACHE_LOADS_MAX, 6, 4};

/* Tries queued chunks, most urgent first, until nothing more can start. One that finds no room does
 * not hold up those behind it. */
void cache_pump(struct cache *cache)
{
    uint64_t round = ++cache->round;
    bool blocked = false;
    bool started = false;
    unsigned attempts = 0;
    cache->pump_wanted = false;
    cache->growth_goal = 0;
    for (unsigned priority = 0; priority < CACHE_PRIORITIES; priority++) {
        while (cache->loading < loads_allowed[priority] && attempts++ < CACHE_ATTEMPTS) {
            struct chunk *chunk =
                cache_next(cache, priority, round, attempts > CACHE_ATTEMPTS_BEST);
            if (!chunk)
                break;
            enum attempt attempt = try_start(cache, chunk);
            if (attempt == CHANGED) {
                cache->pump_wanted = true; /* callbacks ran: go on in the next turn */
                return;
            }
            started = started || attempt == STARTED;
            blocked = blocked || attempt == BLOCKED;
        }
    }
    if (!blocked) {
        cache->retry_ns = 0;
        return;
    }
    if (started || cache->retry_ns == 0)
        cache->retry_step_ns = CACHE_RETRY_MIN_NS;
    else if (cache->retry_step_ns < CACHE_RETRY_MAX_NS)
        cache->retry_step_ns *= 2;
    cache->retry_ns = cache->now_ns + cache->retry_step_ns;
}

/* ---- finishing ------------------------------------------------------- */

static void count_load(struct cache *cache, const struct chunk *chunk, uint64_t now_ns)
{
    struct cache_stats *stats = &cache->stats;
    uint64_t bytes = chunk->info.bytes;
    uint64_t took_ns = now_ns > chunk->read_ns ? now_ns - chunk->read_ns : 0;
    stats->loads++;
    stats->load_bytes += bytes;
    if (chunk->remote) {
        stats->remote_loads++;
        stats->remote_bytes += bytes;
        stats->file_to_remote += chunk->tried_file;
        latency_note(&stats->remote_latency, took_ns);
    } else {
        stats->file_loads++;
        stats->file_bytes += bytes;
        stats->remote_to_file += chunk->tried_remote;
        latency_note(&stats->file_latency, took_ns);
    }
}

static void load_succeeded(struct cache *cache, struct chunk *chunk)
{
    count_load(cache, chunk, cache->now_ns);
    bool wrong = chunk->remote_wrong;
    chunk->remote_wrong = false;
    cache_forget_tries(chunk);
    cache_tick(cache);
    swi_entry_publish(cache->index.index, chunk->id);
    cache_became_resident(cache, chunk);
    if (!chunk->remote && cache->remote.fetch)
        cache->remote.was_read(cache->remote.context, chunk->id, &chunk->info, wrong);
    answer_all(cache, chunk, 0, "");
}

/* Notes why the read failed. Returns true when it was the remote and it could not be reached. */
static bool note_failure(struct cache *cache, struct chunk *chunk, bool unreachable)
{
    struct load *load = &chunk->load;
    struct swi_error error = load->error;
    error.code = load->status;
    if (!chunk->remote) {
        struct load_identity identity = chunk->failure.identity;
        cache_file_failed(cache, chunk, &error, &identity);
        return false;
    }
    if (load->status == SW_EDIGEST) {
        chunk->remote_wrong = true;
        (void)swi_fail(&error, SW_EDIGEST,
                       "what Redis holds of it has another digest; swctl push puts it right");
    }
    chunk->given_up = unreachable && file_may_do(chunk);
    cache_remote_failed(chunk, &error);
    return unreachable;
}

/* Goes on with the chunk's other origin, in the range that it has. */
static bool try_elsewhere(struct cache *cache, struct chunk *chunk)
{
    struct load_identity identity;
    struct swi_error why;
    int fd = -1;
    enum origin origin = cache_choose_origin(cache, chunk, &fd, &identity, &why);
    if (origin != ORIGIN_FILE && origin != ORIGIN_REMOTE)
        return false;
    start_read(cache, chunk, fd, &identity);
    return true;
}

/* A chunk without a file, and a remote that went away: the waiters that still have patience get
 * another try. */
static void try_again_later(struct cache *cache, struct chunk *chunk)
{
    struct swi_error why;
    cache_describe_failure(chunk, &why);
    cache_enqueue(cache, chunk, chunk->priority);
    (void)expire_waiters(cache, chunk, &why);
}

static void load_done(struct load *load)
{
    struct chunk *chunk = load->context;
    struct cache *cache = chunk->cache;
    bool unreachable = false;
    if (chunk->remote) {
        cache->remote_loading--;
        if (cache->remote.fetch)
            unreachable = cache->remote.over(cache->remote.context, load);
    }
    cache->pump_wanted = true;
    bool failed = load->status != 0 && load->status != -ECANCELED && !chunk->gone;
    if (failed) {
        unreachable = note_failure(cache, chunk, unreachable);
        if (!cache->closing && try_elsewhere(cache, chunk))
            return;
    }
    cache->loading--;
    if (load->status == 0 && !chunk->gone) {
        load_succeeded(cache, chunk);
        return;
    }
    /* No read is under way any more, so the range may be used again. */
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
