/* SPDX-License-Identifier: MIT */
/* clear, resize, unregister, cancel: pinned chunks stay, and memory and ids are reused. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cache/fixture.h"

static uint64_t backed_bytes(struct fx *fx)
{
    struct stat st;
    cr_assert_eq(fstat(cache_arena_fd(fx->cache), &st), 0);
    return (uint64_t)st.st_blocks * 512;
}

static void load_all(struct fx *fx)
{
    for (uint32_t i = 0; i < fx->count; i++)
        cr_assert_eq(fx_demand(fx, i), 0);
}

/* ---- clear ----------------------------------------------------------------------------------- */

Test(cache_control, clear_leaves_pinned_chunks_and_counts_them, .timeout = 60)
{
    struct fx *fx = fx_create(8 * FX_MIB, 0, LOADER_AUTO, POLICY_LRU);
    (void)fx_attach(fx, 0);
    uint32_t a = fx_add(fx, "a", FX_MIB);
    uint32_t b = fx_add(fx, "b", 2 * FX_MIB);
    uint32_t c = fx_add(fx, "c", FX_MIB + 1);
    load_all(fx);
    (void)fx_pin(fx, 0, b);
    struct cache_cleared cleared = cache_clear(fx->cache, NULL, NULL);
    cr_assert_eq(cleared.chunks, 2);
    cr_assert_eq(cleared.bytes, 2 * FX_MIB + 1);
    cr_assert_eq(cleared.pinned_chunks, 1);
    cr_assert_eq(cleared.pinned_bytes, 2 * FX_MIB);
    cr_assert_not(fx_resident(fx, a) || fx_resident(fx, c));
    fx_check_bytes(fx, b);
    cr_assert_eq(fx_stats(fx).resident_bytes, 2 * FX_MIB);
    cr_assert_eq(fx_demand(fx, a), 0);
    fx_check_bytes(fx, a);
    fx_destroy(fx);
}

Test(cache_control, clear_takes_one_component, .timeout = 60)
{
    struct fx *fx = fx_create(8 * FX_MIB, 0, LOADER_AUTO, POLICY_LRU);
    uint32_t a = fx_add(fx, "a", FX_MIB);
    uint32_t b = fx_add(fx, "b", FX_MIB);
    load_all(fx);
    cr_assert_eq(cache_clear(fx->cache, "other", NULL).chunks, 0);
    cr_assert_eq(cache_clear(fx->cache, "m", "c").chunks, 0);
    cr_assert_eq(cache_clear(fx->cache, "m", "b").chunks, 1);
    cr_assert(fx_resident(fx, a));
    cr_assert_not(fx_resident(fx, b));
    fx_destroy(fx);
}

/* ---- resize ---------------------------------------------------------------------------------- */

Test(cache_control, growing_makes_room_without_evicting, .timeout = 60)
{
    struct fx *fx = fx_create(4 * FX_MIB, 16 * FX_MIB, LOADER_AUTO, POLICY_LRU);
    for (unsigned i = 0; i < 5; i++) {
        char name[2] = {(char)('a' + (int)i), 0};
        (void)fx_add(fx, name, 3 * FX_MIB);
    }
    cr_assert_eq(fx_demand(fx, 0), 0);
    struct swi_error error;
    cr_assert_eq(cache_resize(fx->cache, 16 * FX_MIB, &error), 0);
    load_all(fx);
    for (uint32_t i = 0; i < 5; i++)
        fx_check_bytes(fx, i);
    struct cache_stats stats = fx_stats(fx);
    cr_assert_eq(stats.evictions, 0);
    cr_assert_eq(stats.arena_bytes, 16 * FX_MIB);
    cr_assert_eq(cache_max_bytes(fx->cache), 16 * FX_MIB);
    for (unsigned i = 0; i < 10; i++) { /* the rest follows in the background */
        fx->now_ns += 10000000;
        fx_settle(fx);
    }
    cr_assert_eq(fx_stats(fx).reserved_bytes, 16 * FX_MIB);
    cr_assert_eq(cache_resize(fx->cache, 17 * FX_MIB, &error), -EINVAL);
    cr_assert_eq(cache_resize(fx->cache, 0, &error), -EINVAL);
    cr_assert_eq(fx_stats(fx).arena_bytes, 16 * FX_MIB);
    fx_destroy(fx);
}

