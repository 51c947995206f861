/* SPDX-License-Identifier: MIT */
/* Worker processes of a benchmark, forked from swbench, which talks to them through pipes.
 *
 * A member runs one function and exits when it returns. It dies with swbench, and swbench dies when
 * a member fails, after the member's message on stderr. Open clients only in members: a handle does
 * not survive the fork.
 */
#ifndef SWBENCH_LIB_CREW_H
#define SWBENCH_LIB_CREW_H

#include "lib/bench.h"

#define CREW_MAX 256

/* The side of a member. */
struct seat {
    unsigned number; /* 0 … count-1 */
    int in, out;
};
typedef void (*crew_run)(struct seat *seat, void *context);
void seat_say(struct seat *seat, const void *data, size_t size);
/* Waits; the member exits when swbench closes the pipe. */
void seat_hear(struct seat *seat, void *ret, size_t size);

struct crew {
    struct {
        pid_t pid;
        int in, out; /* seen from swbench */
    } member[CREW_MAX];
    unsigned count;
};
/* stage: members close its keeper. context is borrowed; each member has a copy. */
void crew_start(struct crew *crew, const struct stage *stage, unsigned count, crew_run run,
                void *context);
/* Sends to all members. */
void crew_tell(struct crew *crew, const void *data, size_t size);
void crew_hear(struct crew *crew, unsigned member, void *ret, size_t size);
/* Waits for a byte from each member. */
void crew_gather(struct crew *crew);
/* Closes the pipes and waits for all members. */
void crew_end(struct crew *crew);

/* ---- the broker of a stage ------------------------------------------------------------------- */

/* The broker's answer to a request such as {"verb": "stats"}; dies if it is not ok. The caller owns
 * the answer. */
json_t *stage_ask(const struct stage *stage, json_t *request);
/* One integer of stats; dies if there is none with that key. */
int64_t stage_stat(const struct stage *stage, const char *key);
/* The proportional set size of a process in kilobytes. */
int64_t bench_pss_kb(pid_t pid);
/* The total size of the model's chunks. */
uint64_t stage_model_bytes(const struct stage *stage);

#endif
