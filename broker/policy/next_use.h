/* SPDX-License-Identifier: MIT */
/* next-use: from the cursors of all sessions to the time until each component's next use. */
#ifndef SWB_POLICY_NEXT_USE_H
#define SWB_POLICY_NEXT_USE_H

#include "core/lease.h"
#include "policy/models.h"

/* A cursor as it was last seen. */
struct lane {
    uint64_t incarnation; /* 0: never used */
    uint64_t pass;
    uint64_t moved_ns;
    uint64_t pass_began_ns;
    double pass_ns; /* measured from pass to pass, disk waits included; 0: not yet */
    double step_ns; /* as the client reports it */
    uint32_t component;
    uint32_t tick;
};

struct next_use {
    uint64_t session_bytes; /* resident bytes that the cursors of one session may guard */
    uint64_t now_ns;        /* of the last next_use_prepare */
    uint64_t prepared;      /* number of the last next_use_prepare */
    struct lane lane[SWI_SESSIONS][SW_CURSOR_LANES];
    uint32_t session[SWI_SESSIONS];    /* those with a lane in use, in no order */
    uint32_t session_at[SWI_SESSIONS]; /* index in session[] + 1; 0: not there */
    uint32_t session_count;
    uint32_t first_session; /* where the next next_use_prepare begins */
};

/* Looks at the cursors in a session's page. Returns true if one has moved. */
bool next_use_observe(struct next_use *next_use, uint32_t session, const struct swi_page *page,
                      uint64_t now_ns);
void next_use_forget_session(struct next_use *next_use, uint32_t session);
/* Computes until_ns, beyond_ns and steps of every component that a live cursor leads to. */
void next_use_prepare(struct next_use *next_use, struct models *models, uint64_t now_ns);

#endif
