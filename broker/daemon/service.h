/* SPDX-License-Identifier: MIT */
/* What the service manager hears of the broker: that it is ready, reloading or stopping, one line
 * for systemctl status, and, where the unit has a watchdog, that the event loop turns.
 *
 *   start ──READY──▶ serving ◀──RELOADING, READY──▶ reloading
 *                       └──STOPPING──▶ the end
 *
 * Without a manager ($NOTIFY_SOCKET) all of this does nothing.
 */
#ifndef SWB_DAEMON_SERVICE_H
#define SWB_DAEMON_SERVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"

struct broker;

#define SERVICE_STATUS 160u

struct service {
    struct loop_timer timer;
    uint64_t every_ns;           /* between two looks */
    bool watched;                /* the manager expects to hear of every turn of the timer */
    char status[SERVICE_STATUS]; /* as it was told last */
};

/* The broker serves. The timer needs broker->loop until service_stopping. */
void service_ready(struct broker *broker);
/* Around a reload: the manager counts it as one until the second call. */
void service_reloading(struct broker *broker);
void service_reloaded(struct broker *broker);
void service_stopping(struct broker *broker);

#endif
