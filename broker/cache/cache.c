/* SPDX-License-Identifier: MIT */
/* Life of the cache, its chunks, sessions and requests, and what one dispatch does. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "cache/internal.h"
#include "core/size.h"

#define DISPATCH_BLOCKS                                                                            \
    1u /* reserved in one dispatch; a block that the host backs anew takes milliseconds */

/* ---- life ------------------------------------------------------- */

static int check_options(const struct cache_options *options, struct swi_error *error)
{
    if (options->budget_bytes < SWI_PAGE_BYTES)
        return swi_fail(error, -EINVAL,
                        "a cache of %llu bytes is too small; --cache-size 512 means 512 MiB",
                        (unsigned long long)options->budget_bytes);
    if (options->max_bytes < options->budget_bytes)
        return swi_fail(error, -EINVAL, "the largest cache size is below the cache size");
    return 0;
}

/* The first part is reserved before anybody is served, so that a machine without room for it says
 * so at once. Where others have the room now it begins with what there is, be it nothing: those
 * others may be clients of a broker that has ended, who let go of its arena once they have another
 * one. */
static int reserve_first(struct cache *cache, struct swi_error *error)
{
    uint64_t first = cache->budget < CACHE_FIRST_BYTES ? cache->budget : CACHE_FIRST_BYTES;
    int result = segment_check_space(&cache->segment, cache->budget, error);
    bool taken = result == -ENOSPC && segment_fits(&cache->segment, cache->budget);
    if (taken) { /* others give memory back; nobody raises a limit */
        cache->refused = *error;
        result = cgroup_check_memory(cache->budget, error);
        taken = result == 0;
    }
    if (taken || result == 0)
        result = segment_reserve(&cache->segment, first, UINT32_MAX, error);
    if (taken && result == -ENOSPC)
        result = 0;
    if (result == 0)
        cache_apply_limit(cache);
    return result;
}

const char *cache_shortage(const struct cache *cache)
{
    return cache->refused.code != 0 && cache->segment.reserved_bytes < cache->budget
               ? cache->refused.text
               : NULL;
}

const char *cache_limited(const struct cache *cache)
{
    return cache->limited.code != 0 ? cache->limited.text : NULL;
}

/* All of it but the memory and the loader. */
int cache_prepare(const struct cache_options *options, struct cache **ret, struct swi_error *error)
{
    int result = check_options(options, error);
    if (result < 0)
        return result;
    struct cache *cache = calloc(1, sizeof *cache);
    if (!cache)
        return swi_fail(error, -ENOMEM, "out of memory");
    cache->segment.fd = cache->segment.client_fd = cache->index.fd = cache->index.client_fd = -1;
    cache->budget = options->budget_bytes / SWI_PAGE_BYTES * SWI_PAGE_BYTES;
    cache->failed = options->failed;
    cache->failed_context = options->context;
    cache->ledger = options->ledger;
    cache->tick_step_ns = CACHE_TICK_MIN_NS;
    for (int i = 0; i < CACHE_PRIORITIES; i++)
        TAILQ_INIT(&cache->queue[i]);
    for (uint32_t i = 0; i < SWI_CHUNKS; i++)
        cache->free_ids[i] = i;
    cache->free_count = SWI_CHUNKS;
    cache->arena = arena_create();
    cache->policy = policy_create(options->policy, options->session_bytes);
    if (!cache->arena || !cache->policy) {
        cache_destroy(cache);
        return swi_fail(error, -ENOMEM, "out of memory");
    }
    cache_set_session_bytes(cache, options->session_bytes);
    *ret = cache;
    return 0;
}

