/* SPDX-License-Identifier: MIT */
/* One session: its answers, its jobs, its end. */
#include "session/session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/socket.h"

#define OPERATOR_TIME_NS (60 * LOOP_NS_PER_S)
#define STALL_TIME_NS    (5 * LOOP_NS_PER_S)
#define PROGRESS_NS      (LOOP_NS_PER_S / 10)
#define REFUSAL_CAUSES   64

const char *session_describe(const struct session *session)
{
    static char text[160];
    if (session->state == SESSION_NEW || session->name[0] == 0)
        (void)snprintf(text, sizeof text, "a connection (pid %d, uid %u)", (int)session->peer.pid,
                       session->peer.uid);
    else
        (void)snprintf(text, sizeof text, "client %u (%s, pid %d, uid %u)", session->number,
                       session->name, (int)session->peer.pid, session->peer.uid);
    return text;
}

struct log_about session_about(const struct session *session, const char *message_id)
{
    return (struct log_about){.message_id = message_id,
                              .client = session->name[0] ? session->name : "unnamed",
                              .client_pid = session->peer.pid,
                              .client_uid = session->peer.uid};
}

/* ---- ending ---------------------------------------------------------------------------------- */

static void disarm_timers(struct session *session)
{
    struct loop *loop = session->sessions->loop;
    loop_disarm(loop, &session->storing_late);
    loop_disarm(loop, &session->silence);
    loop_disarm(loop, &session->stall);
    loop_disarm(loop, &session->resume);
}

void session_doom(struct session *session, const char *reason)
{
    if (session->state == SESSION_DOOMED)
        return;
    struct sessions *sessions = session->sessions;
    const struct log_about about = session_about(session, NULL);
    if (session->page)
        log_line(LOG_LEVEL_DEBUG, &about, "%s: %s", session_describe(session), reason);
    session->state = SESSION_DOOMED;
    loop_remove(sessions->loop, &session->socket);
    loop_remove(sessions->loop, &session->process);
    loop_remove(sessions->loop, &session->storing);
    disarm_timers(session);
    TAILQ_REMOVE(&sessions->connections, session, link);
    TAILQ_INSERT_TAIL(&sessions->doomed, session, link);
    sessions->connection_count--;
}

void session_refuse(struct session *session, uint64_t tag, int code, const char *message)
{
    if (session->state == SESSION_DOOMED)
        return;
    static struct log_limit limits[REFUSAL_CAUSES]; /* by code: no cause hides another */
    const struct log_about about = session_about(session, LOG_ID_REFUSED);
    log_limited(&limits[(unsigned)-code % REFUSAL_CAUSES], &about, "%s: %s; closing it",
                session_describe(session), message);
    session_done(session, tag, code, message);
    session_doom(session, "refused");
}

static void close_if_open(int fd)
{
    if (fd >= 0)
        close(fd);
}

void session_free(struct session *session)
{
    disarm_timers(session); /* the last words may have armed one */
    send_queue_fini(&session->send_queue);
    close_if_open(session->process.fd);
    close_if_open(session->storing.fd);
    close_if_open(session->page_fd);
    close(session->socket.fd);
    free(session);
}

/* ---- jobs ------------------------------------------------------------------------------------ */

bool session_may_wait(const struct session *session, enum session_job_kind kind)
{
    static const uint32_t limits[SESSION_JOB_KINDS] = {
        [SESSION_LOAD] = SESSION_LOADS, [SESSION_VERB] = SESSION_VERBS};
    return session->job_count[kind] < limits[kind];
}

void session_job_begin(struct session *session, struct session_job *job, enum session_job_kind kind,
                       uint64_t tag, void (*cancel)(struct session_job *job))
{
    job->session = session;
    job->tag = tag;
    job->kind = kind;
    job->cancel = cancel;
    TAILQ_INSERT_TAIL(&session->jobs, job, link);
    session->job_count[kind]++;
}

void session_job_end(struct session_job *job)
{
    struct session *session = job->session;
    TAILQ_REMOVE(&session->jobs, job, link);
    session->job_count[job->kind]--;
    if (job->kind == SESSION_VERB)
        session_watch(session); /* it may be owed nothing now */
}

void session_cancel_jobs(struct session *session)
{
    for (struct session_job *job; (job = TAILQ_FIRST(&session->jobs));)
        job->cancel(job);
}

