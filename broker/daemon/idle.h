/* SPDX-License-Identifier: MIT */
/* --exit-when-idle: a broker that ends when nobody needs it any more. */
#ifndef SWB_DAEMON_IDLE_H
#define SWB_DAEMON_IDLE_H

#include <stdint.h>

#define IDLE_NEVER UINT32_MAX
#define IDLE_MAX_S 86400u /* the longest that may be asked for */

struct broker;

struct idle {
    uint64_t busy_ns;  /* when somebody was last seen */
    uint64_t sessions; /* that had been by then */
    int lock;          /* held since the decision to end; else -1 */
};

void idle_init(struct idle *idle);
/* Called every now and then; stops the broker when its last client has been gone for long enough.
 */
void idle_check(struct broker *broker, uint64_t now_ns);
/* When everything else of the broker is gone: removes the lock file beside the socket. */
void idle_fini(struct broker *broker);

#endif
