/* SPDX-License-Identifier: MIT */
/* --exit-when-idle. */
#include "daemon/idle.h"

#include <poll.h>

#include "base/log.h"
#include "core/start_lock.h"
#include "session/session.h"

#define FIRST_CLIENT_NS (10 * LOOP_NS_PER_S) /* who started the broker may be slow to connect */

void idle_init(struct idle *idle)
{
    *idle = (struct idle){.busy_ns = loop_now(), .lock = -1};
}

/* Operators need no weights. A NEW session may become a client. */
static bool has_clients(const struct sessions *sessions, const struct listener *listener)
{
    const struct session *session;
    TAILQ_FOREACH(session, &sessions->connections, link)
    {
        if (session->state != SESSION_OPERATOR)
            return true;
    }
    struct pollfd waiting = {.fd = listener->fd, .events = POLLIN};
    return poll(&waiting, 1, 0) > 0;
}

bool idle_check(struct idle *idle, const struct sessions *sessions, const struct listener *listener,
                uint64_t now_ns)
{
    uint32_t idle_s = sessions->options->idle_s;
    if (idle_s == OPTIONS_NEVER_IDLE)
        return false;
    if (has_clients(sessions, listener) || idle->sessions != sessions->counters->sessions) {
        idle->sessions = sessions->counters->sessions;
        idle->busy_ns = now_ns;
        return false;
    }
    uint64_t patience_ns = idle_s * LOOP_NS_PER_S;
    if (idle->sessions == 0 && patience_ns < FIRST_CLIENT_NS)
        patience_ns = FIRST_CLIENT_NS;
    if (now_ns - idle->busy_ns < patience_ns)
        return false;
    if (!listener->borrowed) { /* else the next client starts the next broker */
        idle->lock = swi_start_lock_take(listener->path);
        if (idle->lock < 0)
            return false; /* a client is about to connect */
    }
    if (has_clients(sessions, listener)) { /* one connected before the lock was taken */
        if (idle->lock >= 0)
            swi_start_lock_release(idle->lock);
        idle->lock = -1;
        return false;
    }
    log_info("no client for %u seconds", idle_s);
    return true;
}

void idle_fini(const struct idle *idle, const struct broker_options *options,
               const struct listener *listener)
{
    if (options->idle_s == OPTIONS_NEVER_IDLE || listener->borrowed || !listener->path[0])
        return;
    int lock = idle->lock;
    if (lock < 0) /* ended by a signal */
        lock = swi_start_lock_take(listener->path);
    if (lock >= 0)
        swi_start_lock_remove(listener->path, lock);
}
