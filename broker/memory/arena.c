/* SPDX-License-Identifier: MIT */
/* A doubly linked list of runs in address order, in an array. Every operation walks the list: a
 * placement happens once per read of a chunk, which takes at least a hundred times as long.
 */
#include "memory/arena.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#define RUNS_MAX (2 * SWI_CHUNKS + 2) /* each id owns one run, with a free run between any two */
#define NONE     UINT32_MAX

struct run {
    uint64_t offset, bytes;
    uint32_t owner; /* ARENA_NOBODY: free */
    uint32_t previous, next;
};

/* One run as the window search sees it. */
struct candidate {
    uint64_t offset, end;
    struct arena_regret regret;
    double weight_before; /* of all candidates before this one */
};

/* The best window so far: candidates [left, right); right 0: none. */
struct found {
    uint32_t left, right;
    struct arena_regret regret;
};

struct arena {
    struct run *run;             /* [RUNS_MAX] */
    struct candidate *candidate; /* [RUNS_MAX], scratch of the window search */
    uint32_t candidates;         /* their number */
    uint32_t *peaks;             /* [RUNS_MAX], scratch: candidates with falling peaks */
    uint32_t first, last;
    uint32_t spare; /* list of unused elements, by next */
    uint32_t fresh; /* the first element that was never used */
    uint64_t limit, end;
};