int cache_create(const struct cache_options *options, struct cache **ret, struct swi_error *error)
{
    struct cache *cache;
    int result = cache_prepare(options, &cache, error);
    if (result < 0)
        return result;
    uint64_t instance;
    if (getrandom(&instance, sizeof instance, 0) != (ssize_t)sizeof instance)
        result = swi_fail(error, -EIO, "cannot get random bytes");
    else
        result = segment_create(&cache->segment, options->max_bytes, error);
    if (result == 0)
        result = index_segment_create(&cache->index, error);
    if (result == 0) {
        swi_index_init(cache->index.index, instance, cache->segment.max_bytes);
        policy_note_tick(cache->policy, cache_now_tick(cache), 0);
        if (cache->ledger) {
            segment_keep(&cache->segment, cache->ledger->huge,
                         &cache->ledger->header.reserved_bytes);
            cache->ledger->header.instance = instance;
        }
        result = reserve_first(cache, error);
    }
    if (result == 0)
        result = loader_create(options->engine, &cache->loader, error);
    if (result < 0)
        cache_destroy(cache);
    else
        *ret = cache;
    return result;
}

void cache_destroy(struct cache *cache)
{
    if (!cache)
        return;
    cache->closing = true;
    cache_set_remote(cache, NULL);
    loader_destroy(cache->loader); /* waits for reads that write into the arena */
    cache_verify_fini(cache);
    for (uint32_t id = 0; id < SWI_CHUNKS; id++) {
        if (cache->chunk[id]) {
            cache_forget_failure(cache->chunk[id]);
            cache_forget_tries(cache->chunk[id]);
            free(cache->chunk[id]);
        }
    }
    index_segment_destroy(&cache->index);
    segment_destroy(&cache->segment);
    policy_destroy(cache->policy);
    arena_destroy(cache->arena);
    free(cache);
}

int cache_arena_fd(const struct cache *cache)
{
    return cache->segment.client_fd;
}

int cache_index_fd(const struct cache *cache)
{
    return cache->index.client_fd;
}

int cache_own_arena_fd(const struct cache *cache)
{
    return cache->segment.fd;
}

int cache_own_index_fd(const struct cache *cache)
{
    return cache->index.fd;
}

struct ledger *cache_ledger(const struct cache *cache)
{
    return cache->ledger;
}

struct swi_index *cache_index(struct cache *cache)
{
    return cache->index.index;
}

uint64_t cache_max_bytes(const struct cache *cache)
{
    return cache->segment.max_bytes;
}

uint64_t cache_budget(const struct cache *cache)
{
    return cache->budget;
}

int cache_poll_fd(const struct cache *cache)
{
    return loader_poll_fd(cache->loader);
}

/* ---- sessions ------------------------------------------------------- */

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

/* ---- chunks ------------------------------------------------------- */

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

void cache_release_id(struct cache *cache, struct chunk *chunk)
{
    uint32_t id = chunk->id;
    assert(chunk->gone && !chunk->queued && TAILQ_EMPTY(&chunk->waiters));
    swi_entry_assign(cache->index.index, id, 0, 0, 0, 0);
    policy_remove_chunk(cache->policy, id);
    cache_forget_failure(chunk);
    cache_forget_tries(chunk);
    cache->chunk[id] = NULL;
    cache->free_ids[(cache->free_first + cache->free_count++) % SWI_CHUNKS] = id;
    cache->gone_count--;
    free(chunk);
}

static void cancel_load(struct cache *cache, struct chunk *chunk)
{
    loader_cancel(cache->loader, &chunk->load);
    if (chunk->remote && cache->remote.fetch)
        cache->remote.cancel(cache->remote.context, &chunk->load);
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
    enum swi_state state = swi_entry_get(cache->index.index, id).state;
    if (state == SWI_LOADING)
        cancel_load(cache, chunk); /* its completion releases the id */
    else if (state == SWI_ABSENT)
        cache_release_id(cache, chunk);
    else if (cache_evict(cache, &id, 1, true, CACHE_EVICTED_REPLACED) == 1)
        cache_release_id(cache, chunk);
    cache->pump_wanted = true;
    cache_answer(cache, &waiters, SW_ESTALE, sw_strerror(SW_ESTALE));
}

/* ---- the remote, and reads beside the arena
 * ------------------------------------------------------- */

