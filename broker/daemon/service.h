/* SPDX-License-Identifier: MIT */
/* Notifies the service manager: the broker is ready, reloads or stops, one line for systemctl status,
 * and, if the unit has a watchdog, that the event loop turns.
 *
 *   start ──READY──▶ serving ◀──RELOADING, READY──▶ reloading
 *                       └──STOPPING──▶ the end
 *
 * Without a manager ($NOTIFY_SOCKET) all of this does nothing.
 */
#ifndef SWB_DAEMON_SERVICE_H
#define SWB_DAEMON_SERVICE_H

#include "session/sessions.h"

#define SERVICE_STATUS 160u

struct service {
    const struct sessions *sessions; /* borrowed */
    struct loop_timer timer;
    uint64_t every_ns;           /* between two notifications */
    bool watched;                /* the manager has a watchdog */
    char status[SERVICE_STATUS]; /* as sent last */
};

/* The broker serves. The sessions and their loop are needed until service_stopping. */
void service_ready(struct service *service, const struct sessions *sessions);
/* Around a reload: the manager shows "reloading" until the second call. Nothing before
 * service_ready: the first scan belongs to the start. */
void service_reloading(const struct service *service);
void service_reloaded(struct service *service);
void service_stopping(struct service *service);

#endif
