/* SPDX-License-Identifier: MIT */
/* Who goes first, who makes room for whom: priorities, fair queueing, prefetch, next-use, and a
 * random load that must stay within its budget. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache/fixture.h"

#define MS UINT64_C(1000000)

static uint32_t rnd(uint64_t *state, uint32_t below)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33) % below;
}

static void add_many(struct fx *fx, unsigned count, uint64_t bytes)
{
    for (unsigned i = 0; i < count; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "c%u", i);
        (void)fx_add(fx, name, bytes);
    }
}

static void put_cursor(struct fx *fx, uint32_t session, uint64_t pass, uint32_t component)
{
    const struct swi_cursor_value value = {
        .incarnation = fx->incarnation, .pass = pass, .step_ns = 5 * MS, .component = component};
    swi_cursor_put(fx->page[session], cache_index(fx->cache), 0, &value);
}

static void prefetch(struct fx *fx, uint32_t number)
{
    cache_request(fx->cache, fx->file[number].id, CACHE_PREFETCH, NULL, fx->now_ns);
}

/* ---- prefetch -------------------------------------------------------------------------------- */

Test(cache_order, a_prefetch_does_not_push_out_what_is_needed_sooner, .timeout = 60)
{
    struct fx *fx = fx_create(8 * FX_MIB, 0, LOADER_AUTO, POLICY_NEXT_USE);
    (void)fx_attach(fx, 0);
    add_many(fx, 8, 2 * FX_MIB);
    for (uint32_t i = 0; i < 4; i++)
        cr_assert_eq(fx_demand(fx, i), 0);
    put_cursor(fx, 0, 1, 0);
    prefetch(fx, 7);
    fx_settle(fx);
    cr_assert_not(fx_resident(fx, 7), "0 to 3 are all needed before it");
    cr_assert_eq(fx_stats(fx).prefetch_dropped, 1);
    cr_assert_eq(fx_stats(fx).evictions, 0);
    put_cursor(fx, 0, 1, 3);
    prefetch(fx, 4);
    fx_settle(fx);
    cr_assert(fx_resident(fx, 4), "one step ahead");
    cr_assert_not(fx_resident(fx, 2), "furthest in the future");
    cr_assert(fx_resident(fx, 3) && fx_resident(fx, 0) && fx_resident(fx, 1));
    fx_destroy(fx);
}

Test(cache_order, a_prefetch_that_was_used_is_counted, .timeout = 60)
{
    struct fx *fx = fx_create(8 * FX_MIB, 0, LOADER_AUTO, POLICY_NEXT_USE);
    struct swi_page *page = fx_attach(fx, 0);
    add_many(fx, 3, FX_MIB);
    for (uint32_t i = 0; i < 3; i++)
        prefetch(fx, i);
    prefetch(fx, 0); /* on its way already */
    fx_settle(fx);
    struct cache_stats stats = fx_stats(fx);
    cr_assert_eq(stats.prefetches, 3);
    cr_assert_eq(stats.coalesced, 1);
    cr_assert_eq(stats.prefetch_used, 0);
    cr_assert_eq(stats.misses, 0);
    fx->now_ns += 100 * MS;
    fx_settle(fx);
    swi_page_note_use(page, cache_index(fx->cache), fx->file[1].id);
    fx->now_ns += 100 * MS;
    fx_settle(fx);
    cr_assert_eq(fx_stats(fx).prefetch_used, 1);
    cr_assert_eq(fx_demand(fx, 1), 0);
    cr_assert_eq(fx_stats(fx).prefetch_used, 1, "only once");
    fx_destroy(fx);
}

Test(cache_order, too_many_prefetches_are_dropped, .timeout = 60)
{
    struct fx *fx = fx_create(8 * FX_MIB, 0, LOADER_AUTO, POLICY_NEXT_USE);
    struct cache_chunk chunk = {
        .model = "m", .name = "x", .model_size = 3000, .incarnation = 5, .bytes = 1};
    uint32_t ids[3000];
    for (chunk.ordinal = 0; chunk.ordinal < 3000; chunk.ordinal++)
        cr_assert_eq(cache_register(fx->cache, &chunk, &ids[chunk.ordinal]), 0);
    for (unsigned i = 0; i < 3000; i++)
        cache_request(fx->cache, ids[i], CACHE_PREFETCH, NULL, fx->now_ns);
    struct cache_stats stats = fx_stats(fx);
    cr_assert_leq(stats.queued, 1024);
    cr_assert_eq(stats.prefetches + stats.prefetch_dropped, 3000);
    for (unsigned i = 0; i < 3000; i++)
        cache_unregister(fx->cache, ids[i]);
    fx_destroy(fx);
}

