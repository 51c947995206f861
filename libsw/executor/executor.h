/* SPDX-License-Identifier: MIT */
/* What runs on an executor: tasks, in lanes. See executor.c for how they move.
 *
 * An executor knows nothing of BERT. A lane belongs to one handle; of its tasks one runs at a time,
 * in order. A task is the first member of a struct of its submitter's, allocated by malloc; from a
 * successful submission on it is the executor's, who frees it.
 */
#ifndef SWI_EXECUTOR_EXECUTOR_H
#define SWI_EXECUTOR_EXECUTOR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include <sw/executor.h>

#include "core/error.h"

#define SWI_EXECUTOR_THREADS_MAX  64u
#define SWI_EXECUTOR_REQUESTS_MAX 65536u

struct swi_lane;

struct swi_task {
    /* Set by the submitter. run is called on an executor's thread, no lock held. */
    int (*run)(struct swi_task *task, struct swi_error *error);
    void *context;
    uint64_t deadline_ns; /* of CLOCK_MONOTONIC; SWI_FOREVER: none */

    /* set by other threads while it runs: it is to stop. Read atomically. */
    int32_t cancelled;

    /* under the executor's lock, but for what run's thread keeps to itself */
    TAILQ_ENTRY(swi_task) link; /* of its lane's queue or of what is done */
    struct swi_lane *lane;      /* NULL once it is done */
    uint64_t id;
    uint64_t submitted_ns, started_ns, ended_ns;
    struct swi_error error; /* how it ended; code 0: well */
};

struct swi_lane {
    sw_executor *executor; /* a reference; NULL: nothing can be submitted */

    /* under the executor's lock */
    LIST_ENTRY(swi_lane) link;
    TAILQ_ENTRY(swi_lane) ready; /* listed while it has tasks and none runs */
    TAILQ_HEAD(, swi_task) queue;
    struct swi_task *running;
};

/* executor NULL: a lane that takes nothing. */
void swi_lane_open(struct swi_lane *lane, sw_executor *executor);
/* Cancels what is queued, stops what runs and waits until it has returned. Not from a task of the
 * lane. */
void swi_lane_close(struct swi_lane *lane);

/* Takes the task over and gives it an id. Errors, upon which it stays the caller's: SW_EFULL,
 * -ESHUTDOWN, -EAGAIN (no thread), -EINVAL (no executor), those of descriptors (in a child after
 * fork). */
int swi_lane_submit(struct swi_lane *lane, struct swi_task *task, uint64_t *ret_id,
                    struct swi_error *error);

#endif
