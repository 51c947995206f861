/* SPDX-License-Identifier: MIT */
/* A client's session: its number, epoch and page. */
#ifndef SWB_SESSION_ATTACH_H
#define SWB_SESSION_ATTACH_H

#include "session/session.h"

/* HELLO: creates the session's page and welcomes the client. */
void session_attach(struct session *session, uint64_t tag, const struct swi_wire_hello *hello);

/* Turns a NEW session into the one that an earlier broker had under that number: its record, its
 * page (the caller's until this returns 0) and its name in the fd store. Does not resume its
 * loads. -ESRCH: the process is another one. */
int session_adopt(struct session *session, uint32_t number, struct swi_page *page,
                  const char *stored);

/* Undoes either: the session's leases end and its number is free. */
void session_detach(struct session *session);

/* Hits under this broker. The client's page counts them; an increase counts only if it is plausible:
 * at most one hit per nanosecond and slot, and never backwards. */
uint64_t session_hits(struct session *session);

#endif
