/* SPDX-License-Identifier: MIT */
/* What clients ask for, message by message. */
#ifndef SWB_SESSION_REQUEST_H
#define SWB_SESSION_REQUEST_H

#include "session/session.h"

/* A LOAD that waits for its chunk. */
struct request {
    struct cache_waiter waiter;
    TAILQ_ENTRY(request) link;
    struct session *session;
    uint64_t tag;
    uint32_t place; /* in the session's record */
};

/* Handles one packet, whatever it holds. Returns what it costs, in tokens of the session's rate. */
int64_t request_handle(struct session *session, const void *packet, size_t length);

/* Asks again for what a session of a broker that has ended was waiting for, as its record says. */
void request_resume(struct session *session);

/* Nobody waits for them any more. The session's record goes on naming them. */
void request_cancel_all(struct session *session);

#endif
