/* SPDX-License-Identifier: MIT */
/* Eviction policies on client pages and ticks that the test makes up. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

#include "core/lease.h"
#include "policy/policy.h"

#define MODEL 41u
#define MS    UINT64_C(1000000)

struct world {
    struct policy *policy;
    struct swi_index *index;
    struct swi_page *page[4];
    uint64_t now_ns;
};

static void world_open(struct world *world, enum policy_kind kind, uint64_t session_bytes)
{
    *world = (struct world){.now_ns = 1000 * MS};
    world->policy = policy_create(kind, session_bytes);
    world->index = calloc(1, sizeof *world->index);
    swi_index_init(world->index, 1, UINT64_C(1) << 30);
    for (int i = 0; i < 4; i++) {
        world->page[i] = calloc(1, sizeof *world->page[i]);
        swi_page_init(world->page[i]);
    }
}

static void world_close(struct world *world)
{
    policy_destroy(world->policy);
    free(world->index);
    for (int i = 0; i < 4; i++)
        free(world->page[i]);
}

static void add_model(struct world *world, uint64_t incarnation, uint32_t first_id, uint32_t size,
                      uint64_t bytes)
{
    for (uint32_t i = 0; i < size; i++) {
        const struct policy_chunk chunk = {
            .incarnation = incarnation, .ordinal = i, .model_size = size, .bytes = bytes};
        cr_assert_eq(policy_add_chunk(world->policy, first_id + i, &chunk), 0);
    }
}

static void pass_time(struct world *world, uint64_t ns)
{
    world->now_ns += ns;
    swi_tick_advance(world->index);
    policy_note_tick(world->policy, swi_tick(world->index), world->now_ns);
}

static void use(struct world *world, uint32_t id)
{
    pass_time(world, MS);
    policy_touch(world->policy, id, swi_tick(world->index));
    policy_set_resident(world->policy, id, true);
}

static void put_cursor(struct world *world, uint32_t session, unsigned lane, uint64_t pass,
                       uint32_t component, uint64_t step_ns)
{
    const struct swi_cursor_value value = {
        .incarnation = MODEL, .pass = pass, .step_ns = step_ns, .component = component};
    swi_cursor_put(world->page[session], world->index, lane, &value);
    (void)policy_observe(world->policy, session, world->page[session], world->now_ns);
}

/* The first to leave among ids [0, count). */
static uint32_t victim(struct world *world, uint32_t count)
{
    policy_prepare(world->policy, swi_tick(world->index), world->now_ns);
    uint32_t best = 0;
    for (uint32_t id = 1; id < count; id++) {
        struct arena_regret a = policy_regret(world->policy, id);
        struct arena_regret b = policy_regret(world->policy, best);
        if (a.peak < b.peak || (!(b.peak < a.peak) && a.weight < b.weight))
            best = id;
    }
    return best;
}

/* ---- lru ------------------------------------------------------------------------------------- */

Test(policy, lru_orders_by_last_use, .timeout = 60)
{
    struct world world;
    world_open(&world, POLICY_LRU, 0);
    add_model(&world, MODEL, 0, 4, 100);
    for (uint32_t id = 0; id < 4; id++)
        use(&world, id);
    cr_assert_eq(victim(&world, 4), 0);
    use(&world, 0);
    cr_assert_eq(victim(&world, 4), 1);
    world_close(&world);
}

Test(policy, stamps_of_client_pages_count_and_those_from_the_future_do_not, .timeout = 60)
{
    struct world world;
    world_open(&world, POLICY_LRU, 0);
    add_model(&world, MODEL, 0, 3, 100);
    static const uint32_t ids[] = {0, 1, 2};
    for (uint32_t id = 0; id < 3; id++)
        use(&world, id);
    pass_time(&world, MS);
    swi_page_note_use(world.page[0], world.index, 0);
    uint32_t now = swi_tick(world.index);
    cr_assert_eq(policy_merge_page(world.policy, world.page[0], now, ids, 3), 1);
    cr_assert_eq(policy_merge_page(world.policy, world.page[0], now, ids, 3), 0, "known already");
    cr_assert_eq(victim(&world, 3), 1);
    /* a page that claims uses at ticks which the index has not reached */
    for (int i = 0; i < 50; i++)
        swi_tick_advance(world.index);
    swi_page_note_use(world.page[1], world.index, 1);
    cr_assert_eq(policy_merge_page(world.policy, world.page[1], now, ids, 3), 0);
    cr_assert_eq(victim(&world, 3), 1);
    world_close(&world);
}

