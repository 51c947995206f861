/* SPDX-License-Identifier: MIT */
/* Handles a client's messages. */
#ifndef SWB_SESSION_REQUEST_H
#define SWB_SESSION_REQUEST_H

#include "session/session.h"

/* Handles one packet, whatever it holds. Returns its cost in tokens of the session's rate. */
int64_t request_handle(struct session *session, const void *packet, size_t length);

/* Requests again what the session's record says it waited for under an earlier broker. */
void request_resume(struct session *session);

#endif
