/* SPDX-License-Identifier: MIT */
/* Takes connections, and frees sessions that have ended. */
#ifndef SWB_SESSION_ACCEPT_H
#define SWB_SESSION_ACCEPT_H

#include "session/sessions.h"

#define CONNECTIONS_MORE 32u /* beyond --max-sessions: for swctl and refused clients */

/* Starts taking connections on a listening socket, which stays the caller's. */
int sessions_start(struct sessions *sessions, int listener_fd, struct swi_error *error);
/* Stops taking connections and closes all sessions. keep: sessions that are stored stay so for a
 * successor, with their pins and the loads they wait for. */
void sessions_stop(struct sessions *sessions, bool keep);
/* Frees doomed sessions. Call it only between turns of the loop. */
void sessions_reap(struct sessions *sessions);

#endif