Test(policy, ticks_wrap_around, .timeout = 60)
{
    struct world world;
    world_open(&world, POLICY_LRU, 0);
    add_model(&world, MODEL, 0, 2, 100);
    policy_touch(world.policy, 0, UINT32_MAX - 1);
    policy_touch(world.policy, 1, 3); /* five ticks later */
    policy_prepare(world.policy, 5, world.now_ns);
    cr_assert_lt(policy_regret(world.policy, 0).peak, policy_regret(world.policy, 1).peak);
    cr_assert_eq(policy_last_use(world.policy, 1), 3);
    policy_touch(world.policy, 1, UINT32_MAX); /* an older use changes nothing */
    cr_assert_eq(policy_last_use(world.policy, 1), 3);
    world_close(&world);
}

/* ---- next-use -------------------------------------------------------------------------------- */

Test(policy, the_chunk_needed_furthest_in_the_future_leaves_first, .timeout = 60)
{
    struct world world;
    world_open(&world, POLICY_NEXT_USE, 0);
    add_model(&world, MODEL, 0, 8, 100);
    for (uint32_t id = 0; id < 8; id++)
        use(&world, id);
    put_cursor(&world, 0, 0, 1, 3, 5 * MS);
    cr_assert_eq(victim(&world, 8), 2, "just behind the only cursor");
    put_cursor(&world, 1, 0, 1, 1, 5 * MS);
    cr_assert_eq(victim(&world, 8), 0, "2 is next for the second cursor");
    world_close(&world);
}

Test(policy, time_counts_and_not_steps, .timeout = 60)
{
    struct world world;
    world_open(&world, POLICY_NEXT_USE, 0);
    add_model(&world, MODEL, 0, 10, 100);
    for (uint32_t id = 0; id < 10; id++)
        use(&world, id);
    put_cursor(&world, 0, 0, 1, 5, 100 * MS); /* slow: 6 is one step ahead, 100 ms */
    put_cursor(&world, 1, 0, 1, 7, MS);       /* fast: 4 is seven steps ahead, 7 ms, and 6 nine */
    policy_prepare(world.policy, swi_tick(world.index), world.now_ns);
    cr_assert(policy_needed_before(world.policy, 4, 6));
    cr_assert_not(policy_needed_before(world.policy, 6, 4));
    world_close(&world);
}

Test(policy, idle_models_leave_first_and_the_longest_idle_one_before_others, .timeout = 60)
{
    struct world world;
    world_open(&world, POLICY_NEXT_USE, 0);
    add_model(&world, MODEL, 0, 3, 100);
    add_model(&world, MODEL + 1, 3, 3, 100);
    add_model(&world, MODEL + 2, 6, 3, 100);
    for (uint32_t id = 0; id < 9; id++)
        use(&world, id);
    use(&world, 3);
    put_cursor(&world, 0, 0, 1, 0, 5 * MS);
    uint32_t first = victim(&world, 9);
    cr_assert_eq(first, 6, "its model was used longest ago, and it longest ago in it; got %u",
                 first);
    use(&world, 6);
    cr_assert_eq(victim(&world, 9), 4);
    world_close(&world);
}

