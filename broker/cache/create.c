/* SPDX-License-Identifier: MIT */
/* Creating and destroying a cache. */
#include "cache/create.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "cache/evict.h"
#include "memory/cgroup.h"

#define FIRST_BYTES (UINT64_C(256) << 20) /* reserved before the first request */

static int check_options(const struct cache_options *options, struct swi_error *error)
{
    if (options->budget_bytes < SWI_PAGE_BYTES)
        return swi_fail(error, -EINVAL,
                        "a cache of %llu bytes is too small; --cache-size 512 means 512 MiB",
                        (unsigned long long)options->budget_bytes);
    if (options->max_bytes < options->budget_bytes)
        return swi_fail(error, -EINVAL, "the maximum cache size is smaller than the cache size");
    return 0;
}

/* Reserves the first part before any request is served, so that a machine without room for it
 * says so at once. If other processes hold the memory at the moment, the cache starts with what
 * there is, even nothing: they may be clients of a broker that has ended, which release its
 * arena once they have another one. */
static int reserve_first(struct cache *cache, struct swi_error *error)
{
    uint64_t first = cache->budget < FIRST_BYTES ? cache->budget : FIRST_BYTES;
    int result = segment_check_space(&cache->segment, cache->budget, error);
    bool taken = result == -ENOSPC && segment_fits(&cache->segment, cache->budget);
    if (taken) { /* other processes may return memory, but a limit stays */
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
    TAILQ_INIT(&cache->rehash.requests);
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
    if (cache->rehash.hasher)
        swi_hasher_destroy(cache->rehash.hasher);
    for (uint32_t id = 0; id < SWI_CHUNKS; id++) {
        if (cache->chunk[id]) {
            cache_forget_failure(cache->chunk[id]);
            cache_end_attempt(cache->chunk[id]);
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
