/* SPDX-License-Identifier: MIT */
/* Loading, hits, LRU order and the budget. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdio.h>

#include "cache/fixture.h"

static const enum loader_engine engines[] = {LOADER_URING, LOADER_THREADS};
#define EACH_ENGINE(i) for (unsigned i = 0; i < 2; i++)

Test(cache, loads_and_verifies_any_length, .timeout = 60)
{
    static const uint64_t sizes[] = {1,          4095,   4096,       4097,
                                     FX_MIB - 1, FX_MIB, FX_MIB + 1, 5 * FX_MIB + 3};
    EACH_ENGINE(e)
    {
        struct fx *fx = fx_create(16 * FX_MIB, 0, engines[e], POLICY_LRU);
        for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            char name[32];
            (void)snprintf(name, sizeof name, "size_%u", i);
            uint32_t chunk = fx_add(fx, name, sizes[i]);
            cr_assert_eq(fx_demand(fx, chunk), 0);
            fx_check_bytes(fx, chunk);
        }
        struct cache_stats stats = fx_stats(fx);
        cr_assert_eq(stats.loads, 8);
        cr_assert_eq(stats.misses, 8);
        cr_assert_eq(stats.chunks_resident, 8);
        fx_destroy(fx);
    }
}

Test(cache, lru_evicts_the_least_recently_used_chunk, .timeout = 60)
{
    struct fx *fx = fx_create(6 * FX_MIB, 0, LOADER_AUTO, POLICY_LRU);
    uint32_t a = fx_add(fx, "a", 2 * FX_MIB);
    uint32_t b = fx_add(fx, "b", 2 * FX_MIB);
    uint32_t c = fx_add(fx, "c", 2 * FX_MIB);
    uint32_t d = fx_add(fx, "d", 2 * FX_MIB);
    cr_assert_eq(fx_demand(fx, a), 0);
    cr_assert_eq(fx_demand(fx, b), 0);
    cr_assert_eq(fx_demand(fx, c), 0);
    cr_assert_eq(fx_demand(fx, a), 0); /* a hit moves the entry */
    cr_assert_eq(fx_demand(fx, d), 0);
    cr_assert(fx_resident(fx, a));
    cr_assert_not(fx_resident(fx, b));
    cr_assert(fx_resident(fx, c));
    fx_check_bytes(fx, a);
    fx_check_bytes(fx, d);
    cr_assert_eq(fx_stats(fx).evictions, 1);
    fx_destroy(fx);
}

Test(cache, a_hit_through_the_client_page_moves_the_entry, .timeout = 60)
{
    struct fx *fx = fx_create(4 * FX_MIB, 0, LOADER_AUTO, POLICY_LRU);
    struct swi_page *page = fx_attach(fx, 3);
    uint32_t a = fx_add(fx, "a", 2 * FX_MIB);
    uint32_t b = fx_add(fx, "b", 2 * FX_MIB);
    uint32_t c = fx_add(fx, "c", 2 * FX_MIB);
    cr_assert_eq(fx_demand(fx, a), 0);
    cr_assert_eq(fx_demand(fx, b), 0);
    fx->now_ns += 1000000000; /* the tick advances */
    fx_settle(fx);
    swi_page_note_use(page, cache_index(fx->cache), fx->file[a].id);
    cr_assert_eq(fx_demand(fx, c), 0);
    cr_assert(fx_resident(fx, a));
    cr_assert_not(fx_resident(fx, b));
    fx_destroy(fx);
}

Test(cache, two_requests_share_one_read, .timeout = 60)
{
    EACH_ENGINE(e)
    {
        struct fx *fx = fx_create(8 * FX_MIB, 0, engines[e], POLICY_LRU);
        uint32_t a = fx_add(fx, "a", 3 * FX_MIB);
        struct fx_waiter first, second;
        fx_request(fx, a, CACHE_PREFETCH, &first, 0);
        fx_request(fx, a, CACHE_DEMAND, &second, 1);
        fx_await(fx, &first);
        fx_await(fx, &second);
        cr_assert_eq(first.status, 0);
        cr_assert_eq(second.status, 0);
        struct cache_stats stats = fx_stats(fx);
        cr_assert_eq(stats.loads, 1);
        cr_assert_eq(stats.coalesced, 1);
        cr_assert_eq(stats.prefetch_used, 1);
        cr_assert_eq(fx->file[a].opens, 1);
        fx_destroy(fx);
    }
}

Test(cache, pinned_chunks_stay_and_the_wait_for_them_is_bounded, .timeout = 60)
{
    struct fx *fx = fx_create(4 * FX_MIB, 0, LOADER_AUTO, POLICY_LRU);
    struct swi_page *page = fx_attach(fx, 7);
    uint32_t a = fx_add(fx, "a", 2 * FX_MIB);
    uint32_t b = fx_add(fx, "b", 2 * FX_MIB);
    uint32_t c = fx_add(fx, "c", 2 * FX_MIB);
    cr_assert_eq(fx_demand(fx, a), 0);
    cr_assert_eq(fx_demand(fx, b), 0);
    (void)fx_pin(fx, 7, a);
    uint32_t slot = fx_pin(fx, 7, b);
    uint64_t before_ns = fx->now_ns;
    cr_assert_eq(fx_demand(fx, c), SW_EARENAFULL);
    cr_assert_geq(fx->now_ns - before_ns, 5000000000u);
    cr_assert_leq(fx->now_ns - before_ns, 6000000000u);
    cr_assert(fx_resident(fx, a) && fx_resident(fx, b));

    struct fx_waiter waiter;
    fx_request(fx, c, CACHE_DEMAND, &waiter, 7);
    fx_settle(fx);
    cr_assert_not(waiter.done);
    swi_pin_drop(page, slot);
    fx_await(fx, &waiter);
    cr_assert_eq(waiter.status, 0);
    cr_assert(fx_resident(fx, a));
    cr_assert_not(fx_resident(fx, b));
    fx_destroy(fx);
}

Test(cache, full_arena_names_the_holders, .timeout = 60)
{
    struct fx *fx = fx_create(4 * FX_MIB, 0, LOADER_AUTO, POLICY_LRU);
    (void)fx_attach(fx, 7);
    (void)fx_attach(fx, 9);
    uint32_t a = fx_add(fx, "a", 3 * FX_MIB);
    uint32_t b = fx_add(fx, "b", FX_MIB);
    uint32_t c = fx_add(fx, "c", 2 * FX_MIB);
    cr_assert_eq(fx_demand(fx, a), 0);
    cr_assert_eq(fx_demand(fx, b), 0);
    (void)fx_pin(fx, 9, a);
    (void)fx_pin(fx, 7, b);
    struct fx_waiter waiter;
    fx_request(fx, c, CACHE_DEMAND, &waiter, 7);
    fx_await(fx, &waiter);
    cr_assert_eq(waiter.status, SW_EARENAFULL);
    cr_assert_not_null(strstr(waiter.message, "session 9 holds 3.0 MiB"), "%s", waiter.message);
    cr_assert_not_null(strstr(waiter.message, "session 7 holds 1.0 MiB"), "%s", waiter.message);
    cr_assert_not_null(strstr(waiter.message, "m/c"), "%s", waiter.message);
    fx_destroy(fx);
}
