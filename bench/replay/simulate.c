/* SPDX-License-Identifier: MIT */
/* A cache without bytes. The index and the client pages exist, because the policy reads them as in
 * the broker.
 */
#include "replay/simulate.h"

#include <errno.h>
#include <stdlib.h>

#include "core/lease.h"
#include "memory/arena.h"
#include "policy/policy.h"

#define TICK_NS UINT64_C(10000000) /* the broker's, while clients are active */

struct simulation {
    const struct trace_log *trace;
    struct arena *arena;
    struct policy *policy;
    struct swi_index *index;
    struct swi_page *page[SWI_SESSIONS];
    uint64_t now_ns, next_tick_ns;
    uint64_t *offset;                 /* [chunks]: of a resident chunk */
    uint32_t *resident, *resident_at; /* ids in no order; by chunk: place there + 1 */
    uint32_t resident_count;
    uint32_t *owners; /* scratch */
    struct simulated result;
    bool counted; /* the present use */
};

/* ---- time ---------------------------------------------------------------------------------------
 */

static void tick(struct simulation *sim)
{
    swi_tick_advance(sim->index);
    policy_note_tick(sim->policy, swi_tick(sim->index), sim->now_ns);
}

static void merge(struct simulation *sim)
{
    for (uint32_t session = 0; session < SWI_SESSIONS; session++) {
        if (!sim->page[session])
            continue;
        (void)policy_observe(sim->policy, session, sim->page[session], sim->now_ns);
        (void)policy_merge_page(sim->policy, sim->page[session], swi_tick(sim->index),
                                sim->resident, sim->resident_count);
    }
}

static void advance(struct simulation *sim, uint64_t now_ns)
{
    sim->now_ns = now_ns;
    if (now_ns < sim->next_tick_ns)
        return;
    merge(sim);
    tick(sim);
    sim->next_tick_ns = now_ns + TICK_NS;
}

/* ---- chunks -------------------------------------------------------------------------------------
 */

static void enter(struct simulation *sim, uint32_t chunk, uint64_t offset)
{
    sim->offset[chunk] = offset;
    sim->resident[sim->resident_count++] = chunk;
    sim->resident_at[chunk] = sim->resident_count;
    tick(sim);
    policy_touch(sim->policy, chunk, swi_tick(sim->index));
    policy_set_resident(sim->policy, chunk, true);
    if (sim->counted) {
        sim->result.loads++;
        sim->result.load_bytes += sim->trace->chunks[chunk].bytes;
    }
}

static void leave(struct simulation *sim, uint32_t chunk)
{
    arena_free(sim->arena, sim->offset[chunk]);
    uint32_t moved = sim->resident[--sim->resident_count];
    sim->resident[sim->resident_at[chunk] - 1] = moved;
    sim->resident_at[moved] = sim->resident_at[chunk];
    sim->resident_at[chunk] = 0;
    policy_set_resident(sim->policy, chunk, false);
    sim->result.evictions += sim->counted;
}

static struct arena_regret regret_of(void *context, uint32_t id)
{
    const struct simulation *sim = context;
    return policy_regret(sim->policy, id);
}

static void load(struct simulation *sim, uint32_t chunk)
{
    uint64_t bytes = sim->trace->chunks[chunk].bytes;
    uint64_t offset;
    if (!arena_place(sim->arena, bytes, chunk, &offset)) {
        struct arena_window window;
        merge(sim);
        policy_prepare(sim->policy, swi_tick(sim->index), sim->now_ns);
        if (!arena_find_window(sim->arena, bytes, regret_of, sim, &window)) {
            sim->result.too_large += sim->counted;
            return;
        }
        uint32_t count =
            arena_owners(sim->arena, window.from, window.to, sim->owners, sim->trace->chunk_count);
        for (uint32_t i = 0; i < count; i++)
            leave(sim, sim->owners[i]);
        (void)arena_place_within(sim->arena, window.start, window.to, bytes, chunk, &offset);
    }
    enter(sim, chunk, offset);
}

static void use(struct simulation *sim, struct swi_page *page, uint32_t chunk)
{
    uint64_t bytes = sim->trace->chunks[chunk].bytes;
    bool hit = sim->resident_at[chunk] > 0;
    if (sim->counted) {
        sim->result.uses++;
        sim->result.bytes += bytes;
        sim->result.hits += hit;
        sim->result.hit_bytes += hit ? bytes : 0;
    }
    if (!hit) {
        tick(sim);
        policy_touch(sim->policy, chunk, swi_tick(sim->index));
        load(sim, chunk);
    }
    swi_page_note_use(page, sim->index, chunk);
}

