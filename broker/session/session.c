/* SPDX-License-Identifier: MIT */
/* Sessions: connections, reading, answering, ending. */
#include "session/session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "core/socket.h"
#include "operator/push.h"
#include "operator/verify.h"
#include "operator/warm.h"
#include "operator/where.h"
#include "session/client_page.h"
#include "session/request.h"

#define ACCEPTS_A_TURN   16
#define RATE_A_SECOND    5000 /* a message costs one token or more */
#define RATE_BURST       1000
#define GREETING_TIME_NS (5 * LOOP_NS_PER_S)
#define OPERATOR_TIME_NS (60 * LOOP_NS_PER_S)
#define STALL_TIME_NS    (5 * LOOP_NS_PER_S)
#define PROGRESS_NS      (LOOP_NS_PER_S / 10)
#define ACCEPT_PAUSE_NS  (LOOP_NS_PER_S / 10)
#define DRAINED_AT_CLOSE 1024
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
    struct loop *loop = session->broker->loop;
    loop_disarm(loop, &session->storing_late);
    loop_disarm(loop, &session->silence);
    loop_disarm(loop, &session->stall);
    loop_disarm(loop, &session->resume);
}

void session_doom(struct session *session, const char *reason)
{
    if (session->state == SESSION_DOOMED)
        return;
    struct broker *broker = session->broker;
    const struct log_about about = session_about(session, NULL);
    if (session->page)
        log_line(LOG_LEVEL_DEBUG, &about, "%s: %s", session_describe(session), reason);
    session->state = SESSION_DOOMED;
    loop_remove(broker->loop, &session->socket);
    loop_remove(broker->loop, &session->process);
    loop_remove(broker->loop, &session->storing);
    disarm_timers(session);
    TAILQ_REMOVE(&broker->connections, session, link);
    TAILQ_INSERT_TAIL(&broker->doomed, session, link);
    broker->connection_count--;
}

void session_refuse(struct session *session, uint64_t tag, int code, const char *message)
{
    if (session->state == SESSION_DOOMED)
        return;
    static struct log_limit limits[REFUSAL_CAUSES]; /* by code: none hides the others */
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

/* Memory and descriptors, whatever becomes of the client. */
static void free_memory(struct session *session)
{
    disarm_timers(session); /* the loop must not keep one that is no more */
    send_queue_fini(&session->send_queue);
    close_if_open(session->process.fd);
    close_if_open(session->storing.fd);
    close_if_open(session->page_fd);
    close(session->socket.fd);
    free(session);
}

static void free_session(struct session *session)
{
    bool stored = session->stored[0] != 0;
    if (session->page)
        session_detach(session);
    request_cancel_all(session);
    warm_cancel_all(session);
    push_cancel(session);
    where_cancel(session);
    verify_cancel(session);
    for (uint32_t i = 0; i < SESSION_MODELS; i++)
        if (session->models[i])
            catalog_release(session->broker->catalog, session->models[i]);
    /* Unread messages would turn the peer's next read into ECONNRESET, and our last words would be
     * lost. */
    for (int i = 0; i < DRAINED_AT_CLOSE; i++)
        if (recv(session->socket.fd, NULL, 0, MSG_DONTWAIT | MSG_TRUNC) <= 0)
            break;
    if (stored) /* the manager's copy stays open until it has dropped it */
        (void)shutdown(session->socket.fd, SHUT_RDWR);
    free_memory(session);
}

/* Leaves it to the next broker. */
static void leave_session(struct session *session)
{
    struct broker *broker = session->broker;
    request_cancel_all(session);
    cache_detach_page(broker->cache, session->number);
    client_page_destroy(session->page);
    session->page = NULL; /* nothing to say when it goes */
    broker->sessions[session->number] = NULL;
    broker->session_count--;
    session_doom(session, "the broker leaves it to its successor");
    TAILQ_REMOVE(&broker->doomed, session, link);
    free_memory(session);
}

void sessions_reap(struct broker *broker)
{
    for (struct session *session; (session = TAILQ_FIRST(&broker->doomed));) {
        TAILQ_REMOVE(&broker->doomed, session, link);
        free_session(session);
    }
}

/* ---- answering ------------------------------------------------------------------------------- */

/* Whether answers to it are still to come that this process alone knows of: loads are in the
 * ledger. */
static bool owes(const struct session *session)
{
    return !send_queue_empty(&session->send_queue) || session->warm_count > 0 || session->verify ||
           where_awaited(session) || push_awaited(session);
}

/* Only while answers flow and tokens last. */
static bool may_read(const struct session *session)
{
    return send_queue_empty(&session->send_queue) && session->tokens >= 0 &&
           !session->storing.added;
}

void session_watch(struct session *session)
{
    if (session->state == SESSION_DOOMED)
        return;
    struct loop *loop = session->broker->loop;
    bool waiting = !send_queue_empty(&session->send_queue);
    uint32_t events = 0;
    if (session->record)
        session->record->owing = owes(session);
    if (waiting)
        events = EPOLLOUT;
    else if (may_read(session))
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
        session->broker->counters.slow_readers++;
        session_doom(session, "does not take its answers");
    } else if (result < 0) {
        session_doom(session, "its socket failed");
    } else {
        session_watch(session);
    }
}

