/* SPDX-License-Identifier: MIT */
/* Reads a session's socket: one message a turn, within the session's rate, until it hangs up. */
#ifndef SWB_SESSION_RECEIVE_H
#define SWB_SESSION_RECEIVE_H

#include "session/session.h"

/* A NEW session on this socket, watched; the socket becomes its own. NULL: out of memory, or the
 * peer is gone. */
struct session *session_create(struct sessions *sessions, int fd);

#endif