Test(cache_control, shrinking_evicts_and_returns_memory, .timeout = 60)
{
    struct fx *fx = fx_create(16 * FX_MIB, 0, LOADER_AUTO, POLICY_LRU);
    for (unsigned i = 0; i < 7; i++) {
        char name[2] = {(char)('a' + (int)i), 0};
        (void)fx_add(fx, name, 2 * FX_MIB);
    }
    load_all(fx);
    fx_settle(fx);
    cr_assert_eq(fx_stats(fx).reserved_bytes, 16 * FX_MIB);
    struct swi_error error;
    cr_assert_eq(cache_resize(fx->cache, 6 * FX_MIB, &error), 0);
    struct cache_stats stats = fx_stats(fx);
    cr_assert_leq(stats.resident_bytes, 6 * FX_MIB);
    cr_assert_eq(stats.chunks_resident, 3);
    cr_assert_eq(stats.reserved_bytes, 6 * FX_MIB);
    cr_assert_eq(backed_bytes(fx), 6 * FX_MIB);
    load_all(fx); /* works within the smaller budget */
    cr_assert_leq(fx_stats(fx).resident_bytes, 6 * FX_MIB);
    cr_assert_eq(backed_bytes(fx), 6 * FX_MIB);
    fx_check_bytes(fx, 6);
    fx_destroy(fx);
}

Test(cache_control, shrinking_waits_for_pins_and_then_continues, .timeout = 60)
{
    struct fx *fx = fx_create(12 * FX_MIB, 0, LOADER_AUTO, POLICY_LRU);
    struct swi_page *page = fx_attach(fx, 5);
    for (unsigned i = 0; i < 6; i++) {
        char name[2] = {(char)('a' + (int)i), 0};
        (void)fx_add(fx, name, 2 * FX_MIB);
    }
    load_all(fx);
    fx_settle(fx);
    uint32_t last = 0;
    for (uint32_t i = 0; i < 6; i++)
        if (swi_entry_get(cache_index(fx->cache), fx->file[i].id).offset == 10 * FX_MIB)
            last = i;
    uint32_t slot = fx_pin(fx, 5, last);
    struct swi_error error;
    cr_assert_eq(cache_resize(fx->cache, 4 * FX_MIB, &error), SW_EARENAFULL);
    cr_assert_not_null(strstr(error.text, "session 5"), "%s", error.text);
    cr_assert_eq(fx_stats(fx).arena_bytes, 4 * FX_MIB, "the goal is the budget from now on");
    fx_check_bytes(fx, last);
    cr_assert_eq(backed_bytes(fx), 12 * FX_MIB);
    swi_pin_drop(page, slot);
    fx->now_ns += 100000000;
    fx_settle(fx);
    cr_assert_not(fx_resident(fx, last));
    cr_assert_eq(backed_bytes(fx), 4 * FX_MIB);
    fx_destroy(fx);
}

Test(cache_control, shrinking_under_reads_waits_for_them, .timeout = 60)
{
    struct fx *fx = fx_create(12 * FX_MIB, 0, LOADER_AUTO, POLICY_LRU);
    uint32_t chunks[3];
    struct fx_waiter waiters[3];
    for (unsigned i = 0; i < 3; i++) {
        char name[2] = {(char)('a' + (int)i), 0};
        chunks[i] = fx_add(fx, name, 4 * FX_MIB);
        fx_request(fx, chunks[i], CACHE_DEMAND, &waiters[i], 0);
    }
    (void)cache_dispatch(fx->cache, fx->now_ns);
    cr_assert_eq(fx_stats(fx).loading, 3);
    struct swi_error error;
    cr_assert_eq(cache_resize(fx->cache, 4 * FX_MIB, &error), SW_EARENAFULL);
    for (unsigned i = 0; i < 3; i++) {
        fx_await(fx, &waiters[i]);
        cr_assert_eq(waiters[i].status, 0, "%s", waiters[i].message);
    }
    fx->now_ns += 100000000;
    fx_settle(fx);
    cr_assert_leq(fx_stats(fx).resident_bytes, 4 * FX_MIB);
    cr_assert_eq(backed_bytes(fx), 4 * FX_MIB);
    fx_destroy(fx);
}

Test(cache_control, a_chunk_larger_than_the_budget_is_refused_at_once, .timeout = 60)
{
    struct fx *fx = fx_create(4 * FX_MIB, 0, LOADER_AUTO, POLICY_LRU);
    uint32_t chunk = fx_add(fx, "big", 4 * FX_MIB + 1);
    struct fx_waiter waiter;
    fx_request(fx, chunk, CACHE_DEMAND, &waiter, 0);
    cr_assert(waiter.done);
    cr_assert_eq(waiter.status, SW_EARENAFULL);
    cr_assert_not_null(strstr(waiter.message, "--cache-size"), "%s", waiter.message);
    uint32_t fits = fx_add(fx, "fits", 4 * FX_MIB);
    cr_assert_eq(fx_demand(fx, fits), 0);
    fx_destroy(fx);
}

