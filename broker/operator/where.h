/* SPDX-License-Identifier: MIT */
/* Which models of the catalog were pushed to the Redis: for swctl models. One question for each
 * model, one at a time; the answer is sent when all are known, or when the Redis does not answer. */
#ifndef SWB_OPERATOR_WHERE_H
#define SWB_OPERATOR_WHERE_H

#include "session/session.h"

/* reply: what report_models made; taken. The answer goes to the session with that tag, perhaps
 * before this returns: the reply, each row of it with "redis": {"pushed": …}, or without where that
 * is not known. */
void where_start(struct session *session, uint64_t tag, json_t *reply);
/* Whether the session waits for one. */
bool where_awaited(const struct session *session);
/* The session does not wait any longer. */
void where_cancel(struct session *session);

#endif
