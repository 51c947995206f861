/* SPDX-License-Identifier: MIT */
/* Last uses by chunk id, in ticks of the index compared modulo 2^32, and the two policies over
 * them. The foresight of next-use is in policy/next_use.c.
 */
#include "policy/internal.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "core/lease.h"

struct policy *policy_create(enum cache_policy kind, uint64_t session_bytes)
{
    struct policy *policy = calloc(1, sizeof *policy);
    if (!policy)
        return NULL;
    policy->kind = kind;
    policy_set_session_bytes(policy, session_bytes);
    return policy;
}

void policy_set_kind(struct policy *policy, enum cache_policy kind)
{
    policy->kind = kind;
}

void policy_set_session_bytes(struct policy *policy, uint64_t bytes)
{
    policy->session_bytes = bytes ? bytes : UINT64_MAX;
}

void policy_destroy(struct policy *policy)
{
    if (!policy)
        return;
    for (unsigned i = 0; i < MODEL_BUCKETS; i++) {
        struct policy_model *model = policy->models[i];
        while (model) {
            struct policy_model *next = model->next;
            free(model);
            model = next;
        }
    }
    free(policy);
}

const char *policy_name(const struct policy *policy)
{
    return policy->kind == CACHE_POLICY_LRU ? "lru" : "next-use";
}

/* ---- chunks and models ------------------------------------------------------------------------
 */

static struct policy_model **bucket_of(struct policy *policy, uint64_t incarnation)
{
    return &policy->models[incarnation * UINT64_C(0x9e3779b97f4a7c15) >> 54];
}
_Static_assert(MODEL_BUCKETS == 1 << (64 - 54), "the hash gives a bucket");

struct policy_model *policy_find_model(struct policy *policy, uint64_t incarnation)
{
    struct policy_model *model = *bucket_of(policy, incarnation);
    while (model && model->incarnation != incarnation)
        model = model->next;
    return model;
}

static struct policy_model *add_model(struct policy *policy, uint64_t incarnation, uint32_t size)
{
    struct policy_model *model = calloc(1, sizeof *model + size * sizeof model->component[0]);
    if (!model)
        return NULL;
    model->incarnation = incarnation;
    model->size = size;
    for (uint32_t i = 0; i < size; i++)
        model->component[i] = (struct policy_component){.id = ARENA_NOBODY};
    struct policy_model **bucket = bucket_of(policy, incarnation);
    model->next = *bucket;
    *bucket = model;
    return model;
}

int policy_add_chunk(struct policy *policy, uint32_t id, const struct policy_chunk *chunk)
{
    if (chunk->ordinal >= chunk->model_size || chunk->model_size > SWI_CHUNKS)
        return -EINVAL;
    struct policy_model *model = policy_find_model(policy, chunk->incarnation);
    if (!model)
        model = add_model(policy, chunk->incarnation, chunk->model_size);
    if (!model)
        return -ENOMEM;
    if (model->size != chunk->model_size || model->component[chunk->ordinal].id != ARENA_NOBODY)
        return -EINVAL;
    model->component[chunk->ordinal].id = id;
    model->chunks++;
    policy->chunk[id] =
        (struct known_chunk){.bytes = chunk->bytes, .model = model, .ordinal = chunk->ordinal};
    return 0;
}

void policy_remove_chunk(struct policy *policy, uint32_t id)
{
    struct policy_model *model = policy->chunk[id].model;
    assert(model);
    model->component[policy->chunk[id].ordinal].id = ARENA_NOBODY;
    policy->chunk[id] = (struct known_chunk){.bytes = 0};
    if (--model->chunks > 0)
        return;
    struct policy_model **link = bucket_of(policy, model->incarnation);
    while (*link != model)
        link = &(*link)->next;
    *link = model->next;
    free(model);
}

void policy_set_resident(struct policy *policy, uint32_t id, bool resident)
{
    policy->chunk[id].resident = resident;
}

/* ---- last uses ---------------------------------------------------------------------------------
 */

void policy_note_tick(struct policy *policy, uint32_t tick, uint64_t now_ns)
{
    policy->tick_ns[tick % TICKS_KNOWN] = now_ns;
    policy->last_tick = tick;
}

static uint64_t time_of(const struct policy *policy, uint32_t tick)
{
    uint32_t age = policy->last_tick - tick;
    /* older than the ring reaches: its oldest */
    return policy->tick_ns[(age < TICKS_KNOWN ? tick : policy->last_tick + 1) % TICKS_KNOWN];
}

/* Whether tick a lies after b, for ticks less than 2^31 apart. */
static bool is_after(uint32_t a, uint32_t b)
{
    return a != b && a - b < UINT32_C(1) << 31;
}

static void used(const struct policy *policy, struct known_chunk *chunk, uint32_t tick)
{
    chunk->last_use = tick;
    chunk->last_use_ns = time_of(policy, tick);
    if (chunk->model->last_use == 0 || is_after(tick, chunk->model->last_use))
        chunk->model->last_use = tick;
}

