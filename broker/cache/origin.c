/* SPDX-License-Identifier: MIT */
/* Where a chunk is read from: its file or the remote; and what is kept of a failure. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cache/internal.h"

/* ---- failures ------------------------------------------------------- */

void cache_forget_failure(struct chunk *chunk)
{
    free(chunk->failure.text);
    chunk->failure = (struct failure){.code = 0};
}

void cache_forget_tries(struct chunk *chunk)
{
    free(chunk->file_problem);
    free(chunk->remote_problem);
    chunk->file_problem = chunk->remote_problem = NULL;
    chunk->tried_file = chunk->tried_remote = chunk->given_up = false;
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

static void keep_problem(char **place, const char *text)
{
    free(*place);
    *place = strdup(text);
}

void cache_file_failed(struct cache *cache, struct chunk *chunk, const struct swi_error *error,
                       const struct load_identity *identity)
{
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
    chunk->file_code = error->code;
    keep_problem(&chunk->file_problem, error->text);
}

void cache_remote_failed(struct chunk *chunk, const struct swi_error *error)
{
    keep_problem(&chunk->remote_problem, error->text);
}

void cache_describe_failure(const struct chunk *chunk, struct swi_error *ret)
{
    const char *file = chunk->file_problem, *remote = chunk->remote_problem;
    int code = chunk->tried_file ? chunk->file_code : SW_ELOAD;
    if (chunk->tried_file && !file)
        file = sw_strerror(code);
    (void)swi_fail(ret, code, "%.100s/%.100s: %.300s%s%.150s", chunk->info.model, chunk->info.name,
                   file ? file : "", file && remote ? "; " : "", remote ? remote : "");
}

/* ---- choosing ------------------------------------------------------- */

/* An open and checked descriptor, or -1: the failure is noted. */
static int open_file(struct cache *cache, struct chunk *chunk, struct load_identity *ret_identity)
{
    struct swi_error error = {.code = 0};
    chunk->tried_file = true;
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
    if (result < 0) {
        cache_file_failed(cache, chunk, &error, seen ? ret_identity : NULL);
        return -1;
    }
    /* the same failure as before, which is counted already */
    chunk->file_code = chunk->failure.code;
    keep_problem(&chunk->file_problem,
                 chunk->failure.text ? chunk->failure.text : sw_strerror(chunk->failure.code));
    return -1;
}

enum origin cache_choose_origin(struct cache *cache, struct chunk *chunk, int *ret_fd,
                                struct load_identity *ret_identity, struct swi_error *why)
{
    bool has_file = chunk->info.source.open != NULL;
    struct swi_error error = {.code = 0};
    enum cache_remote_state state = CACHE_REMOTE_DOWN;
    if (cache->remote.fetch)
        state = cache->remote.state(cache->remote.context, &error);
    else
        (void)swi_fail(&error, SW_ELOAD, "it has no file here, and no Redis is configured");
    bool ask = state == CACHE_REMOTE_READY && !chunk->tried_remote;
    if (ask && (cache->remote.first || !has_file))
        return ORIGIN_REMOTE;
    if (has_file && !chunk->tried_file) {
        *ret_fd = open_file(cache, chunk, ret_identity);
        if (*ret_fd >= 0)
            return ORIGIN_FILE;
    }
    /* what was given up for a file that is none goes on for as long as it takes */
    if (ask || (state == CACHE_REMOTE_READY && chunk->given_up))
        return ORIGIN_REMOTE;
    if (!has_file && !chunk->tried_remote) {
        if (state == CACHE_REMOTE_SOON) {
            *why = error;
            return ORIGIN_LATER;
        }
        cache_remote_failed(chunk, &error);
    }
    return ORIGIN_NOWHERE;
}
