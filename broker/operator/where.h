/* SPDX-License-Identifier: MIT */
/* What a Redis has of the models in the catalog: for swctl models, where there is a Redis. Asks it
 * one thing at a time and answers when all is known, or when it turns out not to answer. */
#ifndef SWB_OPERATOR_WHERE_H
#define SWB_OPERATOR_WHERE_H

#include "session/session.h"

/* reply: what report_models made; taken. The answer goes to the session with that tag, perhaps
 * before this returns: the reply, each row of it with "redis": {"pushed": …, "stripes": N,
 * "of_stripes": M}, or null where nothing is known. */
void where_start(struct session *session, uint64_t tag, json_t *reply);
/* Whether the session waits for one. */
bool where_awaited(const struct session *session);
/* Nobody waits for it any more. */
void where_cancel(struct session *session);

#endif