/* ---- replay -------------------------------------------------------------------------------------
 */

static struct swi_page *client_page_of(struct simulation *sim, uint32_t session)
{
    if (!sim->page[session])
        sim->page[session] = calloc(1, sizeof(struct swi_page));
    return sim->page[session];
}

static int replay(struct simulation *sim, size_t from, struct swi_error *error)
{
    size_t uses = 0;
    for (size_t i = 0; i < sim->trace->event_count; i++) {
        const struct trace_event *event = &sim->trace->events[i];
        advance(sim, event->time_ns);
        if (event->kind == TRACE_GONE) {
            policy_forget_session(sim->policy, event->session);
            free(sim->page[event->session]);
            sim->page[event->session] = NULL;
            continue;
        }
        struct swi_page *page = client_page_of(sim, event->session);
        if (!page)
            return swi_fail(error, -ENOMEM, "out of memory");
        if (event->kind == TRACE_CURSOR) {
            const struct swi_cursor_value value = {.incarnation = event->incarnation,
                                                   .pass = event->pass,
                                                   .step_ns = event->step_ns,
                                                   .component = event->component};
            swi_cursor_put(page, sim->index, event->lane, &value);
            continue;
        }
        sim->counted = uses++ >= from;
        use(sim, page, event->chunk);
    }
    return 0;
}

static int add_chunks(struct simulation *sim, struct swi_error *error)
{
    for (uint32_t i = 0; i < sim->trace->chunk_count; i++) {
        const struct trace_chunk *chunk = &sim->trace->chunks[i];
        int result = policy_add_chunk(sim->policy, i,
                                      &(struct policy_chunk){.incarnation = chunk->incarnation,
                                                             .ordinal = chunk->ordinal,
                                                             .model_size = chunk->model_size,
                                                             .bytes = chunk->bytes});
        if (result == -EINVAL)
            return swi_fail(error, SW_EFORMAT, "%.300s contradicts another chunk of its model",
                            chunk->name);
        if (result < 0)
            return swi_fail(error, result, "out of memory");
    }
    return 0;
}

static void destroy(struct simulation *sim)
{
    for (uint32_t i = 0; i < SWI_SESSIONS; i++)
        free(sim->page[i]);
    if (sim->arena)
        arena_destroy(sim->arena);
    policy_destroy(sim->policy);
    free(sim->index);
    free(sim->offset);
    free(sim->resident);
    free(sim->resident_at);
    free(sim->owners);
    free(sim);
}

static struct simulation *create(const struct trace_log *trace,
                                 const struct simulate_options *options)
{
    struct simulation *sim = calloc(1, sizeof *sim);
    if (!sim)
        return NULL;
    size_t count = trace->chunk_count + 1u;
    sim->trace = trace;
    sim->arena = arena_create();
    /* half of the cache is also the broker's bound on what one session may keep */
    sim->policy = policy_create(options->policy, options->budget / 2);
    sim->index = calloc(1, sizeof *sim->index);
    sim->offset = calloc(count, sizeof sim->offset[0]);
    sim->resident = calloc(count, sizeof sim->resident[0]);
    sim->resident_at = calloc(count, sizeof sim->resident_at[0]);
    sim->owners = calloc(count, sizeof sim->owners[0]);
    if (sim->arena && sim->policy && sim->index && sim->offset && sim->resident &&
        sim->resident_at && sim->owners)
        return sim;
    destroy(sim);
    return NULL;
}

int simulate(const struct trace_log *trace, const struct simulate_options *options,
             struct simulated *ret, struct swi_error *error)
{
    struct simulation *sim = create(trace, options);
    if (!sim)
        return swi_fail(error, -ENOMEM, "out of memory");
    swi_index_init(sim->index, 1, options->budget);
    arena_set_limit(sim->arena, options->budget / ARENA_UNIT * ARENA_UNIT);
    int result = add_chunks(sim, error);
    if (result == 0)
        result = replay(sim, options->from, error);
    if (result == 0)
        *ret = sim->result;
    destroy(sim);
    return result;
}
