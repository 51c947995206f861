/* SPDX-License-Identifier: MIT */
/* The order of origins, with a scripted remote besides the files. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cache/fixture.h"
#include "loader/loader.h"

TestSuite(cache_remote, .timeout = 60);

enum manner { SERVE, SERVE_WRONG, MISS, AWAY, STALL };

/* Supplies the bytes of the file with that digest, or a fault. */
struct remote {
    struct fx *fx;
    enum manner manner;
    enum cache_remote_state state;
    struct load *stalled;
    bool away;    /* the load under way fails so */
    bool give_up; /* a stalled load, in the next turn */
    unsigned fetches, overs, cancels, reads, wrong_reads;
};

static enum cache_remote_state state(void *context, struct swi_error *why)
{
    const struct remote *remote = context;
    if (remote->state != CACHE_REMOTE_READY)
        (void)swi_fail(why, SW_ELOAD, "the remote is not there");
    return remote->state;
}

static const char *name_of(const struct remote *remote, const struct load *load)
{
    for (uint32_t i = 0; i < remote->fx->count; i++) {
        struct cache_chunk_view view;
        if (cache_view(remote->fx->cache, remote->fx->file[i].id, &view) &&
            swi_digest_equal(view.chunk->digest, load->digest))
            return remote->fx->file[i].name;
    }
    cr_assert_fail("no chunk has this digest");
    return NULL;
}

static void fetch(void *context, struct load *load)
{
    struct remote *remote = context;
    struct swi_error error;
    uint64_t offset;
    uint32_t bytes;
    remote->fetches++;
    remote->away = remote->manner == AWAY;
    if (remote->manner == MISS || remote->manner == AWAY) {
        cr_assert(loader_want(load, &offset, &bytes));
        (void)swi_fail(&error, SW_ELOAD, "the remote has it not");
        loader_not_brought(load, &error);
        return;
    }
    if (remote->manner == STALL) {
        cr_assert(loader_want(load, &offset, &bytes));
        remote->stalled = load;
        return;
    }
    const char *name = name_of(remote, load);
    while (loader_want(load, &offset, &bytes)) {
        for (uint32_t i = 0; i < bytes; i++)
            load->target[offset + i] = fx_byte(name, offset + i);
        if (remote->manner == SERVE_WRONG && offset == 0)
            load->target[0] ^= 1;
        loader_brought(load, offset);
    }
}

static void cancel(void *context, struct load *load)
{
    struct remote *remote = context;
    struct swi_error error;
    remote->cancels++;
    if (remote->stalled != load)
        return;
    (void)swi_fail(&error, -ECANCELED, "cancelled");
    loader_not_brought(load, &error);
    remote->stalled = NULL;
}

static bool over(void *context, struct load *load)
{
    struct remote *remote = context;
    cr_assert_eq(load->outstanding, 0);
    remote->overs++;
    return remote->away;
}

static bool turn(void *context)
{
    struct remote *remote = context;
    if (!remote->stalled || !remote->give_up)
        return false;
    struct swi_error error;
    (void)swi_fail(&error, SW_ELOAD, "the remote gives up");
    loader_not_brought(remote->stalled, &error);
    remote->stalled = NULL;
    return true;
}

static void was_read(void *context, uint32_t id, const struct cache_chunk *chunk, bool wrong)
{
    struct remote *remote = context;
    cr_assert_not_null(cache_peek(remote->fx->cache, id, chunk->digest));
    remote->reads++;
    remote->wrong_reads += wrong;
}

static struct remote remote;

static struct fx *create(enum manner manner, bool first)
{
    struct fx *fx = fx_create(16 * FX_MIB, 0, LOADER_THREADS, POLICY_LRU);
    remote = (struct remote){.fx = fx, .manner = manner, .state = CACHE_REMOTE_READY};
    const struct cache_remote functions = {.context = &remote,
                                           .first = first,
                                           .state = state,
                                           .fetch = fetch,
                                           .cancel = cancel,
                                           .over = over,
                                           .turn = turn,
                                           .was_read = was_read};
    cache_set_remote(fx->cache, &functions);
    return fx;
}

/* Runs until a load waits in a remote that stalls. */
static void reach_stall(struct fx *fx)
{
    for (int i = 0; i < 10; i++)
        (void)cache_dispatch(fx->cache, fx->now_ns);
    cr_assert_not_null(remote.stalled);
}

/* Registers a chunk with the digest of an existing one, without a file. */
static uint32_t add_fileless(struct fx *fx, const char *name, uint64_t bytes)
{
    uint32_t number = fx_add(fx, name, bytes);
    struct cache_chunk_view view;
    cr_assert(cache_view(fx->cache, fx->file[number].id, &view));
    struct cache_chunk chunk = *view.chunk;
    cache_unregister(fx->cache, fx->file[number].id);
    chunk.source.open = NULL;
    cr_assert_eq(cache_register(fx->cache, &chunk, &fx->file[number].id), 0);
    return number;
}

