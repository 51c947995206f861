/* Starting the reads of queued chunks, and what follows when one has finished or failed. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cache_internal.h"
#include "core/size.h"

/* ---- failures ------------------------------------------------------- */

void swi_cache_forget_failure(struct chunk *chunk)
{
    free(chunk->failure.text);
    chunk->failure = (struct failure){.code = 0};
}

static void remember_failure(struct cache *cache, struct chunk *chunk,
                             const struct swi_error *error, const struct load_identity *identity)
{
    swi_cache_forget_failure(chunk);
    chunk->failure.code = error->code;
    chunk->failure.at_ns = cache->now_ns;
    chunk->failure.text = strdup(error->text);
    if (identity) {
        chunk->failure.seen_file = true;
        chunk->failure.identity = *identity;
    }
}

static bool same_file(const struct load_identity *a, const struct load_identity *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->modified_ns == b->modified_ns && a->changed_ns == b->changed_ns;
}

/* Whether reading this file again would only fail again. */
static bool would_fail_again(const struct cache *cache, const struct chunk *chunk,
                             const struct load_identity *identity)
{
    const struct failure *failure = &chunk->failure;
    return failure->code != 0 && failure->seen_file && same_file(&failure->identity, identity) &&
           cache->now_ns - failure->at_ns < CACHE_FAILURE_HOLD_NS;
}

/* Tells everybody who waits for the chunk. The chunk may be gone afterwards. */
static void answer_all(struct cache *cache, struct chunk *chunk, int status, const char *message)
{
    struct waiter_list waiters = TAILQ_HEAD_INITIALIZER(waiters);
    TAILQ_CONCAT(&waiters, &chunk->waiters, link);
    swi_cache_answer(cache, &waiters, status, message);
}

/* The chunk cannot be read. */
static void fail_chunk(struct cache *cache, struct chunk *chunk, struct swi_error *error,
                       const struct load_identity *identity)
{
    if (error->code == SW_EDIGEST)
        cache->stats.digest_errors++;
    else
        cache->stats.load_errors++;
    (void)swi_fail_within(error, error->code, "%s/%s: ", chunk->info.model, chunk->info.name);
    remember_failure(cache, chunk, error, identity);
    chunk->ahead = false;
    answer_all(cache, chunk, error->code, error->text);
}

/* ---- starting ------------------------------------------------------- */

/* Opens and checks the chunk's file. On failure everybody who waits was told. */
static int open_file(struct cache *cache, struct chunk *chunk, struct load_identity *ret_identity)
{
    struct swi_error error = {.code = 0};
    int fd = chunk->info.source.open(chunk->info.source.context, chunk->info.ordinal, &error);
    int result = fd;
    bool seen = false;
    if (fd >= 0) {
        memset(ret_identity, 0, sizeof *ret_identity);
        result = loader_check_file(fd, chunk->info.bytes, ret_identity, &error);
        seen = true;
    } else if (error.code == 0) {
        (void)swi_fail(&error, fd, "cannot open: %s", sw_strerror(fd));
    }
    if (result >= 0 && !would_fail_again(cache, chunk, ret_identity))
        return fd;
    if (fd >= 0)
        (void)close(fd);
    swi_cache_dequeue(cache, chunk);
    if (result < 0) {
        fail_chunk(cache, chunk, &error, seen ? ret_identity : NULL);
        return -1;
    }
    char text[SWI_ERROR_TEXT];
    int code = chunk->failure.code;
    (void)snprintf(text, sizeof text, "%s",
                   chunk->failure.text ? chunk->failure.text : sw_strerror(code));
    answer_all(cache, chunk, code, text);
    return -1;
}

static void load_done(struct load *load);

static void start_load(struct cache *cache, struct chunk *chunk, int fd,
                       const struct load_identity *identity)
{
    swi_cache_dequeue(cache, chunk);
    cache->loading++;
    swi_cache_forget_failure(chunk);
    chunk->failure.identity = *identity; /* kept for the case that this read fails */
    swi_entry_begin_load(cache->index.index, chunk->id, chunk->offset);
    chunk->load = (struct load){
        .fd = fd,
        .target = cache->segment.base + chunk->offset,
        .bytes = chunk->info.bytes,
        .priority = chunk->priority,
        .order = chunk->session == NO_SESSION ? 0 : swi_cache_share(cache, chunk->session),
        .digest = chunk->info.digest,
        .done = load_done,
        .context = chunk,
    };
    swi_cache_charge(cache, chunk);
    loader_start(cache->loader, &chunk->load);
}

/* Waiters whose patience with a full arena is over. Returns true when nobody is left to read the
 * chunk for. */
static bool expire_waiters(struct cache *cache, struct chunk *chunk)
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
        swi_cache_dequeue(cache, chunk);
        if (chunk->ahead) {
            cache->stats.prefetch_dropped++;
            chunk->ahead = false;
        }
    }
    if (TAILQ_EMPTY(&expired))
        return abandoned;
    char holders[256], need[32];
    struct swi_error error;
    swi_cache_describe_holders(cache, holders, sizeof holders);
    swi_size_format(chunk->info.bytes, need, sizeof need);
    (void)swi_fail(&error, SW_EARENAFULL,
                   "no room for %.80s/%.80s (%s): %s; release leases or enlarge the cache (swctl "
                   "resize)",
                   chunk->info.model, chunk->info.name, need, holders);
    swi_cache_answer(cache, &expired, SW_EARENAFULL, error.text);
    return true; /* a callback may have changed the queue */
}

enum attempt { STARTED, CHANGED, BLOCKED, GROWING /* swi_cache_make_room has set growth_goal */ };

static enum attempt try_start(struct cache *cache, struct chunk *chunk)
{
    struct load_identity identity;
    int fd = open_file(cache, chunk, &identity);
    if (fd < 0)
        return CHANGED;
    enum room room = swi_cache_make_room(cache, chunk);
    if (room == ROOM_MADE) {
        start_load(cache, chunk, fd, &identity);
        return STARTED;
    }
    (void)close(fd);
    if (room == ROOM_GROWING)
        return GROWING;
    return expire_waiters(cache, chunk) ? CHANGED : BLOCKED;
}

/* Less urgent reads leave part of the loader free for a demand that may come. */
static const uint32_t loads_allowed[CACHE_PRIORITIES] = {CACHE_LOADS_MAX, 6, 4};

/* Tries queued chunks, most urgent first, until nothing more can start. One that finds no room does
 * not hold up those behind it. */
void swi_cache_pump(struct cache *cache)
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
                swi_cache_next(cache, priority, round, attempts > CACHE_ATTEMPTS_BEST);
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

static void load_done(struct load *load)
{
    struct chunk *chunk = load->context;
    struct cache *cache = chunk->cache;
    cache->loading--;
    cache->pump_wanted = true;
    if (load->status == 0 && !chunk->gone) {
        cache->stats.loads++;
        cache->stats.load_bytes += chunk->info.bytes;
        swi_cache_tick(cache);
        swi_entry_publish(cache->index.index, chunk->id);
        swi_cache_became_resident(cache, chunk);
        answer_all(cache, chunk, 0, "");
        return;
    }
    /* No read is under way any more, so the range may be used again. */
    swi_entry_fail_load(cache->index.index, chunk->id);
    arena_free(cache->arena, chunk->offset);
    if (chunk->gone) {
        swi_cache_release_id(cache, chunk);
        return;
    }
    if (load->status == -ECANCELED) /* the cache is being destroyed */
        return;
    struct swi_error error = load->error;
    error.code = load->status;
    struct load_identity identity = chunk->failure.identity;
    fail_chunk(cache, chunk, &error, &identity);
}
