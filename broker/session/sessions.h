/* SPDX-License-Identifier: MIT */
/* All sessions of the broker, and the parts of the broker that sessions use. */
#ifndef SWB_SESSION_SESSIONS_H
#define SWB_SESSION_SESSIONS_H

#include <stddef.h>
#include <sys/queue.h>

#include "base/loop.h"
#include "cache/cache.h"
#include "cache/trace.h"
#include "catalog/catalog.h"
#include "handover/fdstore.h"
#include "handover/ledger.h"
#include "settings/options.h"
#include "stats/counters.h"

struct session;
TAILQ_HEAD(session_list, session);

struct sessions {
    /* Borrowed. The daemon sets these before the first session is created. */
    struct loop *loop;
    struct cache *cache;
    struct catalog *catalog;
    struct fdstore *fdstore;
    struct ledger *ledger;
    struct trace *trace; /* NULL: none is recorded */
    const struct broker_options *options;
    struct counters *counters;
    /* Handles a CONTROL request. text is not zero-terminated and is valid during the call. Answers
     * through session_reply, at once or later. */
    void (*control)(void *context, struct session *session, uint64_t tag, const char *text,
                    size_t size);
    void *control_context;

    struct loop_source accept_source;
    struct loop_timer accept_timer;
    struct session_list connections; /* attached or not */
    struct session_list doomed;      /* ended, freed at the end of the turn */
    uint32_t connection_count;
    uint32_t attached_count;
    uint32_t last_number;
    uint32_t adopted_count;                  /* from an earlier broker */
    struct session *by_number[SWI_SESSIONS]; /* attached ones */
};

void sessions_init(struct sessions *sessions);

/* How many sessions may be attached: --max-sessions, or fewer if the fd store is small. */
uint32_t sessions_limit(const struct sessions *sessions);

/* A number that no attached session has, SWI_SESSIONS if there is none. Every other number comes up
 * before one is reused, so that numbers in old log lines stay unambiguous. */
uint32_t sessions_free_number(struct sessions *sessions);

#endif