Test(cache_order, demands_go_before_warm_ups_and_those_before_prefetches, .timeout = 60)
{
    struct fx *fx = fx_create(30 * FX_MIB, 0, LOADER_AUTO, POLICY_LRU);
    add_many(fx, 30, FX_MIB);
    struct fx_waiter waiters[30];
    for (uint32_t i = 0; i < 10; i++) {
        fx_request(fx, i, CACHE_PREFETCH, &waiters[i], 0);
        fx_request(fx, 10 + i, CACHE_WARM, &waiters[10 + i], 0);
        fx_request(fx, 20 + i, CACHE_DEMAND, &waiters[20 + i], 0);
    }
    struct fx_waiter late;
    fx_request(fx, 9, CACHE_DEMAND, &late, 1); /* the last prefetch becomes a demand */
    fx_await(fx, &late);
    unsigned prefetched = 0;
    for (uint32_t i = 0; i < 9; i++)
        prefetched += waiters[i].done;
    cr_assert_eq(prefetched, 0, "it overtook the others");
    for (uint32_t i = 0; i < 30; i++) {
        fx_await(fx, &waiters[i]);
        cr_assert_eq(waiters[i].status, 0);
    }
    fx_destroy(fx);
}

Test(cache_order, a_light_client_does_not_queue_behind_a_heavy_one, .timeout = 60)
{
    struct fx *fx = fx_create(32 * FX_MIB, 0, LOADER_AUTO, POLICY_LRU);
    add_many(fx, 31, FX_MIB);
    struct fx_waiter heavy[30], light;
    for (uint32_t i = 0; i < 30; i++)
        fx_request(fx, i, CACHE_DEMAND, &heavy[i], 4);
    (void)cache_dispatch(fx->cache, fx->now_ns);
    fx_request(fx, 30, CACHE_DEMAND, &light, 9);
    fx_await(fx, &light);
    unsigned served = 0;
    for (uint32_t i = 0; i < 30; i++)
        served += heavy[i].done;
    cr_assert_leq(served, 9, "%u of the heavy client's went first", served);
    for (uint32_t i = 0; i < 30; i++)
        fx_await(fx, &heavy[i]);
    fx_destroy(fx);
}

/* More of them than one round tries; a small chunk behind them would fit. */
Test(cache_order, any_number_of_chunks_without_room_do_not_hold_up_those_behind_them, .timeout = 60)
{
    enum { LARGE = 60 };
    struct fx *fx = fx_create(2 * FX_MIB, 0, LOADER_AUTO, POLICY_LRU);
    struct swi_page *page = fx_attach(fx, 0);
    uint32_t pinned = fx_add(fx, "pinned", FX_MIB + FX_MIB / 2);
    uint32_t slot = fx_pin(fx, 0, pinned);
    cr_assert_eq(fx_demand(fx, pinned), 0);
    static struct fx_waiter large[LARGE], small;
    uint32_t first = fx->count;
    for (uint32_t i = 0; i < LARGE; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "large%u", i);
        (void)fx_add(fx, name, FX_MIB / 2 + 4096);
    }
    uint32_t last = fx_add(fx, "small", 4096);
    for (uint32_t i = 0; i < LARGE; i++)
        fx_request(fx, first + i, CACHE_DEMAND, &large[i], i + 1);
    fx_request(fx, last, CACHE_DEMAND, &small, LARGE + 1);
    for (int i = 0; i < 50 && !small.done; i++) {
        fx_settle(fx);
        fx->now_ns += 20 * MS;
    }
    cr_assert(small.done, "it waits behind chunks that find no room");
    cr_assert_eq(small.status, 0, "%s", small.message);
    for (uint32_t i = 0; i < LARGE; i++)
        cr_assert_not(large[i].done);
    swi_pin_drop(page, slot);
    for (uint32_t i = 0; i < LARGE; i++) {
        fx_await(fx, &large[i]);
        cr_assert_eq(large[i].status, 0, "%s", large[i].message);
    }
    fx_destroy(fx);
}

/* ---- a pin that appears after the cache has looked ------------------------------------------- */

struct late_pin {
    struct fx *fx;
    uint32_t number, slot;
    bool taken;
};

static void pin_now(void *context)
{
    struct late_pin *late = context;
    if (!late->taken)
        late->slot = fx_pin(late->fx, 0, late->number);
    late->taken = true;
}

