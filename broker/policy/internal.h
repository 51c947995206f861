/* SPDX-License-Identifier: MIT */
/* What policy.c (last uses, regrets) and policy/next_use.c (cursors, foresight) share. */
#ifndef SWB_POLICY_INTERNAL_H
#define SWB_POLICY_INTERNAL_H

#include "policy/policy.h"

#define MODEL_BUCKETS 1024u
#define TICKS_KNOWN   4096u
#define NEAR_NS       1e5   /* uses nearer than this are equally near */
#define GUARDED       2.0   /* peak of chunks that a session speaks for; recencies are at most 1 */
#define IDLE_RATE     1e-12 /* of a chunk used just now that no cursor leads to, per nanosecond */
/* What each evicted byte costs besides being needed again, in bytes per pass: a window that drops
 * more than it needs leaves a gap that fits nothing. From simulated passes through a model in
 * arenas of half to three quarters its size: 0 loses up to 4 % of the hits, more than 4 gains
 * nothing. */
#define FEWER_BYTES 4.0

struct policy_component {
    uint32_t id; /* ARENA_NOBODY: not registered */
    /* Time until the next use, as of the last policy_prepare that reached this model; infinite: no
     * live cursor leads here. */
    double until_ns;  /* within what the cursors' sessions may speak for */
    double beyond_ns; /* whether or not */
    uint32_t steps;   /* that beyond_ns is, of the cursor that comes first */
};

struct policy_model {
    struct policy_model *next; /* in its bucket */
    uint64_t incarnation;
    uint32_t last_use; /* tick of the last use of any component */
    uint64_t foreseen; /* number of the policy_prepare that until_ns is from */
    double pass_ns;    /* longest of its live cursors */
    uint32_t size;
    uint32_t chunks; /* registered */
    struct policy_component component[];
};

struct known_chunk {
    uint64_t bytes;
    uint64_t last_use_ns;
    struct policy_model *model; /* NULL: no such chunk */
    uint32_t ordinal;
    uint32_t last_use; /* tick; 0: never */
    bool resident;
};

/* A cursor as it was last seen. */
struct lane {
    uint64_t incarnation; /* 0: never used */
    uint64_t pass;
    uint64_t moved_ns;
    uint64_t pass_began_ns;
    double pass_ns; /* as the broker saw them begin, waits for the disk included; 0: not yet */
    double step_ns; /* as the client says */
    uint32_t component;
    uint32_t tick;
};

struct policy {
    enum cache_policy kind;
    uint64_t session_bytes;
    uint32_t now_tick;
    uint64_t now_ns;
    uint64_t prepared; /* number of the last policy_prepare */
    uint32_t last_tick;
    uint64_t tick_ns[TICKS_KNOWN]; /* by tick modulo TICKS_KNOWN */
    struct policy_model *models[MODEL_BUCKETS];
    struct known_chunk chunk[SWI_CHUNKS];
    struct lane lane[SWI_SESSIONS][SW_CURSOR_LANES];
    uint32_t session[SWI_SESSIONS];    /* those with a lane in use, in no order */
    uint32_t session_at[SWI_SESSIONS]; /* place there + 1; 0: not there */
    uint32_t session_count;
    uint32_t first_session; /* where the next policy_foresee begins */
};

struct policy_model *policy_find_model(struct policy *policy, uint64_t incarnation);
void policy_foresee(struct policy *policy);

#endif
