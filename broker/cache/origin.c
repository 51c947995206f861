/* SPDX-License-Identifier: MIT */
/* The order of a chunk's origins, its file and the remote; reads outside of the arena. */
#include "cache/origin.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- failures -------------------------------------------------------------------------------- */

static bool same_file(const struct load_identity *a, const struct load_identity *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->modified_ns == b->modified_ns && a->changed_ns == b->changed_ns;
}

/* True if the file is unchanged since it failed a moment ago. */
static bool would_fail_again(const struct cache *cache, const struct chunk *chunk,
                             const struct load_identity *identity)
{
    const struct failure *failure = &chunk->failure;
    return failure->code != 0 && failure->seen_file && same_file(&failure->identity, identity) &&
           cache->now_ns - failure->at_ns < CACHE_RETRY_ERR_NS;
}

static void keep_problem(char **place, const char *text)
{
    free(*place);
    *place = strdup(text);
}

void cache_file_failed(struct cache *cache, struct attempt *attempt, const struct swi_error *error,
                       const struct load_identity *identity)
{
    struct chunk *chunk = attempt->chunk;
    if (error->code == SW_EDIGEST)
        cache->stats.digest_errors++;
    else
        cache->stats.load_errors++;
    if (cache->failed)
        cache->failed(cache->failed_context, &chunk->info, error->code, error->text);
    cache_forget_failure(chunk);
    chunk->failure.code = error->code;
    chunk->failure.at_ns = cache->now_ns;
    chunk->failure.text = strdup(error->text);
    if (identity) {
        chunk->failure.seen_file = true;
        chunk->failure.identity = *identity;
    }
    attempt->file_code = error->code;
    keep_problem(&attempt->file_problem, error->text);
}

void cache_remote_failed(struct attempt *attempt, const struct swi_error *error)
{
    keep_problem(&attempt->remote_problem, error->text);
}

void cache_describe_failure(const struct attempt *attempt, struct swi_error *ret)
{
    const struct cache_chunk *info = &attempt->chunk->info;
    const char *file = attempt->file_problem, *remote = attempt->remote_problem;
    int code = attempt->tried_file ? attempt->file_code : SW_ELOAD;
    if (attempt->tried_file && !file)
        file = sw_strerror(code);
    (void)swi_fail(ret, code, "%.100s/%.100s: %.300s%s%.150s", info->model, info->name,
                   file ? file : "", file && remote ? "; " : "", remote ? remote : "");
}

/* ---- choosing -------------------------------------------------------------------------------- */

/* Returns an open and checked descriptor, or -1 with the failure recorded. */
static int open_file(struct cache *cache, struct attempt *attempt)
{
    const struct chunk *chunk = attempt->chunk;
    struct load_identity *identity = &attempt->identity;
    struct swi_error error = {.code = 0};
    attempt->tried_file = true;
    int fd = chunk->info.source.open(chunk->info.source.context, chunk->info.ordinal, &error);
    int result = fd;
    bool seen = false;
    if (fd >= 0) {
        memset(identity, 0, sizeof *identity);
        result = loader_check_file(fd, chunk->info.bytes, identity, &error);
        seen = true;
    } else if (error.code == 0) {
        (void)swi_fail(&error, fd, "cannot open: %s", sw_strerror(fd));
    }
    if (result >= 0 && !would_fail_again(cache, chunk, identity))
        return fd;
    if (fd >= 0)
        (void)close(fd);
    if (result < 0) {
        cache_file_failed(cache, attempt, &error, seen ? identity : NULL);
        return -1;
    }
    /* the same failure as before, which has been counted */
    attempt->file_code = chunk->failure.code;
    keep_problem(&attempt->file_problem,
                 chunk->failure.text ? chunk->failure.text : sw_strerror(chunk->failure.code));
    return -1;
}

enum origin cache_choose_origin(struct cache *cache, struct attempt *attempt, int *ret_fd,
                                struct swi_error *why)
{
    bool has_file = attempt->chunk->info.source.open != NULL;
    struct swi_error error = {.code = 0};
    enum cache_remote_state state = CACHE_REMOTE_DOWN;
    if (cache->remote.fetch)
        state = cache->remote.state(cache->remote.context, &error);
    else
        (void)swi_fail(&error, SW_ELOAD, "it has no file here, and no Redis is configured");
    bool ask = state == CACHE_REMOTE_READY && !attempt->tried_remote;
    if (ask && (cache->remote.first || !has_file))
        return ORIGIN_REMOTE;
    if (has_file && !attempt->tried_file) {
        *ret_fd = open_file(cache, attempt);
        if (*ret_fd >= 0)
            return ORIGIN_FILE;
    }
    if (ask)
        return ORIGIN_REMOTE;
    if (!has_file && !attempt->tried_remote) {
        if (state == CACHE_REMOTE_SOON) {
            *why = error;
            return ORIGIN_LATER;
        }
        cache_remote_failed(attempt, &error);
    }
    return ORIGIN_NOWHERE;
}

/* ---- the remote ------------------------------------------------------------------------------ */

void cache_set_remote(struct cache *cache, const struct cache_remote *remote)
{
    if (cache->remote.fetch) { /* its loads go elsewhere */
        struct swi_error gone;
        (void)swi_fail(&gone, SW_ELOAD, "the Redis tier is being closed");
        for (unsigned i = 0; i < CACHE_LOADS_MAX; i++) {
            struct attempt *attempt = &cache->attempt[i];
            if (!attempt->chunk || !attempt->remote)
                continue;
            loader_refuse(&attempt->load, &gone);
            cache->remote.cancel(cache->remote.context, &attempt->load);
        }
    }
    cache->remote = remote ? *remote : (struct cache_remote){.context = NULL};
}

/* ---- outside of the arena -------------------------------------------------------------------- */

const uint8_t *cache_peek(const struct cache *cache, uint32_t id, struct swi_digest digest)
{
    const struct chunk *chunk = id < SWI_CHUNKS ? cache->chunk[id] : NULL;
    if (!chunk || chunk->trust != TRUST_VERIFIED || !swi_digest_equal(chunk->info.digest, digest) ||
        cache_state(cache, id) != SWI_RESIDENT)
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