Test(cache_remote, tried_first_it_serves_without_opening_the_file)
{
    struct fx *fx = create(SERVE, true);
    uint32_t chunk = fx_add(fx, "layer_0", 3 * FX_MIB + 77);
    cr_assert_eq(fx_demand(fx, chunk), 0);
    fx_check_bytes(fx, chunk);
    cr_assert_eq(fx->file[chunk].opens, 0);
    cr_assert_eq(remote.overs, 1);
    cr_assert_eq(remote.reads, 0);
    struct cache_stats stats = fx_stats(fx);
    cr_assert_eq(stats.loads, 1);
    cr_assert_eq(stats.remote_loads, 1);
    cr_assert_eq(stats.remote_bytes, 3 * FX_MIB + 77);
    cr_assert_eq(stats.file_loads, 0);
    fx_destroy(fx);
}

Test(cache_remote, after_a_miss_the_file_serves_and_it_counts_once)
{
    struct fx *fx = create(MISS, true);
    uint32_t chunk = fx_add(fx, "layer_0", 2 * FX_MIB);
    cr_assert_eq(fx_demand(fx, chunk), 0);
    fx_check_bytes(fx, chunk);
    struct cache_stats stats = fx_stats(fx);
    cr_assert_eq(stats.loads, 1);
    cr_assert_eq(stats.load_bytes, 2 * FX_MIB);
    cr_assert_eq(stats.remote_to_file, 1);
    cr_assert_eq(stats.load_errors, 0);
    cr_assert_eq(remote.reads, 1);
    cr_assert_eq(remote.wrong_reads, 0);
    fx_destroy(fx);
}

Test(cache_remote, after_wrong_bytes_the_file_serves_and_the_remote_is_told)
{
    struct fx *fx = create(SERVE_WRONG, true);
    uint32_t chunk = fx_add(fx, "layer_0", 2 * FX_MIB + 5);
    cr_assert_eq(fx_demand(fx, chunk), 0);
    fx_check_bytes(fx, chunk);
    cr_assert_eq(remote.wrong_reads, 1);
    cr_assert_eq(fx_stats(fx).digest_errors, 0, "no file is damaged");
    fx_destroy(fx);
}

Test(cache_remote, tried_last_it_serves_what_the_file_cannot)
{
    struct fx *fx = create(SERVE, false);
    uint32_t sound = fx_add(fx, "layer_0", FX_MIB), gone = fx_add(fx, "layer_1", FX_MIB),
             damaged = fx_add(fx, "layer_2", FX_MIB);
    cr_assert_eq(unlink(fx->file[gone].path), 0);
    fx_write_file(fx->file[damaged].path, "another", FX_MIB);
    for (uint32_t i = 0; i < 3; i++) {
        cr_assert_eq(fx_demand(fx, i), 0);
        fx_check_bytes(fx, i);
    }
    (void)sound;
    cr_assert_eq(remote.fetches, 2);
    struct cache_stats stats = fx_stats(fx);
    cr_assert_eq(stats.loads, 3);
    cr_assert_eq(stats.file_to_remote, 2);
    cr_assert_eq(stats.load_errors, 1);
    cr_assert_eq(stats.digest_errors, 1);
    fx_write_file(fx->file[gone].path, "layer_1", FX_MIB);
    fx_destroy(fx);
}

Test(cache_remote, a_chunk_without_a_file_waits_for_the_remote)
{
    struct fx *fx = create(SERVE, false);
    uint32_t chunk = add_fileless(fx, "layer_0", FX_MIB);
    struct fx_waiter waiter = {.calls = 0};
    remote.state = CACHE_REMOTE_SOON;
    fx_request(fx, chunk, CACHE_DEMAND, &waiter, SWI_SESSIONS);
    fx_settle(fx);
    cr_assert_eq(waiter.calls, 0);
    remote.state = CACHE_REMOTE_READY;
    fx->now_ns += 100000000;
    fx_settle(fx);
    cr_assert_eq(waiter.calls, 1);
    cr_assert_eq(waiter.status, 0, "%s", waiter.message);
    fx_check_bytes(fx, chunk);
    fx_destroy(fx);
}

