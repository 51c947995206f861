/* SPDX-License-Identifier: MIT */
/* Which models of the catalog were pushed to the Redis: for swctl models. One question for each
 * model, one at a time; the answer is sent when all are known, or when the Redis does not answer. */
#ifndef SWB_OPERATOR_WHERE_H
#define SWB_OPERATOR_WHERE_H

#include "operator/control.h"

/* reply: from report_models; taken. The answer goes to the call's session, perhaps before this
 * returns: the reply, each row of it with "redis": {"pushed": …}, or without where that is not
 * known. */
void where_start(const struct control_call *call, json_t *reply);

#endif