/* ---- cancel ---------------------------------------------------------------------------------- */

Test(cache_control, a_cancelled_waiter_is_not_called_and_the_read_continues, .timeout = 60)
{
    struct fx *fx = fx_create(8 * FX_MIB, 0, LOADER_AUTO, POLICY_LRU);
    uint32_t chunk = fx_add(fx, "a", 5 * FX_MIB);
    struct fx_waiter gone, other;
    fx_request(fx, chunk, CACHE_DEMAND, &gone, 0);
    fx_request(fx, chunk, CACHE_DEMAND, &other, 1);
    (void)cache_dispatch(fx->cache, fx->now_ns);
    cache_cancel(fx->cache, &gone.waiter);
    fx_await(fx, &other);
    cr_assert_not(gone.done);
    fx_check_bytes(fx, chunk);
    uint32_t alone = fx_add(fx, "b", FX_MIB);
    fx_request(fx, alone, CACHE_DEMAND, &gone, 0);
    (void)cache_dispatch(fx->cache, fx->now_ns);
    cache_cancel(fx->cache, &gone.waiter);
    fx_settle(fx);
    cr_assert_not(gone.done);
    cr_assert(fx_resident(fx, alone));
    fx_destroy(fx);
}

struct canceller {
    struct fx_waiter base;
    struct fx *fx;
    struct cache_waiter *victim;
};

static void cancel_other(struct cache_waiter *waiter, int status, const char *message)
{
    struct canceller *mine = (struct canceller *)(void *)waiter;
    (void)message;
    mine->base.done = true;
    mine->base.status = status;
    cache_cancel(mine->fx->cache, mine->victim);
}

Test(cache_control, a_callback_may_cancel_another_waiter_of_the_same_chunk, .timeout = 60)
{
    struct fx *fx = fx_create(8 * FX_MIB, 0, LOADER_AUTO, POLICY_LRU);
    uint32_t chunk = fx_add(fx, "a", FX_MIB);
    struct fx_waiter middle, last;
    struct canceller first = {
        .base = {.waiter = {.done = cancel_other}}, .fx = fx, .victim = &middle.waiter};
    struct canceller third = {
        .base = {.waiter = {.done = cancel_other}}, .fx = fx, .victim = &last.waiter};
    cache_request(fx->cache, fx->file[chunk].id, CACHE_DEMAND, &first.base.waiter, fx->now_ns);
    fx_request(fx, chunk, CACHE_DEMAND, &middle, 1);
    cache_request(fx->cache, fx->file[chunk].id, CACHE_DEMAND, &third.base.waiter, fx->now_ns);
    fx_request(fx, chunk, CACHE_DEMAND, &last, 2);
    fx_settle(fx);
    cr_assert(first.base.done && third.base.done);
    cr_assert_not(middle.done || last.done);
    cr_assert_eq(first.base.status, 0);
    (void)cache_clear(fx->cache, NULL, NULL);
    fx_request(fx, chunk, CACHE_DEMAND, &last, 2); /* the chunk's list of waiters is intact */
    fx_await(fx, &last);
    cr_assert_eq(last.status, 0);
    fx_destroy(fx);
}

static unsigned open_descriptors(void)
{
    DIR *directory = opendir("/proc/self/fd");
    cr_assert_not_null(directory);
    unsigned count = 0;
    while (readdir(directory))
        count++;
    (void)closedir(directory);
    return count;
}

Test(cache_control, destroying_waits_for_reads_under_way, .timeout = 60)
{
    static const enum loader_engine engines[] = {LOADER_URING, LOADER_THREADS};
    for (unsigned e = 0; e < 2; e++) {
        unsigned before = open_descriptors();
        struct fx *fx = fx_create(32 * FX_MIB, 0, engines[e], POLICY_LRU);
        struct fx_waiter waiters[8];
        for (unsigned i = 0; i < 8; i++) {
            char name[2] = {(char)('a' + (int)i), 0};
            fx_request(fx, fx_add(fx, name, 4 * FX_MIB - 1), CACHE_DEMAND, &waiters[i], 0);
        }
        while (fx_stats(fx).loading == 0)
            (void)cache_dispatch(fx->cache, fx->now_ns);
        (void)cache_dispatch(fx->cache, fx->now_ns);
        fx_destroy(fx);
        for (unsigned i = 0; i < 8; i++)
            cr_assert_not(waiters[i].done, "they belong to whoever takes the cache down");
        cr_assert_eq(open_descriptors(), before);
    }
}