bool session_owes(const struct session *session)
{
    return !send_queue_empty(&session->send_queue) || session->job_count[SESSION_VERB] > 0;
}

/* ---- answering ------------------------------------------------------------------------------- */

bool session_may_read(const struct session *session)
{
    return send_queue_empty(&session->send_queue) && session->tokens >= 0 &&
           !session->storing.added;
}

void session_watch(struct session *session)
{
    if (session->state == SESSION_DOOMED)
        return;
    struct loop *loop = session->sessions->loop;
    bool waiting = !send_queue_empty(&session->send_queue);
    uint32_t events = 0;
    if (session->record)
        session->record->owing = session_owes(session);
    if (waiting)
        events = EPOLLOUT;
    else if (session_may_read(session))
        events = EPOLLIN;
    loop_watch(loop, &session->socket, events);
    if (waiting && !session->stall.armed)
        loop_arm(loop, &session->stall, loop_now() + STALL_TIME_NS);
    else if (!waiting)
        loop_disarm(loop, &session->stall);
}

static void sent(struct session *session, int result)
{
    if (result == -ENOBUFS) {
        session->sessions->counters->slow_readers++;
        session_doom(session, "does not read its answers");
    } else if (result < 0) {
        session_doom(session, "its socket failed");
    } else {
        session_watch(session);
    }
}

void session_flush(struct session *session)
{
    loop_disarm(session->sessions->loop, &session->stall); /* it took something */
    sent(session, send_queue_flush(&session->send_queue, session->socket.fd));
}

void session_send(struct session *session, const void *packet, size_t size, const int *fds,
                  size_t count)
{
    if (session->state != SESSION_DOOMED)
        sent(session,
             send_queue_send(&session->send_queue, session->socket.fd, packet, size, fds, count));
}

#define DONE_MAX                                                                                   \
    (sizeof(struct swi_wire_head) + sizeof(struct swi_wire_done) + (size_t)SWI_ERROR_TEXT)

/* Writes a DONE packet; returns its size. */
static size_t make_done(uint8_t packet[static DONE_MAX], uint64_t tag, int status,
                        const char *message)
{
    size_t length = message ? strnlen(message, SWI_ERROR_TEXT) : 0;
    struct swi_wire_done done = {.status = status, .text_length = (uint32_t)length};
    struct swi_wire_out out;
    swi_wire_begin(&out, packet, DONE_MAX, SWI_WIRE_DONE, tag);
    swi_wire_put(&out, &done, sizeof done);
    swi_wire_put(&out, message, length);
    return swi_wire_end(&out);
}

void session_done(struct session *session, uint64_t tag, int status, const char *message)
{
    uint8_t packet[DONE_MAX];
    session_send(session, packet, make_done(packet, tag, status, message), NULL, 0);
}

void session_turn_away(int fd, int code, const char *message)
{
    uint8_t packet[DONE_MAX];
    (void)swi_socket_send(fd, packet, make_done(packet, 0, code, message), NULL, 0);
    close(fd);
}

void session_reply(struct session *session, uint64_t tag, json_t *reply)
{
    char *text = reply ? json_dumps(reply, JSON_COMPACT) : NULL;
    json_decref(reply);
    if (session->state == SESSION_DOOMED) {
        free(text);
        return;
    }
    if (!text) {
        session_refuse(session, tag, -ENOMEM, "out of memory for the answer");
        return;
    }
    sent(session, send_queue_send_text(&session->send_queue, session->socket.fd, tag, text));
}

void session_progress(struct session *session, uint64_t tag, uint64_t *last_ns,
                      struct session_progress progress)
{
    uint64_t now_ns = loop_now();
    if (session->state == SESSION_DOOMED || !send_queue_empty(&session->send_queue) ||
        now_ns - *last_ns < PROGRESS_NS)
        return;
    *last_ns = now_ns;
    session_reply(session, tag,
                  json_pack("{s:{s:I, s:I, s:I, s:I}}", "progress", "chunks",
                            (json_int_t)progress.chunks, "of_chunks",
                            (json_int_t)progress.of_chunks, "bytes", (json_int_t)progress.bytes,
                            "of_bytes", (json_int_t)progress.of_bytes));
}

void session_operate(struct session *session)
{
    session->state = SESSION_OPERATOR;
    loop_arm(session->sessions->loop, &session->silence, loop_now() + OPERATOR_TIME_NS);
}
