/* SPDX-License-Identifier: MIT */
/* One operation on a Redis: a few commands on one connection that succeed or fail together, such as a
 * load's stripes, a chunk's writing, or a question about a model.
 *
 *   begin ──▶ send, answered, send … ──▶ succeed, abandon        by the owner
 *                     └── an error, a lost connection ──▶ failed  the operation has ended
 *
 * The breaker admits an operation as a whole and is told of its end exactly once. An error of the
 * server is counted, and held against the server only if it is about the server (error.h). When
 * an operation ends its calls are forgotten, so no callback comes after that.
 *
 * Callbacks come from the loop, never from within one of these functions but redis_op_disappoint.
 * One thread.
 */
#ifndef SWB_REMOTE_REDIS_OP_H
#define SWB_REMOTE_REDIS_OP_H

#include "remote/redis/error.h"
#include "remote/redis/link.h"

#define REDIS_OP_CALLS_MAX 8u

/* A connection as operations use it. */
struct redis_port {
    struct redis_link *link;
    struct redis_errors *errors; /* the account that errors go to */
    bool writes;                 /* errors about writes are not held against the server: the
                                  * writeback pauses by itself (writeback.h) */
};

struct redis_failure {
    bool lost;              /* the connection; else the server answered */
    bool unreachable;       /* the server cannot be asked, or serves no requests */
    enum redis_about about; /* of an error */
    const char *answer;     /* the error as it came; "": none */
    const char *why;        /* a sentence that names the server */
};

/* The owner's memory until it ends. */
struct redis_op {
    const struct redis_port *port;
    /* A reply that is no error. The call's memory ends with this function. */
    void (*answered)(struct redis_op *op, const struct redis_call *call,
                     const struct redis_reply *reply);
    /* The operation has ended; the owner may free it or begin it again. failure: valid during the
     * call. */
    void (*failed)(struct redis_op *op, const struct redis_failure *failure);

    bool open;
    unsigned outstanding;
    struct redis_call *calls[REDIS_OP_CALLS_MAX];
};

/* False: the connection is down or its breaker is open (redis_link_problem says why). */
bool redis_op_begin(struct redis_op *op);
/* Sends a command. The caller may set the call's into, into_bytes and offset. NULL: it cannot be sent,
 * and the operation goes on; the owner abandons it. */
struct redis_call *redis_op_send(struct redis_op *op, const struct redis_command *command);
/* Ends it. The server did what it should, whatever it holds. */
void redis_op_succeed(struct redis_op *op);
/* Ends it without a verdict on the server. Does nothing if it has ended. */
void redis_op_abandon(struct redis_op *op);
/* Ends it with a verdict: "its answer to SET is invalid". Calls failed. */
void redis_op_disappoint(struct redis_op *op, const char *why);

#endif
