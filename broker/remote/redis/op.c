/* SPDX-License-Identifier: MIT */
/* Operations on a Redis. */
#include "remote/redis/op.h"

#include <assert.h>
#include <stdio.h>

static void forget_calls(struct redis_op *op)
{
    while (op->outstanding > 0)
        redis_call_forget(op->calls[--op->outstanding]);
}

static void drop_call(struct redis_op *op, const struct redis_call *call)
{
    unsigned at = 0;
    while (op->calls[at] != call)
        at++;
    op->calls[at] = op->calls[--op->outstanding];
}

static void end(struct redis_op *op)
{
    assert(op->open);
    forget_calls(op);
    op->open = false;
}

bool redis_op_begin(struct redis_op *op)
{
    assert(!op->open);
    op->outstanding = 0;
    op->open = redis_link_admit(op->port->link);
    return op->open;
}

static void fail_by_error(struct redis_op *op, const char *text)
{
    const struct redis_port *port = op->port;
    char why[600];
    (void)snprintf(why, sizeof why, "Redis at %.300s answers: %.150s", redis_link_name(port->link),
                   text);
    struct redis_failure failure = {
        .about = redis_errors_count(port->errors, text), .answer = text, .why = why};
    failure.unreachable = failure.about == REDIS_ABOUT_SERVER ||
                          (failure.about == REDIS_ABOUT_WRITES && !port->writes);
    end(op);
    if (failure.unreachable)
        redis_link_disappointed(port->link, text);
    else
        redis_link_succeeded(port->link);
    op->failed(op, &failure);
}

static void done(struct redis_call *call, const struct redis_reply *reply)
{
    struct redis_op *op = call->context;
    drop_call(op, call);
    if (reply && reply->type == REDIS_ERROR) {
        fail_by_error(op, reply->text);
    } else if (reply) {
        op->answered(op, call, reply);
    } else { /* the link has told the breaker */
        end(op);
        op->failed(op, &(struct redis_failure){.lost = true,
                                               .unreachable = true,
                                               .answer = "",
                                               .why = redis_link_problem(op->port->link)});
    }
}

struct redis_call *redis_op_send(struct redis_op *op, const struct redis_command *command)
{
    assert(op->open && op->outstanding < REDIS_OP_CALLS_MAX);
    struct redis_call *call = redis_link_call(op->port->link, command);
    if (!call)
        return NULL;
    call->done = done;
    call->context = op;
    op->calls[op->outstanding++] = call;
    return call;
}

void redis_op_succeed(struct redis_op *op)
{
    end(op);
    redis_link_succeeded(op->port->link);
}

void redis_op_abandon(struct redis_op *op)
{
    if (!op->open)
        return;
    end(op);
    redis_link_abandoned(op->port->link);
}

void redis_op_disappoint(struct redis_op *op, const char *why)
{
    char text[600];
    end(op);
    redis_link_disappointed(op->port->link, why);
    (void)snprintf(text, sizeof text, "Redis at %.300s: %.150s", redis_link_name(op->port->link),
                   why);
    op->failed(op,
               &(struct redis_failure){
                   .unreachable = true, .about = REDIS_ABOUT_SERVER, .answer = "", .why = text});
}