Test(cache_remote, the_wait_ends_with_the_reason)
{
    struct fx *fx = create(SERVE, false);
    uint32_t chunk = add_fileless(fx, "layer_0", FX_MIB);
    struct fx_waiter waiter = {.calls = 0};
    remote.state = CACHE_REMOTE_SOON;
    fx_request(fx, chunk, CACHE_DEMAND, &waiter, SWI_SESSIONS);
    fx_settle(fx);
    fx->now_ns += 6000000000u;
    fx_settle(fx);
    cr_assert_eq(waiter.calls, 1);
    cr_assert_eq(waiter.status, SW_ELOAD);
    cr_assert_not_null(strstr(waiter.message, "the remote is not there"), "%s", waiter.message);
    remote.state = CACHE_REMOTE_DOWN; /* for long, so requests do not wait */
    cr_assert_eq(fx_demand(fx, chunk), SW_ELOAD);
    cr_assert_eq(remote.fetches, 0);
    fx_destroy(fx);
}

Test(cache_remote, a_remote_that_goes_away_is_tried_again_until_the_deadline)
{
    struct fx *fx = create(AWAY, false);
    uint32_t chunk = add_fileless(fx, "layer_0", FX_MIB);
    struct fx_waiter waiter = {.calls = 0};
    fx_request(fx, chunk, CACHE_DEMAND, &waiter, SWI_SESSIONS);
    for (int i = 0; i < 50; i++)
        (void)cache_dispatch(fx->cache, fx->now_ns);
    cr_assert_eq(waiter.calls, 0);
    cr_assert_gt(remote.fetches, 1);
    remote.manner = SERVE;
    fx_settle(fx);
    cr_assert_eq(waiter.status, 0, "%s", waiter.message);
    cr_assert_eq(waiter.calls, 1);
    fx_destroy(fx);
}

Test(cache_remote, a_miss_of_a_chunk_without_a_file_evicts_and_fails_once)
{
    struct fx *fx = create(MISS, false);
    uint32_t chunk = add_fileless(fx, "layer_0", FX_MIB);
    cr_assert_eq(fx_demand(fx, chunk), SW_ELOAD);
    cr_assert_eq(remote.fetches, 1);
    cr_assert_eq(fx_stats(fx).load_errors, 1);
    cr_assert_eq(fx_stats(fx).loading, 0);
    fx_destroy(fx);
}

Test(cache_remote, an_unregistered_chunk_cancels_its_load)
{
    struct fx *fx = create(STALL, true);
    uint32_t chunk = fx_add(fx, "layer_0", 2 * FX_MIB);
    struct fx_waiter waiter = {.calls = 0};
    fx_request(fx, chunk, CACHE_DEMAND, &waiter, SWI_SESSIONS);
    reach_stall(fx);
    cache_unregister(fx->cache, fx->file[chunk].id);
    cr_assert_eq(waiter.status, SW_ESTALE);
    cr_assert_null(remote.stalled);
    fx_settle(fx);
    cr_assert_eq(remote.overs, 1);
    cr_assert_eq(fx_stats(fx).loading, 0);
    fx_destroy(fx);
}

Test(cache_remote, loads_of_a_closed_remote_continue_from_the_file)
{
    struct fx *fx = create(STALL, true);
    uint32_t chunk = fx_add(fx, "layer_0", 2 * FX_MIB);
    struct fx_waiter waiter = {.calls = 0};
    fx_request(fx, chunk, CACHE_DEMAND, &waiter, SWI_SESSIONS);
    reach_stall(fx);
    cache_set_remote(fx->cache, NULL);
    fx_settle(fx);
    cr_assert_eq(waiter.status, 0, "%s", waiter.message);
    fx_check_bytes(fx, chunk);
    fx_destroy(fx);
}

Test(cache_remote, a_cache_is_destroyed_with_a_load_that_never_comes)
{
    struct fx *fx = create(STALL, true);
    uint32_t chunk = fx_add(fx, "layer_0", 2 * FX_MIB);
    cache_request(fx->cache, fx->file[chunk].id, CACHE_PREFETCH, NULL, fx->now_ns);
    reach_stall(fx);
    fx_destroy(fx);
}

/* Nothing else happens that would call for another dispatch. */
Test(cache_remote, a_load_that_it_gives_up_in_its_turn_continues_at_once)
{
    struct fx *fx = create(STALL, true);
    uint32_t chunk = fx_add(fx, "layer_0", 2 * FX_MIB);
    struct fx_waiter waiter = {.calls = 0};
    fx_request(fx, chunk, CACHE_DEMAND, &waiter, SWI_SESSIONS);
    reach_stall(fx);
    remote.give_up = true;
    cr_assert(cache_dispatch(fx->cache, fx->now_ns), "what was given up waits for some event");
    fx_settle(fx);
    cr_assert_eq(waiter.status, 0, "%s", waiter.message);
    fx_check_bytes(fx, chunk);
    fx_destroy(fx);
}