static uint64_t round_up(uint64_t value, uint64_t unit)
{
    return (value + unit - 1) / unit * unit;
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t arena_range_bytes(uint64_t bytes)
{
    return round_up(bytes, ARENA_UNIT);
}

struct arena *arena_create(void)
{
    struct arena *arena = calloc(1, sizeof *arena);
    if (!arena)
        return NULL;
    arena->run = calloc(RUNS_MAX, sizeof *arena->run);
    arena->candidate = calloc(RUNS_MAX, sizeof *arena->candidate);
    arena->peaks = calloc(RUNS_MAX, sizeof *arena->peaks);
    arena->first = arena->last = arena->spare = NONE;
    if (arena->run && arena->candidate && arena->peaks)
        return arena;
    arena_destroy(arena);
    return NULL;
}

void arena_destroy(struct arena *arena)
{
    if (!arena)
        return;
    free(arena->run);
    free(arena->candidate);
    free(arena->peaks);
    free(arena);
}

/* ---- the list -------------------------------------------------------------------------------- */

/* Inserts a run after `previous` (NONE: at the front). */
static uint32_t insert(struct arena *arena, uint32_t previous, uint64_t offset, uint64_t bytes,
                       uint32_t owner)
{
    uint32_t at = arena->spare;
    if (at != NONE)
        arena->spare = arena->run[at].next;
    else
        at = arena->fresh++;
    assert(at < RUNS_MAX && "more runs than chunk ids allow");
    uint32_t next = previous == NONE ? arena->first : arena->run[previous].next;
    arena->run[at] = (struct run){
        .offset = offset, .bytes = bytes, .owner = owner, .previous = previous, .next = next};
    *(previous == NONE ? &arena->first : &arena->run[previous].next) = at;
    *(next == NONE ? &arena->last : &arena->run[next].previous) = at;
    return at;
}

static void drop(struct arena *arena, uint32_t at)
{
    struct run *run = &arena->run[at];
    *(run->previous == NONE ? &arena->first : &arena->run[run->previous].next) = run->next;
    *(run->next == NONE ? &arena->last : &arena->run[run->next].previous) = run->previous;
    run->next = arena->spare;
    arena->spare = at;
}

static bool is_free(const struct arena *arena, uint32_t at)
{
    return at != NONE && arena->run[at].owner == ARENA_NOBODY;
}

/* Sets `end` to the limit, or to the end of the last owned run if that lies beyond the limit. */
static void settle_end(struct arena *arena)
{
    uint64_t owned = 0;
    if (arena->last != NONE) {
        const struct run *last = &arena->run[arena->last];
        owned = is_free(arena, arena->last) ? last->offset : last->offset + last->bytes;
    }
    arena->end = owned > arena->limit ? owned : arena->limit;
    if (is_free(arena, arena->last)) {
        if (owned >= arena->end)
            drop(arena, arena->last);
        else
            arena->run[arena->last].bytes = arena->end - owned;
    } else if (owned < arena->end) {
        insert(arena, arena->last, owned, arena->end - owned, ARENA_NOBODY);
    }
}

void arena_set_limit(struct arena *arena, uint64_t limit)
{
    assert(limit % ARENA_UNIT == 0);
    arena->limit = limit;
    settle_end(arena);
}

uint64_t arena_limit(const struct arena *arena)
{
    return arena->limit;
}

uint64_t arena_end(const struct arena *arena)
{
    return arena->end;
}

uint64_t arena_free_tail(const struct arena *arena)
{
    return arena->end == arena->limit && is_free(arena, arena->last)
               ? arena->run[arena->last].offset
               : arena->limit;
}

/* ---- placement ------------------------------------------------------------------------------- */

/* Cuts [start, start + bytes) out of a free run. */
static void take(struct arena *arena, uint32_t at, uint64_t start, uint64_t bytes, uint32_t owner)
{
    struct run *hole = &arena->run[at];
    uint64_t before = start - hole->offset;
    uint64_t after = hole->bytes - before - bytes;
    if (before > 0)
        insert(arena, hole->previous, hole->offset, before, ARENA_NOBODY);
    hole->offset = start;
    hole->bytes = bytes;
    hole->owner = owner;
    if (after > 0)
        insert(arena, at, start + bytes, after, ARENA_NOBODY);
}

bool arena_place(struct arena *arena, uint64_t bytes, uint32_t owner, uint64_t *ret_offset)
{
    return arena_place_within(arena, 0, arena->limit, bytes, owner, ret_offset);
}

bool arena_place_within(struct arena *arena, uint64_t from, uint64_t to, uint64_t bytes,
                        uint32_t owner, uint64_t *ret_offset)
{
    bytes = arena_range_bytes(bytes);
    assert(bytes > 0 && owner != ARENA_NOBODY);
    to = min_u64(to, arena->limit);
    uint32_t best = NONE;
    uint64_t best_start = 0;
    uint64_t best_left = UINT64_MAX;
    for (uint32_t at = arena->first; at != NONE; at = arena->run[at].next) {
        const struct run *run = &arena->run[at];
        if (run->offset >= to)
            break;
        if (!is_free(arena, at) || run->offset + run->bytes <= from)
            continue;
        uint64_t start = run->offset > from ? run->offset : from;
        uint64_t end = min_u64(run->offset + run->bytes, to);
        if (start >= end || end - start < bytes || end - start - bytes >= best_left)
            continue;
        best = at;
        best_start = start;
        best_left = end - start - bytes;
    }
    if (best == NONE)
        return false;
    take(arena, best, best_start, bytes, owner);
    *ret_offset = best_start;
    return true;
}

void arena_free(struct arena *arena, uint64_t offset)
{
    uint32_t at = arena->first;
    while (at != NONE && arena->run[at].offset != offset)
        at = arena->run[at].next;
    assert(at != NONE && !is_free(arena, at) && "only an owned range can be freed");
    struct run *run = &arena->run[at];
    run->owner = ARENA_NOBODY;
    uint32_t next = run->next;
    if (is_free(arena, next)) {
        run->bytes += arena->run[next].bytes;
        drop(arena, next);
    }
    uint32_t previous = run->previous;
    if (is_free(arena, previous)) {
        arena->run[previous].bytes += run->bytes;
        drop(arena, at);
    }
    settle_end(arena);
}

/* ---- the window of least regret -------------------------------------------------------------- */

static void list_candidates(struct arena *arena, arena_regret_fn regret, void *context)
{
    uint32_t count = 0;
    double weight = 0;
    for (uint32_t at = arena->first; at != NONE; at = arena->run[at].next) {
        const struct run *run = &arena->run[at];
        if (run->offset >= arena->limit)
            break;
        struct candidate *candidate = &arena->candidate[count++];
        candidate->offset = run->offset;
        candidate->end = run->offset + run->bytes;
        candidate->regret = (struct arena_regret){.keep = false};
        if (run->owner != ARENA_NOBODY)
            candidate->regret = regret(context, run->owner);
        candidate->weight_before = weight;
        if (!candidate->regret.keep)
            weight += candidate->regret.weight;
        /* a chunk that crosses a lowered limit frees only its part below */
        candidate->end = min_u64(candidate->end, arena->limit);
    }
    arena->candidates = count;
}

static bool better(const struct arena_regret *a, const struct arena_regret *b)
{
    return a->peak < b->peak || (!(b->peak < a->peak) && a->weight < b->weight);
}

/* The regret per byte of a neighbour; infinite for a kept one and for the ends of the arena. */
static double density(const struct arena *arena, uint32_t at)
{
    if (at >= arena->candidates || arena->candidate[at].regret.keep)
        return (double)INFINITY;
    const struct candidate *candidate = &arena->candidate[at];
    return candidate->regret.weight / (double)(candidate->end - candidate->offset);
}

/* Candidates [first, last) are evictable or free. Considers, for each left end, the shortest
 * sufficient window: a longer one costs at least as much. Both ends only move forward, so this is
 * linear. `peaks` holds those candidates in the window whose peak no later one exceeds; its head is
 * the window's peak. */
static bool search_stretch(struct arena *arena, uint32_t first, uint32_t last, uint64_t bytes,
                           struct found *best)
{
    const struct candidate *all = arena->candidate;
    uint32_t head = 0, tail = 0;
    uint32_t right = first; /* one past the window */
    bool any = best->right > 0;
    for (uint32_t left = first; left < last; left++) {
        if (head < tail && arena->peaks[head] < left)
            head++;
        uint64_t need = all[left].offset + bytes;
        while (right < last && (right <= left || all[right - 1].end < need)) {
            while (tail > head && all[arena->peaks[tail - 1]].regret.peak <= all[right].regret.peak)
                tail--;
            arena->peaks[tail++] = right++;
        }
        if (all[right - 1].end < need)
            break; /* the windows of later left ends end even further on */
        struct arena_regret regret = {
            .peak = all[arena->peaks[head]].regret.peak,
            .weight = all[right - 1].weight_before + all[right - 1].regret.weight -
                      all[left].weight_before,
        };
        if (!any || better(&regret, &best->regret))
            *best = (struct found){.left = left, .right = right, .regret = regret};
        any = true;
    }
    return any;
}

bool arena_find_window(struct arena *arena, uint64_t bytes, arena_regret_fn regret, void *context,
                       struct arena_window *ret)
{
    bytes = arena_range_bytes(bytes);
    assert(bytes > 0);
    list_candidates(arena, regret, context);
    struct found best = {.right = 0};
    bool found = false;
    for (uint32_t first = 0; first < arena->candidates;) {
        uint32_t last = first;
        while (last < arena->candidates && !arena->candidate[last].regret.keep)
            last++;
        if (last > first)
            found = search_stretch(arena, first, last, bytes, &best);
        first = last + 1;
    }
    if (!found)
        return false;
    uint64_t from = arena->candidate[best.left].offset;
    uint64_t to = arena->candidate[best.right - 1].end;
    bool to_the_right = density(arena, best.left - 1) < density(arena, best.right);
    *ret = (struct arena_window){
        .from = from, .to = to, .start = to_the_right ? to - bytes : from, .regret = best.regret};
    return true;
}

uint32_t arena_owners(const struct arena *arena, uint64_t from, uint64_t to, uint32_t *owners,
                      uint32_t capacity)
{
    uint32_t count = 0;
    for (uint32_t at = arena->first; at != NONE; at = arena->run[at].next) {
        const struct run *run = &arena->run[at];
        if (run->owner == ARENA_NOBODY || run->offset + run->bytes <= from || run->offset >= to)
            continue;
        if (count < capacity)
            owners[count] = run->owner;
        count++;
    }
    return count;
}
