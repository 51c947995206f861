/* SPDX-License-Identifier: MIT */
/* --exit-when-idle: ends the broker when its last client has left. */
#ifndef SWB_DAEMON_IDLE_H
#define SWB_DAEMON_IDLE_H

#include "session/listener.h"
#include "session/sessions.h"

struct idle {
    uint64_t busy_ns;  /* when there last was a client */
    uint64_t sessions; /* that had attached by then */
    int lock;          /* held from the decision to end on; else -1 */
};

void idle_init(struct idle *idle);
/* Call it now and then. True: the last client left long enough ago, the broker is to stop. */
bool idle_check(struct idle *idle, const struct sessions *sessions, const struct listener *listener,
                uint64_t now_ns);
/* At the very end of the broker: removes the lock file beside the socket. */
void idle_fini(const struct idle *idle, const struct broker_options *options,
               const struct listener *listener);

#endif