/* ---- unregister ------------------------------------------------------------------------------ */

Test(cache_control, waiters_of_a_removed_model_are_answered, .timeout = 60)
{
    struct fx *fx = fx_create(8 * FX_MIB, 0, LOADER_AUTO, POLICY_LRU);
    uint32_t loading = fx_add(fx, "loading", 4 * FX_MIB);
    uint32_t queued = fx_add(fx, "queued", FX_MIB);
    struct fx_waiter waiters[2];
    fx_request(fx, loading, CACHE_DEMAND, &waiters[0], 0);
    (void)cache_dispatch(fx->cache, fx->now_ns);
    cr_assert_eq(fx_stats(fx).loading, 1);
    fx_request(fx, queued, CACHE_DEMAND, &waiters[1], 0);
    cache_unregister(fx->cache, fx->file[queued].id);
    cr_assert(waiters[1].done);
    cr_assert_eq(waiters[1].status, SW_ESTALE);
    cache_unregister(fx->cache, fx->file[loading].id);
    cr_assert(waiters[0].done);
    cr_assert_eq(waiters[0].status, SW_ESTALE);
    struct cache_chunk_view view;
    cr_assert_not(cache_view(fx->cache, fx->file[loading].id, &view));
    cr_assert_neq(swi_entry_get(cache_index(fx->cache), fx->file[loading].id).incarnation, 0,
                  "the id is not free while its read is under way");
    fx_settle(fx);
    for (uint32_t i = 0; i < 2; i++)
        cr_assert_eq(swi_entry_get(cache_index(fx->cache), fx->file[i].id).incarnation, 0);
    struct cache_stats stats = fx_stats(fx);
    cr_assert_eq(stats.resident_bytes + stats.loading + stats.queued, 0);
    fx_destroy(fx);
}

Test(cache_control, a_pinned_chunk_outlives_its_model_until_it_is_released, .timeout = 60)
{
    struct fx *fx = fx_create(8 * FX_MIB, 0, LOADER_AUTO, POLICY_LRU);
    struct swi_page *page = fx_attach(fx, 1);
    uint32_t chunk = fx_add(fx, "a", 4 * FX_MIB);
    cr_assert_eq(fx_demand(fx, chunk), 0);
    uint32_t slot = fx_pin(fx, 1, chunk);
    cache_unregister(fx->cache, fx->file[chunk].id);
    fx_check_bytes(fx, chunk);
    fx->now_ns += 1000000000;
    fx_settle(fx);
    fx_check_bytes(fx, chunk);
    swi_pin_drop(page, slot);
    fx->now_ns += 1000000000;
    fx_settle(fx);
    cr_assert_eq(swi_entry_get(cache_index(fx->cache), fx->file[chunk].id).incarnation, 0);
    cr_assert_eq(fx_stats(fx).resident_bytes, 0);
    fx_destroy(fx);
}

Test(cache_control, ids_are_reused_and_run_out_at_the_index_size, .timeout = 60)
{
    struct fx *fx = fx_create(4 * FX_MIB, 0, LOADER_AUTO, POLICY_LRU);
    struct cache_chunk chunk = {
        .model = "m", .name = "x", .model_size = SWI_CHUNKS, .incarnation = 5, .bytes = 1};
    uint32_t id;
    for (chunk.ordinal = 0; chunk.ordinal < SWI_CHUNKS; chunk.ordinal++)
        cr_assert_eq(cache_register(fx->cache, &chunk, &id), 0);
    chunk.ordinal = 0;
    chunk.incarnation = 6;
    cr_assert_eq(cache_register(fx->cache, &chunk, &id), SW_EQUOTA);
    cache_unregister(fx->cache, 1234);
    cr_assert_eq(cache_register(fx->cache, &chunk, &id), 0);
    cr_assert_eq(id, 1234);
    chunk.bytes = 0;
    cr_assert_eq(cache_register(fx->cache, &chunk, &id), -EINVAL);
    fx_destroy(fx);
}

/* ---- sessions -------------------------------------------------------------------------------- */

