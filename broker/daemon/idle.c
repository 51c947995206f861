/* SPDX-License-Identifier: MIT */
/* Ending by itself. */
#include "daemon/idle.h"

#include <poll.h>

#include "base/log.h"
#include "core/start_lock.h"
#include "daemon/broker.h"
#include "session/session.h"

#define FIRST_CLIENT_NS (10 * LOOP_NS_PER_S) /* whoever started it may be slow to connect */

void idle_init(struct idle *idle)
{
    *idle = (struct idle){.busy_ns = loop_now(), .lock = -1};
}

/* Operators look, and need no weights. Whoever has not said yet what he is may be a client. */
static bool has_clients(const struct broker *broker)
{
    const struct session *session;
    TAILQ_FOREACH(session, &broker->connections, link)
    if (session->state != SESSION_OPERATOR)
        return true;
    struct pollfd waiting = {.fd = broker->listener.fd, .events = POLLIN};
    return poll(&waiting, 1, 0) > 0;
}

void idle_check(struct broker *broker, uint64_t now_ns)
{
    struct idle *idle = &broker->idle;
    if (broker->options.idle_s == IDLE_NEVER || broker->stopping)
        return;
    if (has_clients(broker) || idle->sessions != broker->counters.sessions) {
        idle->sessions = broker->counters.sessions;
        idle->busy_ns = now_ns;
        return;
    }
    uint64_t patience_ns = broker->options.idle_s * LOOP_NS_PER_S;
    if (idle->sessions == 0 && patience_ns < FIRST_CLIENT_NS)
        patience_ns = FIRST_CLIENT_NS;
    if (now_ns - idle->busy_ns < patience_ns)
        return;
    if (!broker->listener.borrowed) { /* else whoever connects gets the next broker */
        idle->lock = swi_start_lock_take(broker->listener.path);
        if (idle->lock < 0)
            return; /* somebody is about to connect */
    }
    if (has_clients(broker)) { /* and this one was faster */
        if (idle->lock >= 0)
            swi_start_lock_release(idle->lock);
        idle->lock = -1;
        return;
    }
    log_info("no client for %u seconds", broker->options.idle_s);
    broker->stopping = true;
}

void idle_fini(struct broker *broker)
{
    const struct listener *listener = &broker->listener;
    if (broker->options.idle_s == IDLE_NEVER || listener->borrowed || !listener->path[0])
        return;
    int lock = broker->idle.lock;
    if (lock < 0) /* ended by a signal */
        lock = swi_start_lock_take(listener->path);
    if (lock >= 0)
        swi_start_lock_remove(listener->path, lock);
}
