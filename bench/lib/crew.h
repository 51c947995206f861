/* SPDX-License-Identifier: MIT */
/* Worker processes of a benchmark: forked from swbench, told what to do and heard through pipes.
 *
 * A member runs one function and exits when it returns. It dies with swbench, and swbench dies
 * when a member fails: its message is on stderr already. Open clients in members only: a handle
 * does not survive the fork.
 */
#ifndef SWBENCH_LIB_CREW_H
#define SWBENCH_LIB_CREW_H

#include "lib/bench.h"

#define CREW_MAX 256

/* A member's side. */
struct seat {
    unsigned number; /* 0 … count-1 */
    int in, out;
};
typedef void (*crew_run)(struct seat *seat, void *context);
void seat_say(struct seat *seat, const void *data, size_t size);
/* Waits; the member exits when swbench has nothing more to say. */
void seat_hear(struct seat *seat, void *ret, size_t size);

struct crew {
    struct {
        pid_t pid;
        int in, out; /* as swbench sees them */
    } member[CREW_MAX];
    unsigned count;
};
/* stage: its keeper must not be held open by members. context is borrowed, a copy in each of them.
 */
void crew_start(struct crew *crew, const struct stage *stage, unsigned count, crew_run run,
                void *context);
/* To all of them. */
void crew_tell(struct crew *crew, const void *data, size_t size);
void crew_hear(struct crew *crew, unsigned member, void *ret, size_t size);
/* A byte from each: they are all so far. */
void crew_gather(struct crew *crew);
/* No more orders; waits for all of them. */
void crew_end(struct crew *crew);

/* ---- the broker of a stage
 * ----------------------------------------------------------------------- */

/* What the broker answers to a request such as {"verb": "stats"}; dies when it is not ok. The
 * caller owns the answer. */
json_t *stage_ask(const struct stage *stage, json_t *request);
/* One integer of stats; dies when there is none of that name. */
int64_t stage_stat(const struct stage *stage, const char *key);
/* Kilobytes of a process's proportional share of memory. */
int64_t bench_pss_kb(pid_t pid);
/* Sum of the bytes of the model's chunks. */
uint64_t stage_model_bytes(const struct stage *stage);

#endif
