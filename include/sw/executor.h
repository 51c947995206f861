/* SPDX-License-Identifier: MIT */
/* Surfing Weights executor: threads that run submitted passes, and a descriptor that tells when
 * some have ended.
 *
 * One executor serves any number of models: handles name it when they are opened (encoder.h:
 * options.executor), sw_encoder_submit gives it requests and returns at once. A handle runs one
 * request at a time, in the order of submission; handles take turns. Every accepted request ends in
 * exactly one completion, whatever becomes of it, and the descriptor is readable while there is one
 * to collect: an event loop that polls it never blocks on a model.
 *
 *     sw_encoder_submit ──▶ queued ──▶ running ──▶ done ──▶ sw_executor_collect
 *                          │           │          ▲
 *                          └───────────┴──────────┘ cancelled, or its deadline has passed, or the
 *                                                   handle is being closed
 *
 * Memory: what a request points to, inputs and outputs alike, belongs to the library from the
 *   submission until its completion has been collected, or its handle has been closed, or the
 * executor destroyed. Outputs are written only by a request that succeeds, and all at once at its
 * end. Threads: every function may be called from any thread at any time, except that destroying
 * excludes other calls. None waits for a pass, but for sw_executor_destroy. Threads start at the
 * first submission, with all signals blocked, and sleep while there is nothing to run. Fork: a
 * child's executor is empty: what was in flight is the parent's and completes there. At its first
 * call the child gets a descriptor and, when it submits, threads of its own; it must ask for the
 * descriptor again, and not touch the one it inherited.
 */
#ifndef SW_EXECUTOR_H
#define SW_EXECUTOR_H

#include <sw/base.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sw_executor sw_executor;

struct sw_executor_options {
    size_t size; /* sizeof(struct sw_executor_options) */
    uint32_t
        threads; /* that run passes; 0: 1. At most 64. One that waits for the broker runs nothing
                    meanwhile: where models miss, more threads than processors make sense */
    uint32_t requests; /* in flight at most: submitted and not collected; 0: 256. At most 65536 */
    char *error;       /* NULL, or where a failed creation writes its message */
    size_t error_size;
};

/* ret_executor is owned by the caller: sw_executor_destroy. With options NULL every default
 * applies. Errors: -EINVAL, -ENOMEM, -EMFILE and others of descriptors. */
SW_API int sw_executor_create(const struct sw_executor_options *options,
                              sw_executor **ret_executor);

/* Cancels what is in flight, waits until nothing runs (a layer's time at most, also when the broker
 * does not answer), closes the descriptor and drops completions that were not collected. Handles
 * that name the executor may be closed before or after; afterwards they answer -ESHUTDOWN to
 * submissions. NULL is allowed. */
SW_API void sw_executor_destroy(sw_executor *executor);

/* The descriptor: readable (POLLIN, EPOLLIN, level-triggered) while sw_executor_collect has
 * something to give. It belongs to the executor: poll it, neither read nor close it. */
SW_API int sw_executor_fd(sw_executor *executor);

/* How a request ended. */
struct sw_completion {
    size_t size;   /* sizeof(struct sw_completion), set by the caller */
    uint64_t id;   /* what the submission returned */
    void *context; /* the request's */
    int result; /* 0, or a code: what the blocking call would return, -ECANCELED, or -ETIMEDOUT */
    double queued_ms;  /* from the submission to its start, or to its end if it never ran */
    double run_ms;     /* from there to its end */
    char message[512]; /* what failed, where, and what to do; empty when nothing did */
};

/* Takes the oldest completion: 1 and *completion filled in, or 0: there is none now. Never waits.
 */
SW_API int sw_executor_collect(sw_executor *executor, struct sw_completion *completion);

/* Calls a request off. Queued, it is done at once; running, it stops before its next layer and no
 * later than 20 ms into a wait for the broker. Its completion says -ECANCELED, unless it had got to
 * its end before. Errors: -ENOENT when nothing of that number is queued or running (its completion
 * may wait to be collected). */
SW_API int sw_executor_cancel(sw_executor *executor, uint64_t id);

struct sw_executor_stats {
    size_t size; /* sizeof(struct sw_executor_stats), set by the caller */
    uint32_t threads, capacity;
    uint32_t queued, running, done; /* now; done: not collected */
    uint64_t submitted, refused;    /* refused: the executor was full */
    uint64_t succeeded, cancelled, timed_out, failed;
};
SW_API int sw_executor_get_stats(sw_executor *executor, struct sw_executor_stats *stats);

#ifdef __cplusplus
}
#endif
#endif
