/* The rule of bound.h: whole chunks are kept in pieces, and pieces that end last go first. */
#include "bound.h"

#include <errno.h>
#include <stdlib.h>

struct kept {
    uint64_t bytes; /* of the chunk that are kept; 0: not in the list */
    size_t until;   /* the use that its interval ends at */
    uint32_t at;    /* place in the list while bytes > 0 */
};

struct state {
    struct kept *kept; /* [chunks] */
    uint32_t *list;    /* chunks that are kept, in no order */
    uint32_t length;
    uint64_t sum; /* of kept bytes */
    size_t *next; /* [count]: the next use of the same chunk; SIZE_MAX: none */
};

static void drop(struct state *state, uint32_t chunk)
{
    struct kept *kept = &state->kept[chunk];
    uint32_t moved = state->list[--state->length];
    state->list[kept->at] = moved;
    state->kept[moved].at = kept->at;
    state->sum -= kept->bytes;
    kept->bytes = 0;
}

static void keep(struct state *state, uint32_t chunk, uint64_t bytes, size_t until)
{
    state->kept[chunk] = (struct kept){.bytes = bytes, .until = until, .at = state->length};
    state->list[state->length++] = chunk;
    state->sum += bytes;
}

/* Gives up bytes, those whose interval ends last first, until no more than `room` are kept. */
static void fit(struct state *state, uint64_t room)
{
    while (state->sum > room) {
        uint32_t last = state->list[0];
        for (uint32_t i = 1; i < state->length; i++) {
            if (state->kept[state->list[i]].until > state->kept[last].until)
                last = state->list[i];
        }
        uint64_t excess = state->sum - room;
        struct kept *kept = &state->kept[last];
        if (kept->bytes <= excess) {
            drop(state, last);
        } else {
            kept->bytes -= excess;
            state->sum -= excess;
        }
    }
}

static void link_uses(const struct bound_problem *problem, struct state *state)
{
    for (uint32_t chunk = 0; chunk < problem->chunks; chunk++)
        state->kept[chunk].until = SIZE_MAX;
    for (size_t i = problem->count; i-- > 0;) {
        struct kept *kept = &state->kept[problem->uses[i]];
        state->next[i] = kept->until;
        kept->until = i;
    }
}

static uint64_t run(const struct bound_problem *problem, struct state *state)
{
    uint64_t hits = 0;
    for (size_t i = 0; i < problem->count; i++) {
        uint32_t chunk = problem->uses[i];
        uint64_t bytes = problem->bytes[chunk];
        if (bytes > problem->budget)
            continue;
        if (state->kept[chunk].bytes > 0) {
            hits += state->kept[chunk].bytes;
            drop(state, chunk);
        }
        fit(state, problem->budget - bytes);
        if (state->next[i] != SIZE_MAX && state->next[i] >= problem->from)
            keep(state, chunk, bytes, state->next[i]);
    }
    return hits;
}

int bound_hit_bytes(const struct bound_problem *problem, uint64_t *ret_bytes)
{
    struct state state = {.length = 0};
    state.kept = calloc(problem->chunks + 1u, sizeof state.kept[0]);
    state.list = calloc(problem->chunks + 1u, sizeof state.list[0]);
    state.next = calloc(problem->count + 1u, sizeof state.next[0]);
    int result = state.kept && state.list && state.next ? 0 : -ENOMEM;
    if (result == 0) {
        link_uses(problem, &state);
        *ret_bytes = run(problem, &state);
    }
    free(state.kept);
    free(state.list);
    free(state.next);
    return result;
}
