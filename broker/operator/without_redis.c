/* SPDX-License-Identifier: MIT */
/* The verbs that need a Redis, in a build without hiredis. */
#include "operator/push.h"
#include "operator/where.h"
#include "remote/redis/tier.h"

int push_start(const struct control_call *call, struct swi_error *error)
{
    (void)call;
    return redis_tier_check(NULL, error);
}

void where_start(const struct control_call *call, json_t *reply)
{
    session_reply(call->session, call->tag, reply);
}