Test(policy, a_cursor_silent_for_four_passes_is_idle, .timeout = 60)
{
    struct world world;
    world_open(&world, POLICY_NEXT_USE, 0);
    add_model(&world, MODEL, 0, 4, 100);
    add_model(&world, MODEL + 1, 4, 4, 100);
    for (uint32_t id = 0; id < 8; id++)
        use(&world, id);
    put_cursor(&world, 0, 0, 1, 0, 100 * MS); /* a pass takes 400 ms */
    pass_time(&world, 1500 * MS);
    cr_assert_geq(victim(&world, 8), 4, "still live");
    pass_time(&world, 200 * MS);
    cr_assert_lt(victim(&world, 8), 4, "silent for over four passes, and its model older");
    world_close(&world);
}

Test(policy, a_component_that_passes_do_not_use_is_not_expected, .timeout = 60)
{
    struct world world;
    world_open(&world, POLICY_NEXT_USE, 0);
    add_model(&world, MODEL, 0, 5, 100);
    for (uint32_t id = 0; id < 5; id++)
        use(&world, id);
    for (uint64_t pass = 1; pass < 6; pass++) {
        for (uint32_t component = 0; component < 4; component++) { /* never component 4 */
            pass_time(&world, 10 * MS);
            put_cursor(&world, 0, 0, pass, component, 10 * MS);
            use(&world, component);
        }
    }
    put_cursor(&world, 0, 0, 6, 3, 10 * MS);
    cr_assert_eq(victim(&world, 5), 4, "one step ahead, but nobody comes for it");
    world_close(&world);
}

/* Bytes of chunks [0, count) of 100 bytes that no idle chunk (id `count`) may push out. */
static uint64_t guarded_bytes(struct world *world, uint32_t count)
{
    uint64_t bytes = 0;
    policy_prepare(world->policy, swi_tick(world->index), world->now_ns);
    for (uint32_t id = 0; id < count; id++)
        bytes += policy_needed_before(world->policy, id, count) ? 100 : 0;
    return bytes;
}

Test(policy, a_lying_cursor_guards_no_more_than_its_sessions_bytes, .timeout = 60)
{
    struct world world;
    world_open(&world, POLICY_NEXT_USE, 300);
    add_model(&world, MODEL, 0, 10, 100);
    add_model(&world, MODEL + 1, 10, 2, 100);
    for (uint32_t id = 0; id < 12; id++)
        use(&world, id);
    cr_assert_eq(guarded_bytes(&world, 10), 0);
    put_cursor(&world, 0, 0, 1, 4, 1);
    cr_assert_eq(guarded_bytes(&world, 10), 300);
    /* lanes that claim to be everywhere at once */
    for (unsigned lane = 0; lane < SW_CURSOR_LANES; lane++) {
        put_cursor(&world, 0, lane, 1, lane % 10, 1);
        cr_assert_leq(guarded_bytes(&world, 10), 300);
    }
    /* garbage is harmless too */
    put_cursor(&world, 1, 0, UINT64_MAX, UINT32_MAX, UINT64_MAX);
    put_cursor(&world, 2, 0, UINT64_MAX, 9, UINT64_MAX);
    put_cursor(&world, 2, 0, 0, 9, UINT64_MAX);
    (void)victim(&world, 12);
    world_close(&world);
}

Test(policy, a_session_that_left_is_forgotten, .timeout = 60)
{
    struct world world;
    world_open(&world, POLICY_NEXT_USE, 0);
    add_model(&world, MODEL, 0, 4, 100);
    add_model(&world, MODEL + 1, 4, 4, 100);
    for (uint32_t id = 0; id < 8; id++)
        use(&world, id);
    put_cursor(&world, 0, 0, 1, 0, 5 * MS);
    cr_assert_geq(victim(&world, 8), 4);
    policy_forget_session(world.policy, 0);
    cr_assert_lt(victim(&world, 8), 4);
    policy_forget_session(world.policy, 0); /* a second time is harmless */
    world_close(&world);
}

