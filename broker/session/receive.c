/* SPDX-License-Identifier: MIT */
/* Reads a session's socket. */
#include "session/receive.h"

#include <errno.h>
#include <stdlib.h>

#include "core/socket.h"
#include "session/request.h"

#define RATE_A_SECOND    5000 /* a message costs one token or more */
#define RATE_BURST       1000
#define GREETING_TIME_NS (5 * LOOP_NS_PER_S)

/* ---- the rate -------------------------------------------------------------------------------- */

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
        return; /* a session that its message has doomed is not read again */
    session->sessions->counters->rate_limited++;
    uint64_t wait_ns =
        (uint64_t)(-session->tokens + RATE_BURST / 10) * LOOP_NS_PER_S / RATE_A_SECOND;
    loop_arm(session->sessions->loop, &session->resume, now_ns + wait_ns);
}

static void resume_reading(struct loop_timer *timer, uint64_t now_ns)
{
    (void)now_ns;
    struct session *session = LOOP_OWNER(timer, struct session, resume);
    spend(session, 0);
    session_watch(session);
}

/* ---- messages -------------------------------------------------------------------------------- */

/* A stored session's message stays in the socket until its effects are done, so that a successor
 * finds it if this broker dies meanwhile. */
static void handle_message(struct session *session, const void *packet, size_t length)
{
    bool stored = session->stored[0] != 0;
    if (stored) {
        session->record->in_hand++;
        ledger_settle();
    }
    spend(session, request_handle(session, packet, length));
    if (stored) {
        session->record->owing = session_owes(session);
        ledger_settle();
        swi_socket_discard(session->socket.fd);
        ledger_settle();
        session->record->opened = 0;
        ledger_settle();
        session->record->in_hand = 0;
    }
}

static void read_message(struct session *session)
{
    static uint8_t packet[SWI_WIRE_MAX]; /* the loop is one thread; handlers do not read */
    struct counters *counters = session->sessions->counters;
    size_t descriptors = 0;
    int fd = session->socket.fd;
    ssize_t length = session->stored[0]
                         ? swi_socket_peek(fd, packet, sizeof packet, &descriptors)
                         : swi_socket_receive(fd, packet, sizeof packet, NULL, &descriptors);
    if (length == -EAGAIN)
        return;
    if (descriptors) {
        counters->descriptors_refused += descriptors;
        const struct log_about about = session_about(session, LOG_ID_REFUSED);
        log_peer_about(&about, "%s sent %zu descriptors; closed them", session_describe(session),
                       descriptors);
    }
    if (length == SW_EPROTOCOL) {
        counters->protocol_errors++;
        session_refuse(session, 0, SW_EPROTOCOL, "a message is longer than the protocol allows");
    } else if (length <= 0) {
        session_doom(session, "hung up");
    } else {
        handle_message(session, packet, (size_t)length);
    }
}

static void socket_ready(struct loop_source *source, uint32_t events)
{
    struct session *session = LOOP_OWNER(source, struct session, socket);
    if (events & EPOLLOUT)
        session_flush(session);
    /* One message, then the other sessions: however many of them send without a pause, a session
     * that asks for a single chunk waits for one message of each. */
    if (session->state != SESSION_DOOMED && session_may_read(session))
        read_message(session);
    /* The peer is gone, and its unread messages would not be read soon. */
    if ((events & (EPOLLHUP | EPOLLERR)) && !(source->events & EPOLLIN))
        session_doom(session, "hung up");
    session_watch(session);
}

/* ---- a new session --------------------------------------------------------------------------- */

static void process_ready(struct loop_source *source, uint32_t events)
{
    (void)events;
    session_doom(LOOP_OWNER(source, struct session, process), "its process has ended");
}

static void silence_over(struct loop_timer *timer, uint64_t now_ns)
{
    (void)now_ns;
    struct session *session = LOOP_OWNER(timer, struct session, silence);
    if (session_owes(session)) { /* it waits for an answer */
        session_operate(session);
        return;
    }
    session->sessions->counters->silent_closed++;
    session_doom(session, "sent nothing for too long");
}

static void stall_over(struct loop_timer *timer, uint64_t now_ns)
{
    (void)now_ns;
    struct session *session = LOOP_OWNER(timer, struct session, stall);
    session->sessions->counters->slow_readers++;
    const struct log_about about = session_about(session, LOG_ID_REFUSED);
    log_peer_about(&about, "%s does not read its answers; closing it", session_describe(session));
    session_doom(session, "does not read its answers");
}

static int watch_process(struct session *session)
{
    int fd = peer_watch(session->socket.fd, &session->peer);
    if (fd < 0)
        return fd == -ESRCH ? fd : 0; /* otherwise only the socket tells */
    session->process = (struct loop_source){.ready = process_ready, .fd = fd};
    return loop_add(session->sessions->loop, &session->process, EPOLLIN);
}

struct session *session_create(struct sessions *sessions, int fd)
{
    struct session *session = calloc(1, sizeof *session);
    if (!session) {
        session_turn_away(fd, -ENOMEM, "the broker is out of memory");
        return NULL;
    }
    uint64_t now_ns = loop_now();
    *session = (struct session){.sessions = sessions,
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
    TAILQ_INIT(&session->jobs);
    TAILQ_INSERT_TAIL(&sessions->connections, session, link);
    sessions->connection_count++;
    int result = peer_get(fd, &session->peer);
    if (result == 0)
        result = loop_add(sessions->loop, &session->socket, EPOLLIN);
    if (result == 0)
        result = watch_process(session);
    if (result == 0) {
        loop_arm(sessions->loop, &session->silence, now_ns + GREETING_TIME_NS);
        return session;
    }
    session_doom(session, sw_strerror(result));
    return NULL;
}