void cache_set_remote(struct cache *cache, const struct cache_remote *remote)
{
    if (cache->remote.fetch) { /* what it still brings is given back: those loads go elsewhere */
        struct swi_error gone;
        (void)swi_fail(&gone, SW_ELOAD, "the Redis tier is being closed");
        for (uint32_t id = 0; id < SWI_CHUNKS && cache->remote_loading > 0; id++) {
            struct chunk *chunk = cache->chunk[id];
            if (!chunk || swi_entry_get(cache->index.index, id).state != SWI_LOADING ||
                !chunk->remote)
                continue;
            loader_refuse(&chunk->load, &gone);
            cache->remote.cancel(cache->remote.context, &chunk->load);
        }
    }
    cache->remote = remote ? *remote : (struct cache_remote){.context = NULL};
}

const uint8_t *cache_peek(const struct cache *cache, uint32_t id, struct swi_digest digest)
{
    const struct chunk *chunk = id < SWI_CHUNKS ? cache->chunk[id] : NULL;
    if (!chunk || chunk->unverified || !swi_digest_equal(chunk->info.digest, digest) ||
        swi_entry_get(cache->index.index, id).state != SWI_RESIDENT)
        return NULL;
    return cache->segment.base + chunk->offset;
}

int cache_read_apart(struct cache *cache, uint32_t id, struct load *load, struct swi_error *error)
{
    const struct chunk *chunk = cache->chunk[id];
    assert(chunk && !chunk->gone && chunk->info.source.open);
    struct load_identity identity;
    int fd = chunk->info.source.open(chunk->info.source.context, chunk->info.ordinal, error);
    if (fd < 0)
        return fd;
    int result = loader_check_file(fd, chunk->info.bytes, &identity, error);
    if (result < 0) {
        (void)close(fd);
        return result;
    }
    load->fd = fd;
    load->bytes = chunk->info.bytes;
    load->digest = chunk->info.digest;
    load->priority = CACHE_PRIORITIES;
    load->order = 0;
    loader_start(cache->loader, load);
    return 0;
}

void cache_cancel_apart(struct cache *cache, struct load *load)
{
    loader_cancel(cache->loader, load);
}

/* ---- requests ------------------------------------------------------- */

/* Tells everybody on the list, which is the caller's own. A callback may do anything to the cache
 * but destroy it. */
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

void cache_tick(struct cache *cache)
{
    swi_tick_advance(cache->index.index);
    policy_note_tick(cache->policy, cache_now_tick(cache), cache->now_ns);
}

