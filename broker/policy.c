/* Last uses by chunk id, in ticks of the index, compared modulo 2^32. */
#include "policy.h"

#include <assert.h>
#include <stdlib.h>

#include "core/lease.h"

struct known_chunk {
    uint64_t bytes; /* 0: no such chunk */
    uint32_t last_use;
};

struct policy {
    enum cache_policy kind;
    struct known_chunk chunk[SWI_CHUNKS];
};

struct policy *policy_create(enum cache_policy kind)
{
    struct policy *policy = calloc(1, sizeof *policy);
    if (policy)
        policy->kind = kind;
    return policy;
}

void policy_destroy(struct policy *policy)
{
    free(policy);
}

const char *policy_name(const struct policy *policy)
{
    return policy->kind == CACHE_POLICY_LRU ? "lru" : "next-use";
}

void policy_add_chunk(struct policy *policy, uint32_t id, uint64_t bytes)
{
    policy->chunk[id] = (struct known_chunk){.bytes = bytes};
}

void policy_remove_chunk(struct policy *policy, uint32_t id)
{
    policy->chunk[id] = (struct known_chunk){.bytes = 0};
}

/* Whether tick a lies after b, for ticks less than 2^31 apart. */
static bool is_after(uint32_t a, uint32_t b)
{
    return a != b && a - b < UINT32_C(1) << 31;
}

void policy_touch(struct policy *policy, uint32_t id, uint32_t tick)
{
    struct known_chunk *chunk = &policy->chunk[id];
    if (chunk->last_use == 0 || is_after(tick, chunk->last_use))
        chunk->last_use = tick;
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
        chunk->last_use = stamp;
        newer++;
    }
    return newer;
}

uint32_t policy_last_use(const struct policy *policy, uint32_t id)
{
    return policy->chunk[id].last_use;
}

struct arena_regret policy_regret(const struct policy *policy, uint32_t id, uint32_t now_tick)
{
    const struct known_chunk *chunk = &policy->chunk[id];
    uint32_t age = now_tick - chunk->last_use;
    return (struct arena_regret){
        .peak = (double)(UINT32_MAX - age) + 1, /* over the 0 of a free run */
        .weight = (double)chunk->bytes,
    };
}