Test(cache_control, pins_of_a_session_that_left_do_not_count, .timeout = 60)
{
    struct fx *fx = fx_create(4 * FX_MIB, 0, LOADER_AUTO, POLICY_LRU);
    (void)fx_attach(fx, 8);
    uint32_t a = fx_add(fx, "a", 4 * FX_MIB);
    uint32_t b = fx_add(fx, "b", 4 * FX_MIB);
    cr_assert_eq(fx_demand(fx, a), 0);
    (void)fx_pin(fx, 8, a);
    struct fx_waiter waiter;
    fx_request(fx, b, CACHE_DEMAND, &waiter, 0);
    fx_settle(fx);
    cr_assert_not(waiter.done);
    uint64_t epoch = swi_session_epoch(cache_index(fx->cache), 8);
    (void)swi_session_revoke(cache_index(fx->cache), 8);
    fx_detach(fx, 8);
    fx_settle(fx);
    cr_assert(waiter.done, "its pins went with it, without waiting for a timer");
    cr_assert_eq(waiter.status, 0);
    cr_assert_neq(swi_session_epoch(cache_index(fx->cache), 8), epoch);
    fx_check_bytes(fx, b);
    fx_destroy(fx);
}

Test(cache_control, a_view_counts_pins_and_uses_of_all_sessions, .timeout = 60)
{
    struct fx *fx = fx_create(4 * FX_MIB, 0, LOADER_AUTO, POLICY_LRU);
    (void)fx_attach(fx, 1);
    (void)fx_attach(fx, 2);
    uint32_t a = fx_add(fx, "a", FX_MIB);
    uint32_t b = fx_add(fx, "b", FX_MIB);
    cr_assert_eq(fx_demand(fx, a), 0);
    (void)fx_pin(fx, 1, a);
    (void)fx_pin(fx, 1, a);
    (void)fx_pin(fx, 2, a);
    fx_settle(fx);
    struct cache_chunk_view view;
    cr_assert(cache_view(fx->cache, fx->file[a].id, &view));
    cr_assert_eq(view.pins, 3);
    cr_assert_eq(view.uses, 4, "three leases and the request");
    cr_assert_eq(view.entry.state, SWI_RESIDENT);
    cr_assert_str_eq(view.chunk->name, "a");
    cr_assert(cache_view(fx->cache, fx->file[b].id, &view));
    cr_assert_eq(view.pins, 0);
    cr_assert_eq(view.entry.state, SWI_ABSENT);
    cr_assert_eq(fx_stats(fx).pinned_bytes, FX_MIB, "each chunk once");
    cr_assert_not(cache_view(fx->cache, 4711, &view));
    cr_assert_not(cache_view(fx->cache, UINT32_MAX, &view));
    fx_destroy(fx);
}

Test(cache_control, garbage_in_a_client_page_is_harmless, .timeout = 60)
{
    struct fx *fx = fx_create(4 * FX_MIB, 0, LOADER_AUTO, POLICY_NEXT_USE);
    struct swi_page *page = fx_attach(fx, 2);
    uint32_t a = fx_add(fx, "a", 3 * FX_MIB);
    uint32_t b = fx_add(fx, "b", 3 * FX_MIB);
    uint64_t random = 99;
    for (unsigned round = 0; round < 20; round++) {
        uint8_t *bytes = (uint8_t *)page;
        for (size_t at = 0; at < sizeof *page; at++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            /* pins of other ids only, so that the two chunks stay movable */
            bytes[at] = (uint8_t)(random >> 40) | (at >= 2048 && at < 4096 ? 0x80 : 0);
        }
        cr_assert_eq(fx_demand(fx, a), 0);
        cr_assert_eq(fx_demand(fx, b), 0);
        fx->now_ns += 50000000;
        fx_settle(fx);
        struct cache_chunk_view view;
        cr_assert(cache_view(fx->cache, fx->file[b].id, &view));
    }
    fx_check_bytes(fx, b);
    fx_destroy(fx);
}

Test(cache_control, without_sessions_there_is_no_timer, .timeout = 60)
{
    struct fx *fx = fx_create(4 * FX_MIB, 0, LOADER_AUTO, POLICY_LRU);
    fx_settle(fx);
    cr_assert_eq(cache_timeout_ms(fx->cache, fx->now_ns), -1);
    (void)fx_attach(fx, 0);
    fx_settle(fx);
    int first_ms = cache_timeout_ms(fx->cache, fx->now_ns);
    cr_assert(first_ms > 0 && first_ms <= 20, "%d", first_ms);
    for (unsigned i = 0; i < 40; i++) {
        fx->now_ns += (uint64_t)cache_timeout_ms(fx->cache, fx->now_ns) * 1000000;
        fx_settle(fx);
    }
    cr_assert_geq(cache_timeout_ms(fx->cache, fx->now_ns), 1000,
                  "an idle client costs next to nothing");
    uint32_t before = swi_tick(cache_index(fx->cache));
    fx->now_ns += 5000000000;
    fx_settle(fx);
    cr_assert_neq(swi_tick(cache_index(fx->cache)), before, "but ticks continue");
    fx_destroy(fx);
}
