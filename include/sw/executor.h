/* SPDX-License-Identifier: MIT */
/* Surfing Weights executor: threads that run submitted passes, and a descriptor that becomes
 * readable when some have completed.
 *
 * One executor serves any number of models: a handle names it when it is opened (encoder.h:
 * options.executor). sw_encoder_submit queues a request and returns at once. A handle runs one
 * request at a time, in order of submission; handles take turns. Every accepted request has exactly
 * one completion. The descriptor is readable while completions can be collected, so an event loop
 * that polls it never blocks on a model.
 *
 *     sw_encoder_submit ──▶ queued ──▶ running ──▶ done ──▶ sw_executor_collect
 *                             │           │          ▲
 *                             └───────────┴──────────┘
 *                   cancelled, deadline passed, or handle closed
 *
 * Memory: inputs and outputs of a request belong to the library from its submission until its
 *   completion is collected, its handle closed or the executor destroyed. Only a request that
 *   succeeds writes its outputs, all at its end.
 * Threads: all functions may be called from any thread at any time, except that
 *   sw_executor_destroy excludes other calls. Only sw_executor_destroy waits for a pass. The
 *   executor's threads start at the first submission, with all signals blocked, and sleep while
 *   idle.
 * Fork: the executor is empty in the child; requests in flight complete in the parent. The child
 *   gets a descriptor at its first call, which it must ask for again, and threads when it submits.
 *   It must not touch the inherited descriptor.
 */
#ifndef SW_EXECUTOR_H
#define SW_EXECUTOR_H

#include <sw/base.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sw_executor sw_executor;

struct sw_executor_options {
    size_t size;       /* sizeof(struct sw_executor_options) */
    uint32_t threads;  /* 1 … 64; 0: 1. A thread that waits for the broker runs nothing else: with
                          frequent misses, use more threads than processors */
    uint32_t requests; /* most in flight (submitted, not collected), 1 … 65536; 0: 256 */
    char *error;       /* NULL, or a buffer for the message of a failed creation */
    size_t error_size;
};

/* The caller owns *ret_executor: sw_executor_destroy. options NULL selects all defaults. Errors:
 * -EINVAL, -ENOMEM, -EMFILE and other descriptor errors. */
SW_API int sw_executor_create(const struct sw_executor_options *options,
                              sw_executor **ret_executor);

/* Cancels all requests, waits until none runs (at most the time of one layer, even if the broker
 * does not answer), closes the descriptor and drops uncollected completions. Handles that use the
 * executor may be closed before or after; after this call, their submissions return -ESHUTDOWN.
 * NULL is allowed. */
SW_API void sw_executor_destroy(sw_executor *executor);

/* The descriptor: readable (POLLIN, EPOLLIN, level-triggered) while there are completions to
 * collect. It belongs to the executor: poll it, but neither read nor close it. */
SW_API int sw_executor_fd(sw_executor *executor);

/* How a request ended. */
struct sw_completion {
    size_t size;       /* sizeof(struct sw_completion), set by the caller */
    uint64_t id;       /* from the submission */
    void *context;     /* from the request */
    int result;        /* 0, a code of the blocking call, -ECANCELED or -ETIMEDOUT */
    double queued_ms;  /* from submission to start, or to the end if it never ran */
    double run_ms;     /* from start to end */
    char message[512]; /* what failed, where, what to do; empty on success */
};

/* Takes the oldest completion. Returns 1 with *completion filled in, or 0 if there is none. Never
 * waits. */
SW_API int sw_executor_collect(sw_executor *executor, struct sw_completion *completion);

/* Cancels a request. A queued request is done at once; a running one stops before its next layer,
 * or within 20 ms if it waits for the broker. Its completion then says -ECANCELED, unless it
 * finished first. Errors: -ENOENT (no such request is queued or running; its completion may be
 * waiting to be collected). */
SW_API int sw_executor_cancel(sw_executor *executor, uint64_t id);

struct sw_executor_stats {
    size_t size; /* sizeof(struct sw_executor_stats), set by the caller */
    uint32_t threads, capacity;
    uint32_t queued, running, done; /* now; done: not yet collected */
    uint64_t submitted, refused;    /* refused: the executor was full */
    uint64_t succeeded, cancelled, timed_out, failed;
};
SW_API int sw_executor_get_stats(sw_executor *executor, struct sw_executor_stats *stats);

#ifdef __cplusplus
}
#endif
#endif