Test(cache_order, a_window_is_evicted_as_a_whole_or_not_at_all, .timeout = 60)
{
    struct fx *fx = fx_create(4 * FX_MIB, 0, LOADER_AUTO, POLICY_LRU);
    struct swi_page *page = fx_attach(fx, 0);
    uint32_t a = fx_add(fx, "a", FX_MIB);
    uint32_t b = fx_add(fx, "b", FX_MIB);
    uint32_t c = fx_add(fx, "c", 2 * FX_MIB);
    uint32_t too_big = fx_add(fx, "too_big", 3 * FX_MIB);
    uint32_t fits = fx_add(fx, "fits", 2 * FX_MIB);
    cr_assert_eq(fx_demand(fx, a), 0);
    cr_assert_eq(fx_demand(fx, b), 0);
    cr_assert_eq(fx_demand(fx, c), 0);
    (void)fx_pin(fx, 0, c);
    /* the first of the two makes the cache look at the pins; the second's file pins b after that */
    struct late_pin late = {.fx = fx, .number = b};
    fx->file[fits].on_open = pin_now;
    fx->file[fits].on_open_context = &late;
    struct fx_waiter waiters[2];
    fx_request(fx, too_big, CACHE_DEMAND, &waiters[0], 1);
    fx_request(fx, fits, CACHE_DEMAND, &waiters[1], 2);
    fx_settle(fx);
    cr_assert(late.taken);
    cr_assert_not(waiters[0].done || waiters[1].done);
    fx_check_bytes(fx, a);
    fx_check_bytes(fx, b);
    cr_assert_eq(fx_stats(fx).evictions, 0);
    swi_pin_drop(page, late.slot);
    fx_await(fx, &waiters[1]);
    cr_assert_eq(waiters[1].status, 0);
    fx_check_bytes(fx, fits);
    cache_cancel(fx->cache, &waiters[0].waiter);
    fx_destroy(fx);
}

/* ---- next-use through client pages ----------------------------------------------------------- */

/* Passes of one worker through 8 chunks, of which the arena holds `slots`. Returns the misses of
 * the last four passes. */
static uint64_t misses_of_passes(enum policy_kind policy, unsigned slots)
{
    struct fx *fx = fx_create(slots * FX_MIB, 0, LOADER_AUTO, policy);
    struct swi_page *page = fx_attach(fx, 0);
    add_many(fx, 8, FX_MIB);
    uint64_t before = 0;
    for (uint64_t pass = 1; pass <= 10; pass++) {
        if (pass == 7)
            before = fx_stats(fx).misses;
        for (uint32_t i = 0; i < 8; i++) {
            put_cursor(fx, 0, pass, i);
            uint32_t slot = fx_pin(fx, 0, i);
            if (!fx_resident(fx, i))
                cr_assert_eq(fx_demand(fx, i), 0);
            fx->now_ns += 5 * MS;
            fx_settle(fx);
            swi_pin_drop(page, slot);
        }
    }
    uint64_t misses = fx_stats(fx).misses - before;
    fx_destroy(fx);
    return misses;
}

Test(cache_order, next_use_keeps_what_a_cyclic_scan_comes_back_to, .timeout = 60)
{
    cr_assert_eq(misses_of_passes(POLICY_LRU, 6), 32, "lru misses always");
    uint64_t misses = misses_of_passes(POLICY_NEXT_USE, 6);
    cr_assert_leq(misses, 12, "%lu misses; Belady's optimum is 8 or 9", misses);
}

/* What one session may keep is half of the cache as it is, not as it was. */
Test(cache_order, what_a_cursor_keeps_follows_a_resize, .timeout = 60)
{
    struct fx *fx = fx_create(4 * FX_MIB, 16 * FX_MIB, LOADER_AUTO, POLICY_NEXT_USE);
    struct swi_error error;
    (void)fx_attach(fx, 0);
    cache_set_session_bytes(fx->cache, 0);
    cr_assert_eq(cache_resize(fx->cache, 16 * FX_MIB, &error), 0);
    add_many(fx, 8, FX_MIB);
    put_cursor(fx, 0, 1, 0);
    for (uint32_t i = 0; i < 8; i++)
        cr_assert_eq(fx_demand(fx, i), 0);
    fx->incarnation++; /* another model, used later, that nobody speaks for */
    for (uint32_t i = 8; i < 17; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "other%u", i);
        cr_assert_eq(fx_demand(fx, fx_add(fx, name, FX_MIB)), 0);
    }
    for (uint32_t i = 0; i < 8; i++)
        cr_assert(fx_resident(fx, i), "chunk %u of the pass has left", i);
    fx_destroy(fx);
}

