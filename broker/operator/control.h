/* SPDX-License-Identifier: MIT */
/* What the operator's verbs work with. One thread: the loop's. */
#ifndef SWB_OPERATOR_CONTROL_H
#define SWB_OPERATOR_CONTROL_H

#include <jansson.h>

#include "session/session.h"

struct pinned;
struct push;
struct remote;
struct verify;
struct where;

/* What a reload changed. */
struct control_reloaded {
    json_t *settings; /* new reference, as in daemon/reload.h; NULL: they could not be read */
    struct catalog_changes catalog;
    uint32_t pins_ended;
};

struct control {
    /* Borrowed. The daemon sets these before the first request. */
    struct loop *loop;
    struct cache *cache;
    struct catalog *catalog;
    struct sessions *sessions;
    struct remote *remote; /* NULL: none */
    /* Reads the settings and the catalog again. On failure ret may hold the settings still. */
    int (*reload)(void *context, struct control_reloaded *ret, struct swi_error *error);
    void *reload_context;
    uint64_t started_ns;
    uint32_t adopted_chunks; /* from an earlier broker */

    TAILQ_HEAD(, pinned) pins;
    uint64_t pinned_bytes; /* by pins, as ranges of the arena */
    uint32_t pinned_chunks;
    TAILQ_HEAD(, verify) verifies; /* under way; the first one has its turn */
    struct push *push;             /* under way; NULL: none */
    TAILQ_HEAD(, where) wheres;    /* under way */
    uint32_t where_count;
};

void control_init(struct control *control);

/* One request. */
struct control_call {
    struct control *control;
    struct session *session;
    uint64_t tag;
    const char *model, *component; /* the target; NULL: not given */
    bool progress;                 /* wants progress before the answer */
    const json_t *request;         /* borrowed, during the call */
};

#endif
