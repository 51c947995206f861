/* SPDX-License-Identifier: MIT */
/* The component cache's order, by itself. */
#include <criterion/criterion.h>

#include "client/component_cache.h"

TestSuite(component_cache, .timeout = 10);

#define COMPONENTS 6u

struct bench {
    struct swi_component_cache cache;
    struct swi_cached entry[COMPONENTS];
};

static void start(struct bench *bench, uint32_t capacity)
{
    cr_assert_eq(swi_component_cache_init(&bench->cache, COMPONENTS, capacity), 0);
    for (uint32_t i = 0; i < COMPONENTS; i++)
        bench->entry[i] = (struct swi_cached){
            .component = i, .private_bytes = 10 + i, .mapped_bytes = 1000 * (i + 1)};
}

/* What an acquire does: find, else put and take out what is too much. Returns who left, or -1. */
static int use(struct bench *bench, uint32_t component)
{
    if (swi_component_cache_find(&bench->cache, component))
        return -1;
    swi_component_cache_put(&bench->cache, &bench->entry[component]);
    struct swi_cached *gone = swi_component_cache_take_surplus(&bench->cache);
    cr_assert_null(swi_component_cache_take_surplus(&bench->cache));
    return gone ? (int)gone->component : -1;
}

static void finish(struct bench *bench)
{
    while (swi_component_cache_take_any(&bench->cache))
        ;
    swi_component_cache_fini(&bench->cache);
}

Test(component_cache, evicts_the_least_recently_used)
{
    struct bench bench;
    start(&bench, 3);
    cr_expect_eq(use(&bench, 0), -1);
    cr_expect_eq(use(&bench, 1), -1);
    cr_expect_eq(use(&bench, 2), -1);
    cr_expect_eq(use(&bench, 3), 0);
    cr_expect_eq(use(&bench, 4), 1);
    finish(&bench);
}

Test(component_cache, a_hit_makes_an_entry_the_newest)
{
    struct bench bench;
    start(&bench, 3);
    use(&bench, 0);
    use(&bench, 1);
    use(&bench, 2);
    cr_expect_eq(use(&bench, 0), -1, "a hit");
    cr_expect_eq(use(&bench, 3), 1, "0 was used again, so 1 is the oldest");
    cr_expect_eq(TAILQ_FIRST(&bench.cache.list)->component, 3);
    cr_expect_eq(TAILQ_NEXT(TAILQ_FIRST(&bench.cache.list), link)->component, 0);
    finish(&bench);
}

Test(component_cache, peeking_changes_nothing)
{
    struct bench bench;
    start(&bench, 2);
    use(&bench, 0);
    use(&bench, 1);
    cr_expect_eq(swi_component_cache_peek(&bench.cache, 0), &bench.entry[0]);
    cr_expect_null(swi_component_cache_peek(&bench.cache, 5));
    cr_expect_eq(bench.cache.hits, 0);
    cr_expect_eq(bench.cache.misses, 2);
    cr_expect_eq(use(&bench, 2), 0, "peeking at 0 did not make it newer");
    finish(&bench);
}

Test(component_cache, counts_hits_misses_and_bytes)
{
    struct bench bench;
    start(&bench, 2);
    use(&bench, 0);
    use(&bench, 1);
    use(&bench, 1);
    use(&bench, 2); /* 0 leaves */
    cr_expect_eq(bench.cache.hits, 1);
    cr_expect_eq(bench.cache.misses, 3);
    cr_expect_eq(bench.cache.count, 2);
    cr_expect_eq(bench.cache.private_bytes, 11 + 12);
    cr_expect_eq(bench.cache.mapped_bytes, 2000 + 3000);
    finish(&bench);
    cr_expect_eq(bench.cache.private_bytes, 0);
    cr_expect_eq(bench.cache.mapped_bytes, 0);
}

Test(component_cache, shrinking_gives_up_the_oldest_first)
{
    struct bench bench;
    start(&bench, COMPONENTS);
    for (uint32_t i = 0; i < COMPONENTS; i++)
        use(&bench, i);
    bench.cache.capacity = 2;
    for (uint32_t i = 0; i < COMPONENTS - 2; i++) {
        struct swi_cached *gone = swi_component_cache_take_surplus(&bench.cache);
        cr_assert_not_null(gone);
        cr_expect_eq(gone->component, i);
    }
    cr_expect_null(swi_component_cache_take_surplus(&bench.cache));
    cr_expect_eq(bench.cache.count, 2);
    finish(&bench);
}

Test(component_cache, keeps_none_at_capacity_zero)
{
    struct bench bench;
    start(&bench, 0);
    cr_expect_eq(use(&bench, 3), 3);
    cr_expect_eq(use(&bench, 3), 3);
    cr_expect_eq(bench.cache.count, 0);
    cr_expect_eq(bench.cache.hits, 0);
    finish(&bench);
}

Test(component_cache, a_limit_of_bytes_stands_beside_that_of_components)
{
    struct bench bench; /* component i describes 1000 * (i + 1) bytes */
    start(&bench, 4);
    bench.cache.capacity_bytes = 6000;
    cr_expect_eq(use(&bench, 0), -1);
    cr_expect_eq(use(&bench, 1), -1);
    cr_expect_eq(use(&bench, 2), -1, "6000 is not too much");
    cr_expect_eq(bench.cache.mapped_bytes, 6000);
    swi_component_cache_put(&bench.cache, &bench.entry[3]);
    for (uint32_t i = 0; i < 3; i++) {
        struct swi_cached *gone = swi_component_cache_take_surplus(&bench.cache);
        cr_assert_not_null(gone);
        cr_expect_eq(gone->component, i, "as many as it takes, the oldest first");
    }
    cr_expect_null(swi_component_cache_take_surplus(&bench.cache));
    cr_expect_eq(bench.cache.evictions, 3);
    bench.cache.capacity_bytes = 0;
    cr_expect_eq(use(&bench, 5), -1, "0 is no limit");
    finish(&bench);
    cr_expect_eq(bench.cache.evictions, 3, "what is cleared is not evicted");
}

Test(component_cache, what_can_never_stay_drives_nothing_out)
{
    struct bench bench;
    start(&bench, 4);
    bench.cache.capacity_bytes = 4000;
    use(&bench, 0);
    use(&bench, 1);
    cr_expect_eq(use(&bench, 4), 4, "5000 bytes leave by themselves");
    cr_expect_eq(bench.cache.count, 2);
    cr_expect_eq(use(&bench, 0), -1);
    cr_expect_eq(bench.cache.hits, 1);
    finish(&bench);
}
