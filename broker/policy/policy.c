/* SPDX-License-Identifier: MIT */
/* Last uses, and the two policies' regrets. Ticks are those of the index, compared modulo 2^32. */
#include "policy/policy.h"

#include <math.h>
#include <stdlib.h>

#include "core/lease.h"
#include "policy/models.h"
#include "policy/next_use.h"

#define TICKS_KNOWN 4096u
#define NEAR_NS     1e5   /* uses nearer than this count as equally near */
#define GUARDED     2.0   /* peak of chunks that a session guards; a recency is at most 1 */
#define IDLE_RATE   1e-12 /* of a chunk used just now that no cursor leads to, per nanosecond */
/* The price of each evicted byte beyond reading it again, in bytes per pass: a window that drops
 * more than it needs leaves a gap that fits nothing. From simulated passes through a model in
 * arenas of half to three quarters its size: 0 loses up to 4 % of the hits, more than 4 gains
 * nothing. */
#define FEWER_BYTES 4.0

struct policy {
    enum policy_kind kind;
    uint32_t now_tick; /* of the last policy_prepare */
    uint64_t now_ns;
    uint32_t last_tick;
    uint64_t tick_ns[TICKS_KNOWN]; /* by tick modulo TICKS_KNOWN */
    struct models models;
    struct next_use next_use;
};

struct policy *policy_create(enum policy_kind kind, uint64_t session_bytes)
{
    struct policy *policy = calloc(1, sizeof *policy);
    if (!policy)
        return NULL;
    policy->kind = kind;
    policy_set_session_bytes(policy, session_bytes);
    return policy;
}

void policy_set_kind(struct policy *policy, enum policy_kind kind)
{
    policy->kind = kind;
}

void policy_set_session_bytes(struct policy *policy, uint64_t bytes)
{
    policy->next_use.session_bytes = bytes ? bytes : UINT64_MAX;
}

void policy_destroy(struct policy *policy)
{
    if (!policy)
        return;
    models_fini(&policy->models);
    free(policy);
}

const char *policy_name(const struct policy *policy)
{
    return policy->kind == POLICY_LRU ? "lru" : "next-use";
}

/* ---- chunks ---------------------------------------------------------------------------------- */

int policy_add_chunk(struct policy *policy, uint32_t id, const struct policy_chunk *chunk)
{
    return models_add(&policy->models, id, chunk);
}

void policy_remove_chunk(struct policy *policy, uint32_t id)
{
    models_remove(&policy->models, id);
}

void policy_set_resident(struct policy *policy, uint32_t id, bool resident)
{
    policy->models.chunk[id].resident = resident;
}

/* ---- last uses ------------------------------------------------------------------------------- */

void policy_note_tick(struct policy *policy, uint32_t tick, uint64_t now_ns)
{
    policy->tick_ns[tick % TICKS_KNOWN] = now_ns;
    policy->last_tick = tick;
}

static uint64_t time_of(const struct policy *policy, uint32_t tick)
{
    uint32_t age = policy->last_tick - tick;
    /* a tick older than the ring counts as the oldest in it */
    return policy->tick_ns[(age < TICKS_KNOWN ? tick : policy->last_tick + 1) % TICKS_KNOWN];
}

/* True if tick a lies after b; the two must be less than 2^31 apart. */
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
    struct known_chunk *chunk = &policy->models.chunk[id];
    if (chunk->last_use == 0 || is_after(tick, chunk->last_use))
        used(policy, chunk, tick);
}

uint32_t policy_merge_page(struct policy *policy, const struct swi_page *page, uint32_t now_tick,
                           const uint32_t *ids, uint32_t count)
{
    uint32_t newer = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct known_chunk *chunk = &policy->models.chunk[ids[i]];
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
    return policy->models.chunk[id].last_use;
}

uint64_t policy_last_use_ns(const struct policy *policy, uint32_t id)
{
    return policy->models.chunk[id].last_use ? policy->models.chunk[id].last_use_ns : 0;
}

bool policy_observe(struct policy *policy, uint32_t session, const struct swi_page *page,
                    uint64_t now_ns)
{
    return next_use_observe(&policy->next_use, session, page, now_ns);
}

void policy_forget_session(struct policy *policy, uint32_t session)
{
    next_use_forget_session(&policy->next_use, session);
}

/* ---- regrets --------------------------------------------------------------------------------- */

void policy_prepare(struct policy *policy, uint32_t now_tick, uint64_t now_ns)
{
    policy->now_tick = now_tick;
    policy->now_ns = now_ns;
    if (policy->kind == POLICY_NEXT_USE)
        next_use_prepare(&policy->next_use, &policy->models, now_ns);
}

/* The recency of a tick, from 0 to 1. */
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

/* The expected next use of a chunk. */
struct expectation {
    bool guarded; /* by a session */
    double ns;    /* infinite: no live cursor leads to it */
};

static struct expectation expect(const struct policy *policy, const struct known_chunk *chunk)
{
    const struct policy_model *model = chunk->model;
    if (model->foreseen != policy->next_use.prepared)
        return (struct expectation){.ns = INFINITY};
    const struct policy_component *component = &model->component[chunk->ordinal];
    struct expectation expectation = {.guarded = !isinf(component->until_ns),
                                      .ns = component->until_ns};
    if (!expectation.guarded)
        expectation.ns = component->beyond_ns;
    /* After half a pass of patience, a chunk that passes skip is expected to stay unused for as
     * long again. */
    double age_ns = (double)policy->now_ns - (double)chunk->last_use_ns;
    if (chunk->resident && age_ns > 1.5 * model->pass_ns)
        expectation.ns += age_ns;
    return expectation;
}

/* Guarded chunks have the peak GUARDED. All others leave before them, model by model, the least
 * recently used model first. Inside a model the weights decide: by the time until the next use
 * where a cursor leads to the chunk, else by the last use. */
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
    const struct known_chunk *chunk = &policy->models.chunk[id];
    return policy->kind == POLICY_LRU ? lru_regret(policy, chunk) : next_use_regret(policy, chunk);
}

double policy_next_use(const struct policy *policy, uint32_t id, uint32_t *ret_steps)
{
    const struct known_chunk *chunk = &policy->models.chunk[id];
    *ret_steps = 0;
    if (policy->kind == POLICY_LRU || chunk->model->foreseen != policy->next_use.prepared)
        return INFINITY;
    *ret_steps = chunk->model->component[chunk->ordinal].steps;
    return expect(policy, chunk).ns;
}

bool policy_needed_before(const struct policy *policy, uint32_t id, uint32_t other)
{
    if (policy->kind == POLICY_LRU)
        return false; /* LRU does not look ahead */
    struct expectation mine = expect(policy, &policy->models.chunk[id]);
    struct expectation others = expect(policy, &policy->models.chunk[other]);
    if (mine.guarded != others.guarded)
        return mine.guarded;
    /* unguarded chunks compare inside one model only */
    if (!mine.guarded && policy->models.chunk[id].model != policy->models.chunk[other].model)
        return false;
    return !isinf(mine.ns) && mine.ns <= others.ns;
}