/* ---- a random load --------------------------------------------------------------------------- */

#define SESSIONS 4u
#define FILES    60u

struct held {
    uint32_t slot, number;
    bool taken;
};

static void check_invariants(struct fx *fx, uint64_t budget)
{
    struct cache_stats stats = fx_stats(fx);
    cr_assert_leq(stats.resident_bytes, budget);
    cr_assert_leq(stats.pinned_bytes, stats.resident_bytes);
    uint64_t resident = 0;
    for (uint32_t i = 0; i < fx->count; i++)
        resident += fx_resident(fx, i) ? fx->file[i].bytes : 0;
    cr_assert_eq(resident, stats.resident_bytes);
}

static void random_step(struct fx *fx, struct held *held, uint64_t *random, struct fx_waiter *pool)
{
    uint32_t number = rnd(random, FILES);
    uint32_t session = rnd(random, SESSIONS);
    struct held *mine = &held[session];
    switch (rnd(random, 8)) {
    case 0: /* a client that reads: pin, ask, look, hold */
        if (mine->taken) {
            swi_pin_drop(fx->page[session], mine->slot);
            mine->taken = false;
            break;
        }
        *mine = (struct held){.slot = fx_pin(fx, session, number), .number = number, .taken = true};
        if (!fx_resident(fx, number) && fx_demand(fx, number) != 0) {
            swi_pin_drop(fx->page[session], mine->slot);
            mine->taken = false;
        }
        break;
    case 1:
        cache_request(fx->cache, fx->file[number].id, CACHE_PREFETCH, NULL, fx->now_ns);
        break;
    case 2:
        if (rnd(random, 20) == 0)
            (void)cache_clear(fx->cache, "m", NULL);
        break;
    case 3:
        fx_settle(fx);
        break;
    default: /* requests that overlap */
        for (unsigned i = 0; i < 8; i++) {
            if (pool[i].done || pool[i].waiter.done == NULL) {
                fx_request(fx, number, (enum cache_priority)rnd(random, 3), &pool[i], session);
                break;
            }
        }
        (void)cache_dispatch(fx->cache, fx->now_ns);
        fx->now_ns += rnd(random, 10) * MS;
    }
}

static void run_random(enum loader_engine engine, enum policy_kind policy, uint64_t seed)
{
    uint64_t budget = 12 * FX_MIB;
    struct fx *fx = fx_create(budget, 20 * FX_MIB, engine, policy);
    struct held held[SESSIONS] = {{.taken = false}};
    struct fx_waiter pool[8] = {{.done = true}};
    uint64_t random = seed;
    for (uint32_t i = 0; i < SESSIONS; i++)
        (void)fx_attach(fx, i);
    for (uint32_t i = 0; i < FILES; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "r%u", i);
        (void)fx_add(fx, name, 1 + rnd(&random, rnd(&random, 4) == 0 ? 3 << 20 : 300000));
    }
    for (unsigned step = 0; step < 1500; step++) {
        random_step(fx, held, &random, pool);
        if (step % 200 == 199) {
            budget = (8 + rnd(&random, 12)) * FX_MIB;
            struct swi_error error;
            (void)cache_resize(fx->cache, budget, &error);
            for (uint32_t i = 0; i < SESSIONS; i++) {
                if (held[i].taken)
                    swi_pin_drop(fx->page[i], held[i].slot);
                held[i].taken = false;
            }
            fx_settle(fx);
            fx->now_ns += 100 * MS;
            fx_settle(fx);
        }
        check_invariants(fx, budget);
        for (uint32_t i = 0; i < SESSIONS; i++)
            if (held[i].taken && step % 10 == 0)
                fx_check_bytes(fx, held[i].number);
    }
    for (uint32_t i = 0; i < 8; i++)
        if (!pool[i].done)
            fx_await(fx, &pool[i]);
    for (uint32_t i = 0; i < FILES; i++)
        if (fx_resident(fx, i))
            fx_check_bytes(fx, i);
    cr_assert_eq(fx_stats(fx).load_errors + fx_stats(fx).digest_errors, 0);
    fx_destroy(fx);
}

Test(cache_order, a_random_load_stays_within_its_budget, .timeout = 60)
{
    run_random(LOADER_URING, POLICY_LRU, 1);
    run_random(LOADER_THREADS, POLICY_LRU, 2);
    run_random(LOADER_URING, POLICY_NEXT_USE, 3);
    run_random(LOADER_THREADS, POLICY_NEXT_USE, 4);
}
