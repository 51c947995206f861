/* SPDX-License-Identifier: MIT */
/* Placement and window search against an exhaustive reference. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "memory/arena.h"

#define UNITS      400u
#define OWNERS     64u
#define UNIT_BYTES ARENA_UNIT

/* The reference: the owner of each unit of the space. */
struct reference {
    uint32_t owner[UNITS];
    uint32_t limit;
};

static uint32_t rnd(uint64_t *state, uint32_t below)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33) % below;
}

static void fill(struct reference *reference, uint32_t from, uint32_t count, uint32_t owner)
{
    for (uint32_t i = from; i < from + count; i++)
        reference->owner[i] = owner;
}

/* The start of the first smallest sufficient hole below the limit; UNITS: none. */
static uint32_t best_fit(const struct reference *reference, uint32_t need)
{
    uint32_t best = UNITS, best_length = UNITS + 1;
    for (uint32_t at = 0; at < UNITS;) {
        uint32_t end = at;
        while (end < UNITS && reference->owner[end] == ARENA_NOBODY)
            end++;
        uint32_t usable = (end < reference->limit ? end : reference->limit) - at;
        if (at < reference->limit && end > at && usable >= need && usable < best_length) {
            best = at;
            best_length = usable;
        }
        at = end > at ? end : at + 1;
    }
    return best;
}

/* ---- regrets --------------------------------------------------------------------------------- */

struct costs {
    struct arena_regret of[OWNERS];
};

static struct arena_regret cost_of(void *context, uint32_t owner)
{
    return ((struct costs *)context)->of[owner];
}

static bool cheaper(struct arena_regret a, struct arena_regret b)
{
    return a.peak < b.peak || (!(b.peak < a.peak) && a.weight < b.weight);
}

/* The least regret over all spans of units. Returns false if there is no such span. */
static bool least_regret(const struct reference *reference, const struct costs *costs,
                         uint32_t need, struct arena_regret *ret)
{
    bool found = false;
    for (uint32_t from = 0; from + need <= reference->limit; from++) {
        struct arena_regret sum = {.keep = false};
        uint32_t previous = ARENA_NOBODY;
        for (uint32_t at = from; at < from + need; at++) {
            uint32_t owner = reference->owner[at];
            if (owner == ARENA_NOBODY || owner == previous)
                continue;
            previous = owner;
            sum.keep = sum.keep || costs->of[owner].keep;
            sum.weight += costs->of[owner].weight;
            if (costs->of[owner].peak > sum.peak)
                sum.peak = costs->of[owner].peak;
        }
        if (!sum.keep && (!found || cheaper(sum, *ret))) {
            *ret = sum;
            found = true;
        }
    }
    return found;
}

struct world {
    struct arena *arena;
    struct reference reference;
    uint64_t offset[OWNERS];
    uint32_t units[OWNERS]; /* 0: not placed */
    uint64_t random;
};

static void world_open(struct world *world, uint64_t seed)
{
    *world = (struct world){.random = seed};
    world->arena = arena_create();
    cr_assert_not_null(world->arena);
    fill(&world->reference, 0, UNITS, ARENA_NOBODY);
    world->reference.limit = UNITS;
    arena_set_limit(world->arena, (uint64_t)UNITS * UNIT_BYTES);
}

static void release(struct world *world, uint32_t owner)
{
    arena_free(world->arena, world->offset[owner]);
    fill(&world->reference, (uint32_t)(world->offset[owner] / UNIT_BYTES), world->units[owner],
         ARENA_NOBODY);
    world->units[owner] = 0;
}

static void took(struct world *world, uint32_t owner, uint64_t offset, uint32_t units)
{
    world->offset[owner] = offset;
    world->units[owner] = units;
    uint32_t from = (uint32_t)(offset / UNIT_BYTES);
    for (uint32_t i = from; i < from + units; i++)
        cr_assert_eq(world->reference.owner[i], ARENA_NOBODY, "a range was given out twice");
    cr_assert_leq(from + units, world->reference.limit);
    fill(&world->reference, from, units, owner);
}

/* Both list the same owners in the same order. */
static void check(const struct world *world)
{
    uint32_t owners[OWNERS], place = 0;
    uint32_t count = arena_owners(world->arena, 0, UINT64_MAX, owners, OWNERS);
    for (uint32_t i = 0; i < UNITS; i++) {
        uint32_t owner = world->reference.owner[i];
        if (owner == ARENA_NOBODY || (i > 0 && owner == world->reference.owner[i - 1]))
            continue;
        cr_assert_lt(place, count);
        cr_assert_eq(owners[place], owner);
        place++;
    }
    cr_assert_eq(place, count);
}

