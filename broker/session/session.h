/* SPDX-License-Identifier: MIT */
/* Sessions: one for each connected client, from accept to the moment when nothing of it is left.
 *
 *   NEW ──HELLO──▶ ATTACHED ──┐          NEW: said nothing yet; closed after a few seconds
 *    └──CONTROL──▶ OPERATOR ──┴──▶ DOOMED ──end of the turn──▶ freed
 *
 * Where the service manager keeps descriptors, an ATTACHED session is not welcomed before its page
 * and its socket are there, and is not read until then. Such sessions outlive the broker: what of
 * them is not in their page is in their record of the ledger, and a message is taken off the socket
 * only when all that follows from it is done (so a successor may do it again: every request bears
 * that).
 *
 * A session ends by hang-up, by the death of the process that connected (whoever else holds the
 * socket), by breaking the protocol, by not taking its answers, or by pinning too much. All of
 * these only doom it: it hears and says nothing more, and sessions_reap, between two turns of the
 * loop, takes its pins, requests and models away. So no function has to fear that a session
 * vanishes under it.
 *
 * A session is read only while it takes its answers and keeps to its rate: whatever it sends beyond
 * that stays in its own socket buffer.
 */
#ifndef SWB_SESSION_SESSION_H
#define SWB_SESSION_SESSION_H

#include <jansson.h>

#include "core/wire.h"
#include "daemon/broker.h"
#include "handover/ledger.h"
#include "session/peer.h"
#include "session/send_queue.h"

#define SESSION_MODELS   64u  /* models that one session may have open */
#define SESSION_REQUESTS 256u /* loads that one session may wait for */
#define SESSION_WARMS    8u   /* warm-ups that one operator's connection may wait for */
#define CONNECTIONS_MORE 32u  /* beyond --max-sessions: for swctl and the refused */

enum session_state { SESSION_NEW, SESSION_ATTACHED, SESSION_OPERATOR, SESSION_DOOMED };

struct request;
struct warm;
struct verify;

struct session {
    TAILQ_ENTRY(session) link;
    struct broker *broker;
    enum session_state state;
    struct loop_source socket;
    struct loop_source process; /* fd -1: only the socket tells */
    struct loop_timer silence;  /* NEW and OPERATOR: must say something by then */
    struct loop_timer stall;    /* answers are waiting: must take some by then */
    struct loop_timer resume;   /* over its rate: is read again then */
    struct peer peer;
    struct send_queue send_queue;
    uint64_t since_ns;
    uint64_t refilled_ns;
    int64_t tokens; /* messages that it may send now; below 0 it is not read */

    /* ATTACHED */
    char name[SWI_CLIENT_MAX + 1];
    uint32_t number;
    struct swi_page *page;
    struct ledger_session *record; /* its own, in the ledger */
    char stored[FDSTORE_NAME];     /* under this name; "": not stored */
    struct loop_source storing;    /* hangs up when it is; fd -1: it is, or need not be */
    struct loop_timer storing_late;
    int page_fd; /* to be sent with the welcome; -1: sent */
    uint64_t hello_tag;
    uint64_t hits, hits_before;    /* believed: since this broker has it, and before */
    uint64_t slot_hits[SWI_SLOTS]; /* as its page said at the last look */
    uint64_t hits_looked_ns;
    bool hits_garbage, garbage_seen, over_quota;
    struct revision *models[SESSION_MODELS];
    uint64_t stale; /* handles, a bit each, of revisions that went with an earlier broker */
    TAILQ_HEAD(, request) requests;
    uint32_t request_count;

    /* what an operator waits for */
    TAILQ_HEAD(, warm) warms;
    uint32_t warm_count;
    struct verify *verify; /* NULL: none */
};

/* Starts and stops taking connections. keep: clients that are stored stay so, with their pins and
 * what they wait for; all others are closed. */
int sessions_start(struct broker *broker, struct swi_error *error);
void sessions_stop(struct broker *broker, bool keep);
/* Frees what was doomed. Between turns only. */
void sessions_reap(struct broker *broker);
/* Looks at every client page: pinned bytes against the quota, garbage. */
void sessions_check(struct broker *broker);

/* Ends a session at the end of this turn. reason is logged at level debug. */
void session_doom(struct session *session, const char *reason);
/* The same for a client that broke a rule: it is told (DONE with that tag), and the log too. */
void session_refuse(struct session *session, uint64_t tag, int code, const char *message);

/* A session NEW on this socket, watched; the socket becomes its own. NULL: out of memory, or the
 * peer is gone. */
struct session *session_create(struct broker *broker, int fd);
/* It is read when it keeps to its rate, takes its answers and is stored. */
void session_watch(struct session *session);

/* Answers. They do nothing on a doomed session, and doom one whose socket fails. */
void session_send(struct session *session, const void *packet, size_t size, const int *fds,
                  size_t count);
void session_done(struct session *session, uint64_t tag, int status, const char *message);
/* Takes the reference. */
void session_reply(struct session *session, uint64_t tag, json_t *reply);

/* {"progress":{…}} before an answer, to whoever asked for it: not more often than every tenth of a
 * second, by *last_ns, and only while the session takes what it is sent. */
struct session_progress {
    uint32_t chunks, of_chunks;
    uint64_t bytes, of_bytes;
};
void session_progress(struct session *session, uint64_t tag, uint64_t *last_ns,
                      struct session_progress progress);

/* "client 3 (swbert, pid 77, uid 1000)"; static storage. */
const char *session_describe(const struct session *session);

/* The same as fields for the log; borrowed from the session. */
struct log_about session_about(const struct session *session, const char *message_id);

/* CONTROL from a connection that is no client: it may stay, as long as it says something now and
 * then. */
void session_operate(struct session *session);

/* HELLO: makes the session's page, and welcomes it. */
void session_attach(struct session *session, uint64_t tag, const struct swi_wire_hello *hello);
/* Makes a NEW session the one that a broker which has ended had under that number: its record, its
 * page (the caller's until it returns 0), its name in the store. What it waits for is not asked for
 * yet. */
int session_adopt(struct session *session, uint32_t number, struct swi_page *page,
                  const char *stored);
/* How many sessions there may be. */
uint32_t session_limit(const struct broker *broker);
/* What reaping takes from an attached session. */
void session_detach(struct session *session);
/* Hits since this broker has the session. Its page tells them, and what it tells is believed as far
 * as it can be: not more than one in a nanosecond and a slot, and none that were taken back. */
uint64_t session_hits(struct session *session);

/* Distinct chunks pinned by a session, and their bytes. */
struct session_pins {
    uint32_t chunks;
    uint64_t bytes;
    bool garbage; /* slots that hold no chunk id, or a damaged header */
};
struct session_pins session_count_pins(const struct session *session);

#endif
