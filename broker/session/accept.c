/* SPDX-License-Identifier: MIT */
/* Takes connections, and frees sessions that have ended. */
#include "session/accept.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "session/attach.h"
#include "session/client_page.h"
#include "session/receive.h"

#define ACCEPTS_A_TURN   16
#define ACCEPT_PAUSE_NS  (LOOP_NS_PER_S / 10)
#define DRAINED_AT_CLOSE 1024

/* ---- taking connections ---------------------------------------------------------------------- */

static void accept_again(struct loop_timer *timer, uint64_t now_ns)
{
    (void)now_ns;
    struct sessions *sessions = LOOP_OWNER(timer, struct sessions, accept_timer);
    loop_watch(sessions->loop, &sessions->accept_source, EPOLLIN);
}

/* Sessions from before the limit was lowered may exceed it: swctl has room beside them. */
static uint32_t connections_max(const struct sessions *sessions)
{
    uint32_t attached = sessions->options->max_sessions;
    if (attached < sessions->attached_count)
        attached = sessions->attached_count;
    return attached + CONNECTIONS_MORE;
}

static void accept_ready(struct loop_source *source, uint32_t events)
{
    (void)events;
    struct sessions *sessions = LOOP_OWNER(source, struct sessions, accept_source);
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0) {
            int code = -errno;
            if (code == -EAGAIN)
                return;
            if (code == -EINTR || code == -ECONNABORTED)
                continue;
            log_peer("cannot accept a connection: %s; raise the limit of open files (LimitNOFILE=)",
                     sw_strerror(code));
            loop_watch(sessions->loop, source, 0); /* it stays readable: do not spin */
            loop_arm(sessions->loop, &sessions->accept_timer, loop_now() + ACCEPT_PAUSE_NS);
            return;
        }
        if (sessions->connection_count >= connections_max(sessions)) {
            sessions->counters->sessions_refused++;
            session_turn_away(fd, SW_EQUOTA,
                              "the broker has too many connections; raise --max-sessions");
        } else {
            (void)session_create(sessions, fd);
        }
    }
}

int sessions_start(struct sessions *sessions, int listener_fd, struct swi_error *error)
{
    sessions->accept_timer.fire = accept_again;
    sessions->accept_source = (struct loop_source){.ready = accept_ready, .fd = listener_fd};
    int result = loop_add(sessions->loop, &sessions->accept_source, EPOLLIN);
    if (result < 0)
        return swi_fail(error, result, "cannot watch the socket: %s", sw_strerror(result));
    return 0;
}

/* ---- freeing sessions ------------------------------------------------------------------------ */

static void end_session(struct session *session)
{
    bool stored = session->stored[0] != 0;
    if (session->page)
        session_detach(session);
    session_cancel_jobs(session);
    for (uint32_t i = 0; i < SESSION_MODELS; i++)
        if (session->models[i])
            catalog_release(session->sessions->catalog, session->models[i]);
    /* Unread messages would turn the peer's next read into ECONNRESET, and the last answer would be
     * lost. */
    for (int i = 0; i < DRAINED_AT_CLOSE; i++)
        if (recv(session->socket.fd, NULL, 0, MSG_DONTWAIT | MSG_TRUNC) <= 0)
            break;
    if (stored) /* the manager's copy stays open until the manager has dropped it */
        (void)shutdown(session->socket.fd, SHUT_RDWR);
    session_free(session);
}

void sessions_reap(struct sessions *sessions)
{
    for (struct session *session; (session = TAILQ_FIRST(&sessions->doomed));) {
        TAILQ_REMOVE(&sessions->doomed, session, link);
        end_session(session);
    }
}

/* A session that waits for answers in this process's memory cannot be left to a successor. */
static bool may_leave(const struct session *session)
{
    return session->stored[0] != 0 && session->record->state == LEDGER_LIVE &&
           !session_owes(session);
}

static void leave_session(struct session *session)
{
    struct sessions *sessions = session->sessions;
    session_cancel_jobs(session);
    cache_detach_page(sessions->cache, session->number);
    client_page_destroy(session->page);
    session->page = NULL; /* session_doom logs nothing */
    sessions->by_number[session->number] = NULL;
    sessions->attached_count--;
    session_doom(session, "the broker leaves it to its successor");
    TAILQ_REMOVE(&sessions->doomed, session, link);
    session_free(session);
}

void sessions_stop(struct sessions *sessions, bool keep)
{
    loop_remove(sessions->loop, &sessions->accept_source);
    loop_disarm(sessions->loop, &sessions->accept_timer);
    for (struct session *session; (session = TAILQ_FIRST(&sessions->connections));) {
        if (keep && may_leave(session))
            leave_session(session);
        else
            session_doom(session, "the broker stops");
    }
    sessions_reap(sessions);
}