void policy_touch(struct policy *policy, uint32_t id, uint32_t tick)
{
    struct known_chunk *chunk = &policy->chunk[id];
    if (chunk->last_use == 0 || is_after(tick, chunk->last_use))
        used(policy, chunk, tick);
}

uint32_t policy_merge_page(struct policy *policy, const struct swi_page *page, uint32_t now_tick,
                           const uint32_t *ids, uint32_t count)
{
    uint32_t newer = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct known_chunk *chunk = &policy->chunk[ids[i]];
        uint32_t stamp = swi_page_last_use(page, ids[i]);
        if (stamp == 0 || is_after(stamp, now_tick) || !is_after(stamp, chunk->last_use))
            continue;
        used(policy, chunk, stamp);
        newer++;
    }
    return newer;
}

uint32_t policy_last_use(const struct policy *policy, uint32_t id)
{
    return policy->chunk[id].last_use;
}

uint64_t policy_last_use_ns(const struct policy *policy, uint32_t id)
{
    return policy->chunk[id].last_use ? policy->chunk[id].last_use_ns : 0;
}

/* ---- regrets ------------------------------------------------------------------------------------
 */

void policy_prepare(struct policy *policy, uint32_t now_tick, uint64_t now_ns)
{
    policy->now_tick = now_tick;
    policy->now_ns = now_ns;
    if (policy->kind == CACHE_POLICY_NEXT_USE)
        policy_foresee(policy);
}

/* 0 … 1: how recent a tick is. */
static double recency(const struct policy *policy, uint32_t tick)
{
    return ((double)(UINT32_MAX - (policy->now_tick - tick)) + 1) / 4294967296.0;
}

static struct arena_regret lru_regret(const struct policy *policy, const struct known_chunk *chunk)
{
    return (struct arena_regret){
        .peak = recency(policy, chunk->last_use),
        .weight = (double)chunk->bytes,
    };
}

/* When a chunk is expected to be used, and whether a session speaks for it. */
struct expectation {
    bool guarded;
    double ns; /* infinite: no live cursor leads to it */
};

static struct expectation expect(const struct policy *policy, const struct known_chunk *chunk)
{
    const struct policy_model *model = chunk->model;
    if (model->foreseen != policy->prepared)
        return (struct expectation){.ns = INFINITY};
    const struct policy_component *component = &model->component[chunk->ordinal];
    struct expectation expectation = {.guarded = !isinf(component->until_ns),
                                      .ns = component->until_ns};
    if (!expectation.guarded)
        expectation.ns = component->beyond_ns;
    /* passes have gone by without it: half a pass of patience, then as long again */
    double age_ns = (double)policy->now_ns - (double)chunk->last_use_ns;
    if (chunk->resident && age_ns > 1.5 * model->pass_ns)
        expectation.ns += age_ns;
    return expectation;
}

/* Guarded chunks have the peak GUARDED; all others leave before them, model by model, the one used
 * longest ago first. Inside a model the weights decide: by time until use where a cursor leads to
 * the chunk, else by last use. */
static struct arena_regret next_use_regret(const struct policy *policy,
                                           const struct known_chunk *chunk)
{
    struct expectation expectation = expect(policy, chunk);
    double rate = IDLE_RATE / (1 + (double)(policy->now_tick - chunk->last_use));
    if (!isinf(expectation.ns))
        rate = 1 / (expectation.ns + NEAR_NS) + FEWER_BYTES / chunk->model->pass_ns;
    return (struct arena_regret){
        .peak = expectation.guarded ? GUARDED : recency(policy, chunk->model->last_use),
        .weight = (double)chunk->bytes * rate,
    };
}

struct arena_regret policy_regret(const struct policy *policy, uint32_t id)
{
    const struct known_chunk *chunk = &policy->chunk[id];
    return policy->kind == CACHE_POLICY_LRU ? lru_regret(policy, chunk)
                                            : next_use_regret(policy, chunk);
}

double policy_next_use(const struct policy *policy, uint32_t id, uint32_t *ret_steps)
{
    const struct known_chunk *chunk = &policy->chunk[id];
    *ret_steps = 0;
    if (policy->kind == CACHE_POLICY_LRU || chunk->model->foreseen != policy->prepared)
        return INFINITY;
    *ret_steps = chunk->model->component[chunk->ordinal].steps;
    return expect(policy, chunk).ns;
}

bool policy_needed_before(const struct policy *policy, uint32_t id, uint32_t other)
{
    if (policy->kind == CACHE_POLICY_LRU)
        return false; /* it knows nothing of the future */
    struct expectation mine = expect(policy, &policy->chunk[id]);
    struct expectation others = expect(policy, &policy->chunk[other]);
    if (mine.guarded != others.guarded)
        return mine.guarded;
    /* what nobody speaks for is compared inside its model only */
    if (!mine.guarded && policy->chunk[id].model != policy->chunk[other].model)
        return false;
    return !isinf(mine.ns) && mine.ns <= others.ns;
}
