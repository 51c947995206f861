/* SPDX-License-Identifier: MIT */
/* Sessions: one for each connected client, from accept until the session is freed.
 *
 *   NEW ──HELLO──▶ ATTACHED ──┐          NEW: has sent nothing yet; closed after a few seconds
 *    └──CONTROL──▶ OPERATOR ──┴──▶ DOOMED ──end of the turn──▶ freed
 *
 * Where the service manager keeps descriptors, an ATTACHED session is welcomed only after its page
 * and its socket are in the fd store, and is not read until then. Such sessions outlive the broker:
 * the session's state is in its page and in its record of the ledger, and a message is taken off
 * the socket only after all its effects are done. A successor may therefore handle it again; every
 * request tolerates that.
 *
 * A session ends when the client hangs up, when the process that connected dies (even if another
 * process holds the socket), when the client breaks the protocol, does not read its answers, or
 * pins too much. All of these only doom the session: it receives and sends nothing more, and
 * sessions_reap (accept.h) releases its pins, jobs and models between two turns of the loop. No
 * function has to expect that a session vanishes during a call.
 *
 * A session is read only while it takes its answers and keeps to its rate: anything beyond that
 * stays in its own socket buffer.
 *
 * One thread: the loop's.
 */
#ifndef SWB_SESSION_SESSION_H
#define SWB_SESSION_SESSION_H

#include <jansson.h>

#include "base/log.h"
#include "core/wire.h"
#include "session/peer.h"
#include "session/send_queue.h"
#include "session/sessions.h"

#define SESSION_MODELS 64u /* models that one session may have open */

_Static_assert(SESSION_MODELS == LEDGER_MODELS, "a successor finds every open model");
_Static_assert(SESSION_MODELS <= 64, "session.stale has a bit for each handle");

enum session_state { SESSION_NEW, SESSION_ATTACHED, SESSION_OPERATOR, SESSION_DOOMED };

/* ---- jobs ------------------------------------------------------------------------------------ */

enum session_job_kind {
    SESSION_LOAD, /* a client's LOAD: recorded in the ledger, so a successor resumes it */
    SESSION_VERB, /* an operator's verb: lost when the broker ends */
    SESSION_JOB_KINDS
};

/* How many of each kind one session may wait for. */
#define SESSION_LOADS 256u
#define SESSION_VERBS 8u

_Static_assert(SESSION_LOADS == LEDGER_LOADS, "a successor finds every load");

/* An answer that a session waits for. Embedded in the struct that works on the answer. */
struct session_job {
    TAILQ_ENTRY(session_job) link;
    struct session *session;
    uint64_t tag; /* of the request, for the answer */
    enum session_job_kind kind;
    /* The session ends before the answer: must call session_job_end and answer nothing. */
    void (*cancel)(struct session_job *job);
};

/* Whether the session may wait for one more answer of that kind. */
bool session_may_wait(const struct session *session, enum session_job_kind kind);
/* Fills in the job and adds it to the session. The caller has asked session_may_wait. */
void session_job_begin(struct session *session, struct session_job *job, enum session_job_kind kind,
                       uint64_t tag, void (*cancel)(struct session_job *job));
/* The job was answered or cancelled: removes it. */
void session_job_end(struct session_job *job);
/* Cancels everything that the session waits for. The ledger keeps its loads. */
void session_cancel_jobs(struct session *session);

/* ---- a session ------------------------------------------------------------------------------- */

struct session {
    TAILQ_ENTRY(session) link;
    struct sessions *sessions;
    enum session_state state;
    struct loop_source socket;
    struct loop_source process; /* fd -1: the process cannot be watched */
    struct loop_timer silence;  /* NEW and OPERATOR: must send something by then */
    struct loop_timer stall;    /* answers are queued: must take some by then */
    struct loop_timer resume;   /* over its rate: is read again then */
    struct peer peer;
    struct send_queue send_queue;
    uint64_t since_ns;
    uint64_t refilled_ns;
    int64_t tokens; /* messages that it may send now; below 0 it is not read */
    TAILQ_HEAD(, session_job) jobs;
    uint32_t job_count[SESSION_JOB_KINDS];

    /* ATTACHED */
    char name[SWI_CLIENT_MAX + 1];
    uint32_t number;
    struct swi_page *page;
    struct ledger_session *record; /* in the ledger */
    char stored[FDSTORE_NAME];     /* its name in the fd store; "": not stored */
    struct loop_source storing;    /* hangs up once it is stored; fd -1: it is, or need not be */
    struct loop_timer storing_late;
    int page_fd; /* to be sent with the welcome; -1: sent */
    uint64_t hello_tag;
    uint64_t hits, hits_before;    /* plausible ones: under this broker, and before */
    uint64_t slot_hits[SWI_SLOTS]; /* in its page when it was last read */
    uint64_t hits_looked_ns;
    bool hits_garbage, garbage_seen, over_quota;
    struct revision *models[SESSION_MODELS];
    uint64_t stale; /* a bit for each handle whose revision went away with an earlier broker */
};

/* Ends a session at the end of this turn. The reason is logged at level debug. */
void session_doom(struct session *session, const char *reason);
/* Dooms a session whose client broke a rule; tells the client (DONE with that tag) and the log. */
void session_refuse(struct session *session, uint64_t tag, int code, const char *message);
/* Frees memory and closes descriptors of a doomed session. */
void session_free(struct session *session);

/* Whether the session may be read: it takes its answers, keeps to its rate, and is stored. */
bool session_may_read(const struct session *session);
/* Watches the socket for whatever the session waits for now. */
void session_watch(struct session *session);
/* Whether it waits for answers that only this process knows of. Loads do not count: the ledger has
 * them. */
bool session_owes(const struct session *session);
/* Sends queued answers that the socket takes now. */
void session_flush(struct session *session);

/* Answers. They do nothing on a doomed session, and doom a session whose socket fails. */
void session_send(struct session *session, const void *packet, size_t size, const int *fds,
                  size_t count);
void session_done(struct session *session, uint64_t tag, int status, const char *message);
/* Takes the reference. */
void session_reply(struct session *session, uint64_t tag, json_t *reply);

/* Sends {"progress":{…}} before an answer. Does nothing if the last one, at *last_ns, was less than
 * a tenth of a second ago, or if the session does not take what it is sent. */
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

/* For a connection that gets no session: sends the reason and closes the socket. */
void session_turn_away(int fd, int code, const char *message);

/* CONTROL from a connection that is not a client: the connection may stay as long as it sends
 * something now and then. */
void session_operate(struct session *session);

#endif