static void try_window(struct world *world, uint32_t owner, uint32_t units)
{
    struct costs costs;
    for (uint32_t i = 0; i < OWNERS; i++) {
        costs.of[i] = (struct arena_regret){
            .keep = rnd(&world->random, 6) == 0,
            .peak = rnd(&world->random, 4),
            .weight = 1 + rnd(&world->random, 50),
        };
    }
    struct arena_regret expected = {.keep = false};
    struct arena_window window;
    bool possible = least_regret(&world->reference, &costs, units, &expected);
    bool found =
        arena_find_window(world->arena, (uint64_t)units * UNIT_BYTES, cost_of, &costs, &window);
    cr_assert_eq(found, possible);
    if (!found)
        return;
    cr_assert_float_eq(window.regret.peak, expected.peak, 0);
    cr_assert_float_eq(window.regret.weight, expected.weight, 1e-9);
    uint32_t owners[OWNERS];
    uint32_t count = arena_owners(world->arena, window.from, window.to, owners, OWNERS);
    double weight = 0;
    for (uint32_t i = 0; i < count; i++) {
        cr_assert_not(costs.of[owners[i]].keep);
        weight += costs.of[owners[i]].weight;
        release(world, owners[i]);
        check(world);
    }
    cr_assert_float_eq(weight, expected.weight, 1e-9);
    uint64_t offset;
    cr_assert(arena_place_within(world->arena, window.start, window.to,
                                 (uint64_t)units * UNIT_BYTES, owner, &offset));
    cr_assert_eq(offset, window.start);
    took(world, owner, offset, units);
}

static void try_place(struct world *world, uint32_t owner, uint32_t units)
{
    uint32_t expected = best_fit(&world->reference, units);
    uint64_t bytes = (uint64_t)units * UNIT_BYTES - rnd(&world->random, UNIT_BYTES);
    uint64_t offset;
    bool placed = arena_place(world->arena, bytes, owner, &offset);
    cr_assert_eq(placed, expected < UNITS);
    if (!placed)
        return;
    cr_assert_eq(offset, (uint64_t)expected * UNIT_BYTES);
    took(world, owner, offset, units);
}

static void change_limit(struct world *world)
{
    world->reference.limit = UNITS / 2 + rnd(&world->random, UNITS / 2 + 1);
    arena_set_limit(world->arena, (uint64_t)world->reference.limit * UNIT_BYTES);
    uint32_t last = world->reference.limit;
    for (uint32_t i = last; i < UNITS; i++)
        if (world->reference.owner[i] != ARENA_NOBODY)
            last = i + 1;
    cr_assert_eq(arena_end(world->arena), (uint64_t)last * UNIT_BYTES);
}

Test(arena, random_sequences_match_the_reference, .timeout = 60)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct world world;
        world_open(&world, seed);
        for (unsigned step = 0; step < 1500; step++) {
            uint32_t owner = rnd(&world.random, OWNERS);
            uint32_t units = 1 + rnd(&world.random, rnd(&world.random, 8) == 0 ? 120 : 16);
            if (world.units[owner] > 0)
                release(&world, owner);
            else if (rnd(&world.random, 3) == 0)
                try_window(&world, owner, units);
            else
                try_place(&world, owner, units);
            if (rnd(&world.random, 40) == 0)
                change_limit(&world);
            check(&world);
        }
        arena_destroy(world.arena);
    }
}

Test(arena, owners_are_listed_in_address_order, .timeout = 60)
{
    struct world world;
    world_open(&world, 5);
    uint64_t offset;
    for (uint32_t owner = 0; owner < 10; owner++)
        cr_assert(arena_place(world.arena, 3 * UNIT_BYTES, owner, &offset));
    uint32_t owners[4];
    uint32_t count = arena_owners(world.arena, 4 * UNIT_BYTES, 10 * UNIT_BYTES, owners, 4);
    cr_assert_eq(count, 3);
    for (uint32_t i = 0; i < count; i++)
        cr_assert_eq(owners[i], i + 1);
    cr_assert_eq(arena_owners(world.arena, 0, UINT64_MAX, owners, 4), 10, "counts beyond capacity");
    arena_destroy(world.arena);
}

static struct arena_regret by_owner(void *context, uint32_t owner)
{
    const double *weights = context;
    return (struct arena_regret){.weight = weights[owner]};
}

Test(arena, the_remainder_lies_beside_the_neighbour_that_leaves_sooner, .timeout = 60)
{
    struct world world;
    world_open(&world, 5);
    uint64_t offset;
    uint32_t third = UNITS / 3;
    for (uint32_t owner = 0; owner < 3; owner++)
        cr_assert(arena_place(world.arena, (uint64_t)third * UNIT_BYTES, owner, &offset));
    arena_set_limit(world.arena, (uint64_t)third * 3 * UNIT_BYTES);
    struct arena_window window;
    double right_leaves_first[] = {9, 1, 2};
    cr_assert(arena_find_window(world.arena, UNIT_BYTES, by_owner, right_leaves_first, &window));
    cr_assert_eq(window.from, (uint64_t)third * UNIT_BYTES);
    cr_assert_eq(window.start, window.from);
    double left_leaves_first[] = {2, 1, 9};
    cr_assert(arena_find_window(world.arena, UNIT_BYTES, by_owner, left_leaves_first, &window));
    cr_assert_eq(window.start, window.to - UNIT_BYTES);
    arena_destroy(world.arena);
}