Test(policy, chunks_that_contradict_their_model_are_refused, .timeout = 60)
{
    struct world world;
    world_open(&world, POLICY_NEXT_USE, 0);
    struct policy_chunk chunk = {.incarnation = MODEL, .ordinal = 1, .model_size = 2, .bytes = 10};
    cr_assert_eq(policy_add_chunk(world.policy, 7, &chunk), 0);
    cr_assert_eq(policy_add_chunk(world.policy, 8, &chunk), -EINVAL, "the ordinal is taken");
    chunk.ordinal = 2;
    cr_assert_eq(policy_add_chunk(world.policy, 8, &chunk), -EINVAL, "beyond the model");
    chunk.ordinal = 0;
    chunk.model_size = 3;
    cr_assert_eq(policy_add_chunk(world.policy, 8, &chunk), -EINVAL, "another size");
    policy_remove_chunk(world.policy, 7);
    cr_assert_eq(policy_add_chunk(world.policy, 8, &chunk), 0, "the model was forgotten");
    policy_remove_chunk(world.policy, 8);
    world_close(&world);
}

/* ---- passes through a model larger than the arena -------------------------------------------- */

struct scan {
    struct world world;
    struct arena *arena;
    uint64_t offset[32];
    bool resident[32];
    uint32_t busy;
};

static struct arena_regret scan_regret(void *context, uint32_t id)
{
    const struct scan *scan = context;
    if (id == scan->busy)
        return (struct arena_regret){.keep = true};
    return policy_regret(scan->world.policy, id);
}

static void bring_in(struct scan *scan, uint32_t id, uint64_t bytes)
{
    struct world *world = &scan->world;
    if (!arena_place(scan->arena, bytes, id, &scan->offset[id])) {
        struct arena_window window;
        uint32_t owners[32];
        policy_prepare(world->policy, swi_tick(world->index), world->now_ns);
        cr_assert(arena_find_window(scan->arena, bytes, scan_regret, scan, &window));
        uint32_t count = arena_owners(scan->arena, window.from, window.to, owners, 32);
        for (uint32_t i = 0; i < count; i++) {
            arena_free(scan->arena, scan->offset[owners[i]]);
            scan->resident[owners[i]] = false;
            policy_set_resident(world->policy, owners[i], false);
        }
        cr_assert(
            arena_place_within(scan->arena, window.start, window.to, bytes, id, &scan->offset[id]));
    }
    scan->resident[id] = true;
}

/* Passes of one worker through `size` chunks in an arena that holds `slots` of them; the hits of
 * the last passes, as a fraction. */
static double scan_hits(enum policy_kind kind, uint32_t size, uint32_t slots, uint64_t bytes)
{
    struct scan scan = {.arena = arena_create()};
    world_open(&scan.world, kind, 0);
    add_model(&scan.world, MODEL, 0, size, bytes);
    arena_set_limit(scan.arena, slots * bytes);
    uint32_t hits = 0, uses = 0;
    for (uint64_t pass = 1; pass <= 30; pass++) {
        for (uint32_t id = 0; id < size; id++) {
            scan.busy = id;
            pass_time(&scan.world, (scan.resident[id] ? 5 : 15) * MS);
            put_cursor(&scan.world, 0, 0, pass, id, 5 * MS);
            if (pass > 10) {
                uses++;
                hits += scan.resident[id];
            }
            if (!scan.resident[id])
                bring_in(&scan, id, bytes);
            use(&scan.world, id);
        }
    }
    arena_destroy(scan.arena);
    world_close(&scan.world);
    return (double)hits / uses;
}

Test(policy, cyclic_scans_come_close_to_the_optimum, .timeout = 60)
{
    for (uint32_t slots = 4; slots <= 12; slots += 4) {
        double optimum = (slots - 1) / 15.0; /* Belady's, for equal sizes */
        double next_use = scan_hits(POLICY_NEXT_USE, 16, slots, 64 * ARENA_UNIT);
        cr_assert_gt(next_use, 0.97 * optimum, "%u slots: %g of %g", slots, next_use, optimum);
        cr_assert_lt(scan_hits(POLICY_LRU, 16, slots, 64 * ARENA_UNIT), 0.01);
    }
}
