/* SPDX-License-Identifier: MIT */
/* Hashing resident chunks again on request: in steps, and one after the other. */
#include <criterion/criterion.h>
#include <unistd.h>

#include "cache/fixture.h"

static uint32_t id_of(struct fx *fx, uint32_t number)
{
    return fx->file[number].id;
}

static void damage(struct fx *fx, uint32_t number)
{
    uint64_t offset = swi_entry_get(cache_index(fx->cache), id_of(fx, number)).offset;
    const uint8_t wrong = (uint8_t)~fx_byte(fx->file[number].name, 4321);
    cr_assert_eq(pwrite(cache_own_arena_fd(fx->cache), &wrong, 1, (off_t)(offset + 4321)), 1);
}

static struct fx *open_with(uint32_t count, uint64_t bytes)
{
    static const char *const names[] = {"a", "b", "c"};
    struct fx *fx = fx_create(16 * FX_MIB, 0, LOADER_AUTO, POLICY_LRU);
    for (uint32_t i = 0; i < count; i++)
        cr_assert_eq(fx_demand(fx, fx_add(fx, names[i], bytes)), 0);
    fx_settle(fx);
    return fx;
}

Test(cache_rehash, a_chunk_is_hashed_in_steps_of_a_mib, .timeout = 60)
{
    struct fx *fx = open_with(1, 3 * FX_MIB + 17);
    struct cache_rehash request;
    cache_rehash_start(fx->cache, id_of(fx, 0), &request);
    for (uint64_t steps = 1; steps <= 3; steps++) {
        cr_assert(cache_dispatch(fx->cache, fx->now_ns), "it wants to continue at once");
        cr_assert_eq(request.state, CACHE_REHASH_UNDER_WAY);
        cr_assert_eq(request.hashed, steps * FX_MIB);
    }
    cr_assert_not(cache_dispatch(fx->cache, fx->now_ns));
    cr_assert_eq(request.state, CACHE_REHASH_MATCHES);
    cr_assert_eq(request.hashed, 3 * FX_MIB + 17);
    fx_check_bytes(fx, 0);
    fx_destroy(fx);
}

Test(cache_rehash, a_damaged_chunk_stays_until_it_is_withdrawn, .timeout = 60)
{
    struct fx *fx = open_with(2, FX_MIB);
    struct cache_rehash requests[2];
    damage(fx, 0);
    cache_rehash_start(fx->cache, id_of(fx, 0), &requests[0]);
    cache_rehash_start(fx->cache, id_of(fx, 1), &requests[1]);
    fx_settle(fx);
    cr_assert_eq(requests[0].state, CACHE_REHASH_DAMAGED);
    cr_assert_eq(requests[1].state, CACHE_REHASH_MATCHES);
    cr_assert(fx_resident(fx, 0));
    cr_assert_eq(fx_stats(fx).digest_errors, 0);
    cr_assert(cache_withdraw(fx->cache, id_of(fx, 0)));
    cr_assert_not(fx_resident(fx, 0));
    cr_assert_eq(fx_stats(fx).digest_errors, 1);
    cr_assert_eq(fx_demand(fx, 0), 0);
    fx_check_bytes(fx, 0);
    fx_destroy(fx);
}

Test(cache_rehash, a_chunk_that_leaves_ends_its_request, .timeout = 60)
{
    struct fx *fx = open_with(2, 2 * FX_MIB);
    struct cache_rehash begun, waiting;
    cache_rehash_start(fx->cache, id_of(fx, 0), &begun);
    cache_rehash_start(fx->cache, id_of(fx, 1), &waiting);
    (void)cache_dispatch(fx->cache, fx->now_ns);
    cr_assert_eq(begun.hashed, FX_MIB);
    cr_assert_eq(cache_clear(fx->cache, NULL, NULL).chunks, 2);
    cr_assert_eq(begun.state, CACHE_REHASH_LEFT);
    cr_assert_eq(waiting.state, CACHE_REHASH_LEFT);
    cr_assert_eq(fx_demand(fx, 0), 0);
    fx_check_bytes(fx, 0);
    fx_destroy(fx);
}

Test(cache_rehash, a_cancelled_request_makes_way_for_the_next, .timeout = 60)
{
    struct fx *fx = open_with(3, 2 * FX_MIB);
    struct cache_rehash requests[3];
    for (uint32_t i = 0; i < 3; i++)
        cache_rehash_start(fx->cache, id_of(fx, i), &requests[i]);
    damage(fx, 2);
    (void)cache_dispatch(fx->cache, fx->now_ns);
    cache_rehash_cancel(fx->cache, &requests[0]); /* under way */
    cache_rehash_cancel(fx->cache, &requests[1]); /* waiting */
    fx_settle(fx);
    cr_assert_eq(requests[2].state, CACHE_REHASH_DAMAGED);
    cr_assert_eq(requests[2].hashed, 2 * FX_MIB);
    cache_rehash_cancel(fx->cache, &requests[2]); /* does nothing */
    cr_assert_eq(requests[2].state, CACHE_REHASH_DAMAGED);
    fx_destroy(fx);
}

/* The clean end of a broker leaves chunks that are hashed in the background. */
Test(cache_rehash, a_request_verifies_a_chunk_that_was_taken_over, .timeout = 60)
{
    struct fx *fx = fx_create_kept(16 * FX_MIB);
    cr_assert_eq(fx_demand(fx, fx_add(fx, "a", 2 * FX_MIB)), 0);
    (void)fx_succeed(fx, true, NULL);
    cr_assert_eq(cache_unverified(fx->cache), 1);
    struct cache_rehash request;
    cache_rehash_start(fx->cache, id_of(fx, 0), &request);
    fx_settle(fx);
    cr_assert_eq(request.state, CACHE_REHASH_MATCHES);
    struct cache_stats stats = fx_stats(fx);
    cr_assert_eq(stats.unverified, 0);
    cr_assert_eq(stats.verified, 1);
    fx_destroy(fx);
}
