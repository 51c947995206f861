/* SPDX-License-Identifier: MIT */
/* Tasks in lanes, run by the threads of an executor. See executor.c for their states.
 *
 * An executor knows nothing about models. A lane belongs to one handle; its tasks run one at a
 * time, in order. A task is the first member of a struct that the submitter allocates with malloc;
 * after a successful submission the executor owns and frees it.
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
    /* Set by the submitter. run is called on a thread of the executor, without its lock. */
    int (*run)(struct swi_task *task, struct swi_error *error);
    void *context;
    uint64_t deadline_ns; /* of CLOCK_MONOTONIC; SWI_FOREVER: none */

    /* set by other threads to make a running task stop; read atomically */
    int32_t cancelled;

    /* under the executor's lock, except what only the thread in run uses */
    TAILQ_ENTRY(swi_task) link; /* of its lane's queue, or of the done tasks */
    struct swi_lane *lane;      /* NULL when done */
    uint64_t id;
    uint64_t submitted_ns, started_ns, ended_ns;
    struct swi_error error; /* how it ended; code 0: success */
};

struct swi_lane {
    sw_executor *executor; /* a reference; NULL: the lane takes no tasks */

    /* under the executor's lock */
    LIST_ENTRY(swi_lane) link;
    TAILQ_ENTRY(swi_lane) ready; /* listed while it has queued tasks and none runs */
    TAILQ_HEAD(, swi_task) queue;
    struct swi_task *running;
};

/* executor NULL: the lane takes no tasks. */
void swi_lane_open(struct swi_lane *lane, sw_executor *executor);
/* Cancels queued tasks, stops the running one and waits until it has returned. Must not be called
 * from a task of the lane. */
void swi_lane_close(struct swi_lane *lane);

/* Takes over the task and assigns an id. On an error the task stays the caller's: SW_EFULL,
 * -ESHUTDOWN, -EAGAIN (no thread), -EINVAL (no executor), or one of creating descriptors (in a
 * child after fork). */
int swi_lane_submit(struct swi_lane *lane, struct swi_task *task, uint64_t *ret_id,
                    struct swi_error *error);

#endif