/* An answer that is known at once. */
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
    bool loading = swi_entry_get(cache->index.index, chunk->id).state == SWI_LOADING;
    cache->verify.urgent = cache->verify.urgent || (waiter && chunk->withheld);
    if (!chunk->queued && !loading && !chunk->withheld) {
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
        waiter->deadline_ns = now_ns + CACHE_ROOM_WAIT_NS;
    }
    cache_tick(cache);
    cache->tick_step_ns = CACHE_TICK_MIN_NS;
    if (priority == CACHE_DEMAND) {
        chunk->uses++;
        policy_touch(cache->policy, id, cache_now_tick(cache));
    }
    struct swi_entry_value entry = swi_entry_get(cache->index.index, id);
    if (entry.state == SWI_RESIDENT) {
        tell(waiter, 0, "");
        return;
    }
    cache->stats.misses += priority == CACHE_DEMAND;
    if (arena_range_bytes(chunk->info.bytes) > cache->budget) {
        refuse_too_large(cache, chunk, waiter);
        return;
    }
    if (waiter && cache->waiter_count >= CACHE_WAITERS_MAX) {
        tell(waiter, SW_EQUOTA, "the broker has too many requests waiting; try again later");
        return;
    }
    if (priority == CACHE_PREFETCH && entry.state == SWI_ABSENT && !chunk->queued) {
        if (cache->queue_count[CACHE_PREFETCH] >= CACHE_PREFETCH_MAX) {
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
    assert(chunk && "a waiter is cancelled before it was answered");
    TAILQ_REMOVE(&chunk->waiters, waiter, link);
    if (chunk->queued && chunk->priority == CACHE_WARM && TAILQ_EMPTY(&chunk->waiters))
        cache_dequeue(cache, chunk);
}

/* ---- dispatch ------------------------------------------------------- */

/* Memory is reserved behind the requests, while nothing is read, a block every few milliseconds;
 * and without a pause when a queued chunk needs it. */
static bool wants_reserve(const struct cache *cache)
{
    return cache->segment.reserved_bytes < cache->budget &&
           (cache->loading == 0 || cache->growth_goal > 0);
}

static uint64_t reserve_due_ns(const struct cache *cache)
{
    bool patient = cache->growth_goal == 0 && cache->reserve_pace_ns > cache->reserve_again_ns;
    return patient ? cache->reserve_pace_ns : cache->reserve_again_ns;
}

/* A refusal is not fatal: the cache works within what it has and asks again later. Returns true
 * when a queued chunk waits for more. */
static bool reserve_some(struct cache *cache)
{
    if (!wants_reserve(cache) || cache->now_ns < reserve_due_ns(cache))
        return false;
    bool failed =
        segment_reserve(&cache->segment, cache->budget, DISPATCH_BLOCKS, &cache->refused) < 0;
    if (failed)
        cache->reserve_again_ns = cache->now_ns + CACHE_FAILURE_HOLD_NS;
    cache->reserve_pace_ns = cache->now_ns + CACHE_RESERVE_PACE_NS;
    cache_apply_limit(cache);
    if (cache->growth_goal == 0)
        return false;
    if (failed || arena_limit(cache->arena) >= cache->growth_goal)
        cache->pump_wanted = true;
    return true;
}

static void run_tick(struct cache *cache)
{
    if (cache->session_count == 0 || cache->now_ns < cache->tick_ns)
        return;
    bool active = cache_merge(cache);
    if (active)
        cache->tick_step_ns = CACHE_TICK_MIN_NS;
    else if (cache->tick_step_ns < CACHE_TICK_MAX_NS)
        cache->tick_step_ns *= 2;
    cache_tick(cache);
    cache->tick_ns = cache->now_ns + cache->tick_step_ns;
}

bool cache_dispatch(struct cache *cache, uint64_t now_ns)
{
    cache->now_ns = now_ns;
    cache->scan_fresh = false;
    bool more = loader_turn(cache->loader);
    if (cache->remote_loading > 0 && cache->remote.fetch)
        more = cache->remote.turn(cache->remote.context) || more;
    run_tick(cache);
    if (cache_wants_tidy(cache) && now_ns >= cache->tidy_ns) {
        cache_tidy(cache);
        cache->tidy_ns = now_ns + CACHE_TIDY_NS;
    }
    if (cache->retry_ns != 0 && now_ns >= cache->retry_ns)
        cache->pump_wanted = true;
    if (cache->pump_wanted) {
        unsigned before = loader_active(cache->loader);
        cache_pump(cache);
        more =
            more || loader_active(cache->loader) != before; /* its reads are still to be issued */
    }
    if (!more || cache->growth_goal > 0)
        more = reserve_some(cache) || more;
    if (!more || cache->verify.withheld > 0)
        more = cache_verify(cache) || more;
    return more || cache->pump_wanted;
}

static void sooner(uint64_t *at, uint64_t other)
{
    if (other < *at)
        *at = other;
}

int cache_timeout_ms(const struct cache *cache, uint64_t now_ns)
{
    if (cache->pump_wanted)
        return 0;
    uint64_t at = UINT64_MAX;
    if (cache->retry_ns != 0)
        sooner(&at, cache->retry_ns);
    if (cache_wants_tidy(cache))
        sooner(&at, cache->tidy_ns);
    if (cache->session_count > 0)
        sooner(&at, cache->tick_ns);
    if (wants_reserve(cache))
        sooner(&at, reserve_due_ns(cache));
    sooner(&at, cache_verify_due_ns(cache));
    if (at == UINT64_MAX)
        return -1;
    if (at <= now_ns)
        return 0;
    uint64_t wait_ms = (at - now_ns + 999999) / 1000000;
    return wait_ms > INT32_MAX ? INT32_MAX : (int)wait_ms;
}