void session_send(struct session *session, const void *packet, size_t size, const int *fds,
                  size_t count)
{
    if (session->state != SESSION_DOOMED)
        sent(session,
             send_queue_send(&session->send_queue, session->socket.fd, packet, size, fds, count));
}

void session_done(struct session *session, uint64_t tag, int status, const char *message)
{
    uint8_t packet[sizeof(struct swi_wire_head) + sizeof(struct swi_wire_done) + SWI_ERROR_TEXT];
    size_t length = message ? strnlen(message, SWI_ERROR_TEXT) : 0;
    struct swi_wire_done done = {.status = status, .text_length = (uint32_t)length};
    struct swi_wire_out out;
    swi_wire_begin(&out, packet, sizeof packet, SWI_WIRE_DONE, tag);
    swi_wire_put(&out, &done, sizeof done);
    swi_wire_put(&out, message, length);
    session_send(session, packet, swi_wire_end(&out), NULL, 0);
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

/* ---- reading --------------------------------------------------------------------------------- */

static void spend(struct session *session, int64_t cost)
{
    uint64_t now_ns = loop_now();
    uint64_t idle_ns = now_ns - session->refilled_ns;
    if (idle_ns > LOOP_NS_PER_S)
        idle_ns = LOOP_NS_PER_S;
    int64_t earned = (int64_t)(idle_ns * RATE_A_SECOND / LOOP_NS_PER_S);
    if (earned > 0) {
        session->tokens =
            session->tokens + earned < RATE_BURST ? session->tokens + earned : RATE_BURST;
        session->refilled_ns = now_ns;
    }
    session->tokens -= cost;
    if (session->tokens >= 0 || session->resume.armed || session->state == SESSION_DOOMED)
        return; /* nobody reads on from one that its message has doomed */
    session->broker->counters.rate_limited++;
    uint64_t wait_ns =
        (uint64_t)(-session->tokens + RATE_BURST / 10) * LOOP_NS_PER_S / RATE_A_SECOND;
    loop_arm(session->broker->loop, &session->resume, now_ns + wait_ns);
}

static void resume_reading(struct loop_timer *timer, uint64_t now_ns)
{
    (void)now_ns;
    struct session *session = LOOP_OWNER(timer, struct session, resume);
    spend(session, 0);
    session_watch(session);
}

/* Takes one message. False: no more for now. */
static bool read_message(struct session *session)
{
    static uint8_t packet[SWI_WIRE_MAX]; /* the loop is one thread; handlers do not read */
    size_t descriptors = 0;
    int fd = session->socket.fd;
    bool stored = session->stored[0] != 0;
    ssize_t length = stored ? swi_socket_peek(fd, packet, sizeof packet, &descriptors)
                            : swi_socket_receive(fd, packet, sizeof packet, NULL, &descriptors);
    if (length == -EAGAIN)
        return false;
    if (descriptors) {
        session->broker->counters.descriptors_refused += descriptors;
        const struct log_about about = session_about(session, LOG_ID_REFUSED);
        log_peer_about(&about, "%s sent %zu descriptors; closed them", session_describe(session),
                       descriptors);
    }
    if (length == 0 || (length < 0 && length != SW_EPROTOCOL)) {
        session_doom(session, "hung up");
        return false;
    }
    if (length == SW_EPROTOCOL) {
        session->broker->counters.protocol_errors++;
        session_refuse(session, 0, SW_EPROTOCOL, "a message is longer than the protocol allows");
        return false;
    }
    if (stored) {
        session->record->in_hand++;
        ledger_settle();
    }
    spend(session, request_handle(session, packet, (size_t)length));
    if (stored) {
        session->record->owing = owes(session);
        ledger_settle();
        swi_socket_discard(fd);
        ledger_settle();
        session->record->opened = 0;
        ledger_settle();
        session->record->in_hand = 0;
    }
    return true;
}

static void socket_ready(struct loop_source *source, uint32_t events)
{
    struct session *session = LOOP_OWNER(source, struct session, socket);
    if (events & EPOLLOUT) {
        loop_disarm(session->broker->loop, &session->stall); /* it took something */
        sent(session, send_queue_flush(&session->send_queue, source->fd));
    }
    /* One message, then the others' turn: however many sessions talk without a pause, one that asks
     * for a single chunk waits for one message of each. */
    if (session->state != SESSION_DOOMED && may_read(session))
        (void)read_message(session);
    /* Nobody is there any more, and what is unread would not be read soon either. */
    if ((events & (EPOLLHUP | EPOLLERR)) && !(source->events & EPOLLIN))
        session_doom(session, "hung up");
    session_watch(session);
}

static void process_ready(struct loop_source *source, uint32_t events)
{
    (void)events;
    session_doom(LOOP_OWNER(source, struct session, process), "its process has ended");
}

void session_operate(struct session *session)
{
    session->state = SESSION_OPERATOR;
    loop_arm(session->broker->loop, &session->silence, loop_now() + OPERATOR_TIME_NS);
}

static void silence_over(struct loop_timer *timer, uint64_t now_ns)
{
    (void)now_ns;
    struct session *session = LOOP_OWNER(timer, struct session, silence);
    /* it waits for an answer */
    if (owes(session)) {
        session_operate(session);
        return;
    }
    session->broker->counters.silent_closed++;
    session_doom(session, "said nothing for too long");
}

static void stall_over(struct loop_timer *timer, uint64_t now_ns)
{
    (void)now_ns;
    struct session *session = LOOP_OWNER(timer, struct session, stall);
    session->broker->counters.slow_readers++;
    const struct log_about about = session_about(session, LOG_ID_REFUSED);
    log_peer_about(&about, "%s does not take its answers; closing it", session_describe(session));
    session_doom(session, "does not take its answers");
}

/* ---- accepting ------------------------------------------------------------------------------- */

/* For a connection that gets no session: says why, and closes. */
static void turn_away(int fd, int code, const char *message)
{
    uint8_t packet[sizeof(struct swi_wire_head) + sizeof(struct swi_wire_done) + SWI_ERROR_TEXT];
    struct swi_wire_done done = {.status = code, .text_length = (uint32_t)strlen(message)};
    struct swi_wire_out out;
    swi_wire_begin(&out, packet, sizeof packet, SWI_WIRE_DONE, 0);
    swi_wire_put(&out, &done, sizeof done);
    swi_wire_put(&out, message, strlen(message));
    (void)swi_socket_send(fd, packet, swi_wire_end(&out), NULL, 0);
    close(fd);
}

static int watch_process(struct session *session)
{
    int fd = peer_watch(session->socket.fd, &session->peer);
    if (fd < 0)
        return fd == -ESRCH ? fd : 0; /* otherwise the socket alone tells */
    session->process = (struct loop_source){.ready = process_ready, .fd = fd};
    return loop_add(session->broker->loop, &session->process, EPOLLIN);
}

struct session *session_create(struct broker *broker, int fd)
{
    struct session *session = calloc(1, sizeof *session);
    if (!session) {
        turn_away(fd, -ENOMEM, "the broker is out of memory");
        return NULL;
    }
    uint64_t now_ns = loop_now();
    *session = (struct session){.broker = broker,
                                .state = SESSION_NEW,
                                .socket = {.ready = socket_ready, .fd = fd},
                                .process = {.fd = -1},
                                .storing = {.fd = -1},
                                .page_fd = -1,
                                .silence = {.fire = silence_over},
                                .stall = {.fire = stall_over},
                                .resume = {.fire = resume_reading},
                                .since_ns = now_ns,
                                .refilled_ns = now_ns,
                                .tokens = RATE_BURST,
                                .number = SWI_SESSIONS};
    send_queue_init(&session->send_queue);
    TAILQ_INIT(&session->requests);
    TAILQ_INIT(&session->warms);
    TAILQ_INSERT_TAIL(&broker->connections, session, link);
    broker->connection_count++;
    int result = peer_get(fd, &session->peer);
    if (result == 0)
        result = loop_add(broker->loop, &session->socket, EPOLLIN);
    if (result == 0)
        result = watch_process(session);
    if (result == 0) {
        loop_arm(broker->loop, &session->silence, now_ns + GREETING_TIME_NS);
        return session;
    }
    session_doom(session, sw_strerror(result));
    return NULL;
}

static void accept_again(struct loop_timer *timer, uint64_t now_ns)
{
    (void)now_ns;
    struct broker *broker = LOOP_OWNER(timer, struct broker, accept_timer);
    loop_watch(broker->loop, &broker->accept_source, EPOLLIN);
}

/* From before the limit was lowered there may be more sessions: swctl has room beside them. */
static uint32_t connections_max(const struct broker *broker)
{
    uint32_t sessions = broker->options.max_sessions;
    if (sessions < broker->session_count)
        sessions = broker->session_count;
    return sessions + CONNECTIONS_MORE;
}

static void accept_ready(struct loop_source *source, uint32_t events)
{
    (void)events;
    struct broker *broker = LOOP_OWNER(source, struct broker, accept_source);
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0) {
            int code = -errno;
            if (code == -EAGAIN)
                return;
            if (code == -EINTR || code == -ECONNABORTED)
                continue;
            log_peer("cannot take a connection: %s; raise the limit of open files (LimitNOFILE)",
                     sw_strerror(code));
            loop_watch(broker->loop, source, 0); /* it stays readable: do not spin */
            loop_arm(broker->loop, &broker->accept_timer, loop_now() + ACCEPT_PAUSE_NS);
            return;
        }
        if (broker->connection_count >= connections_max(broker)) {
            broker->counters.sessions_refused++;
            turn_away(fd, SW_EQUOTA, "the broker has too many connections; raise --max-sessions");
        } else {
            (void)session_create(broker, fd);
        }
    }
}

int sessions_start(struct broker *broker, struct swi_error *error)
{
    broker->accept_timer.fire = accept_again;
    broker->accept_source = (struct loop_source){.ready = accept_ready, .fd = broker->listener.fd};
    int result = loop_add(broker->loop, &broker->accept_source, EPOLLIN);
    if (result < 0)
        return swi_fail(error, result, "cannot watch the socket: %s", sw_strerror(result));
    return 0;
}

/* Whoever has answers coming that are still in this process's memory cannot be left. */
static bool may_leave(const struct session *session)
{
    return session->stored[0] != 0 && session->record->state == LEDGER_LIVE && !owes(session);
}

void sessions_stop(struct broker *broker, bool keep)
{
    loop_remove(broker->loop, &broker->accept_source);
    loop_disarm(broker->loop, &broker->accept_timer);
    for (struct session *session; (session = TAILQ_FIRST(&broker->connections));) {
        if (keep && may_leave(session))
            leave_session(session);
        else
            session_doom(session, "the broker stops");
    }
    sessions_reap(broker);
}
