/* SPDX-License-Identifier: MIT */
/* What clients pin, and how much of it they may. */
#ifndef SWB_SESSION_QUOTA_H
#define SWB_SESSION_QUOTA_H

#include "session/session.h"

/* Distinct chunks that a session pins, and their bytes. */
struct session_pins {
    uint32_t chunks;
    uint64_t bytes;
    bool garbage; /* slots that hold no chunk id, or a damaged header */
};
struct session_pins session_count_pins(const struct session *session);

/* Reads every client page: revokes sessions over their quota, reports corrupt pages. */
void sessions_check(struct sessions *sessions);

#endif
