/* SPDX-License-Identifier: MIT */
/* A client's session: its number, epoch and page. */
#include "session/attach.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/lease.h"
#include "session/client_page.h"

#define STORING_TIME_NS (5 * LOOP_NS_PER_S)
/* Of one slot: a month of one hit every ten nanoseconds. */
#define HITS_BEFORE_MAX (UINT64_C(1) << 48)

/* The name appears in tables, logs and JSON. */
static void take_name(struct session *session, const char *name)
{
    (void)snprintf(session->name, sizeof session->name, "%s", name[0] ? name : "unnamed");
    for (char *c = session->name; *c; c++)
        if (*c < 0x20 || *c > 0x7e)
            *c = '?';
}

static void welcome(struct session *session, uint64_t tag, uint64_t epoch, int page_fd)
{
    struct cache *cache = session->sessions->cache;
    const struct swi_wire_welcome body = {
        .epoch = epoch,
        .instance = cache_index(cache)->header.instance,
        .arena_bytes = cache_max_bytes(cache),
        .session = session->number,
        .broker_pid = (uint32_t)getpid(),
    };
    uint8_t packet[sizeof(struct swi_wire_head) + sizeof body];
    struct swi_wire_out out;
    swi_wire_begin(&out, packet, sizeof packet, SWI_WIRE_WELCOME, tag);
    swi_wire_put(&out, &body, sizeof body);
    const int fds[] = {cache_arena_fd(cache), cache_index_fd(cache), page_fd};
    session_send(session, packet, swi_wire_end(&out), fds, 3);
}

static void refuse_one_more(struct session *session, uint64_t tag)
{
    struct sessions *sessions = session->sessions;
    char text[200];
    sessions->counters->sessions_refused++;
    if (sessions->attached_count < sessions->options->max_sessions)
        (void)snprintf(text, sizeof text,
                       "the fd store has room for %u sessions, and all are in use; stop a worker, "
                       "or raise FileDescriptorStoreMax=",
                       sessions_limit(sessions));
    else
        (void)snprintf(text, sizeof text,
                       "all %u sessions of the broker are in use; stop a worker, or start "
                       "swbrokerd with a larger --max-sessions",
                       sessions->options->max_sessions);
    session_refuse(session, tag, SW_EQUOTA, text);
}

/* ---- storing --------------------------------------------------------------------------------- */

static uint64_t inode_of(int fd)
{
    struct stat status;
    return fstat(fd, &status) < 0 ? 0 : status.st_ino;
}

static void write_record(struct session *session, uint64_t epoch)
{
    struct ledger_session *record = session->record;
    record->state = LEDGER_NONE;
    ledger_settle();
    *record = (struct ledger_session){.epoch = epoch,
                                      .page_inode = inode_of(session->page_fd),
                                      .socket_inode = inode_of(session->socket.fd),
                                      .process_start = peer_process_start(session->peer.pid),
                                      .pid = session->peer.pid,
                                      .uid = session->peer.uid};
    memcpy(record->name, session->name, sizeof record->name);
    ledger_settle();
    record->state = LEDGER_GREETING;
    ledger_settle();
}

/* Sends the client its page: from now on it may pin. The record says LIVE only after that: if the
 * broker is killed in between, the client is told to start over instead of waiting for a welcome. */
static void let_in(struct session *session)
{
    welcome(session, session->hello_tag, session->record->epoch, session->page_fd);
    close(session->page_fd);
    session->page_fd = -1;
    ledger_settle();
    session->record->state = LEDGER_LIVE;
    const struct log_about about = session_about(session, NULL);
    log_line(LOG_LEVEL_DEBUG, &about, "%s attached", session_describe(session));
}

static void stored(struct loop_source *source, uint32_t events)
{
    (void)events;
    struct session *session = LOOP_OWNER(source, struct session, storing);
    loop_remove(session->sessions->loop, source);
    close(source->fd);
    source->fd = -1;
    loop_disarm(session->sessions->loop, &session->storing_late);
    let_in(session);
    session_watch(session);
}

static void storing_late(struct loop_timer *timer, uint64_t now_ns)
{
    (void)now_ns;
    struct session *session = LOOP_OWNER(timer, struct session, storing_late);
    session_refuse(session, session->hello_tag, -ETIMEDOUT,
                   "the service manager did not store the session's descriptors in time; try again "
                   "later");
}

/* A successor could not see, and would not count, a pin in a page that was not stored: the page
 * goes to the manager first, then to the client. */
static int store_session(struct session *session)
{
    struct sessions *sessions = session->sessions;
    const int fds[] = {session->page_fd, session->socket.fd};
    fdstore_session_name(session->stored, session->number, session->record->epoch);
    int result = fdstore_put(sessions->fdstore, session->stored, fds, 2);
    if (result == 0)
        result = fdstore_barrier(sessions->fdstore);
    if (result < 0)
        return result;
    session->storing = (struct loop_source){.ready = stored, .fd = result};
    session->storing_late.fire = storing_late;
    result = loop_add(sessions->loop, &session->storing, 0);
    if (result == 0)
        loop_arm(sessions->loop, &session->storing_late, loop_now() + STORING_TIME_NS);
    return result;
}

/* ---- HELLO ----------------------------------------------------------------------------------- */

static void take_number(struct session *session, uint32_t number, struct swi_page *page)
{
    struct sessions *sessions = session->sessions;
    session->number = number;
    session->page = page;
    session->hits_looked_ns = loop_now();
    session->record = &sessions->ledger->session[number];
    session->state = SESSION_ATTACHED;
    sessions->by_number[number] = session;
    sessions->attached_count++;
    sessions->counters->sessions++;
    loop_disarm(sessions->loop, &session->silence);
    /* Before the client can pin: no pin goes uncounted. */
    cache_attach_page(sessions->cache, number, page);
}

void session_attach(struct session *session, uint64_t tag, const struct swi_wire_hello *hello)
{
    struct sessions *sessions = session->sessions;
    if (hello->layout_version != SWI_LAYOUT_VERSION || hello->layout_hash != SWI_LAYOUT_HASH) {
        sessions->counters->sessions_refused++;
        session_refuse(session, tag, SW_EVERSION,
                       "the client's libsw uses a different shared-memory layout than this broker; "
                       "install both from the same release");
        return;
    }
    if (sessions->attached_count >= sessions_limit(sessions)) {
        refuse_one_more(session, tag);
        return;
    }
    struct swi_error error;
    struct swi_page *page;
    int result = client_page_create(&page, &session->page_fd, &error);
    if (result < 0) {
        session_refuse(session, tag, result, error.text);
        return;
    }
    uint32_t number = sessions_free_number(sessions);
    assert(number < SWI_SESSIONS && "below the limit, a number is free");
    take_name(session, hello->name);
    uint64_t epoch = swi_session_revoke(cache_index(sessions->cache), number);
    take_number(session, number, page);
    write_record(session, epoch);
    session->hello_tag = tag;
    if (!sessions->fdstore->active) {
        let_in(session);
        return;
    }
    result = store_session(session);
    if (result < 0)
        session_refuse(session, tag, result, "cannot store the session in the fd store");
}

/* Counts the hits that the page has from before this broker. */
static void begin_hits(struct session *session)
{
    session->hits_looked_ns = loop_now();
    for (uint32_t slot = 0; slot < SWI_SLOTS; slot++) {
        session->slot_hits[slot] = swi_slot_hits(session->page, slot);
        if (session->slot_hits[slot] < HITS_BEFORE_MAX)
            session->hits_before += session->slot_hits[slot];
    }
}

int session_adopt(struct session *session, uint32_t number, struct swi_page *page,
                  const char *stored_name)
{
    struct sessions *sessions = session->sessions;
    const struct ledger_session *record = &sessions->ledger->session[number];
    uint64_t start = peer_process_start(session->peer.pid);
    if (record->pid != session->peer.pid || record->uid != session->peer.uid ||
        (start && record->process_start && start != record->process_start))
        return -ESRCH;
    char name[sizeof record->name];
    (void)snprintf(name, sizeof name, "%.*s", (int)sizeof name - 1, record->name);
    take_name(session, name);
    take_number(session, number, page);
    (void)snprintf(session->stored, sizeof session->stored, "%s", stored_name);
    begin_hits(session);
    for (uint32_t i = 0; i < SESSION_MODELS; i++) {
        uint64_t incarnation = record->model[i];
        struct swi_error error;
        struct revision *revision =
            incarnation ? catalog_find_revision(sessions->catalog, incarnation) : NULL;
        if (revision && revision->registered && revision_acquire(revision, &error) == 0)
            session->models[i] = revision;
        else if (incarnation)
            session->stale |= UINT64_C(1) << i;
    }
    return 0;
}

uint64_t session_hits(struct session *session)
{
    uint64_t since_ns = session->hits_looked_ns;
    session->hits_looked_ns = loop_now(); /* first: hits during the look count later */
    uint64_t now[SWI_SLOTS];
    for (uint32_t slot = 0; slot < SWI_SLOTS; slot++)
        now[slot] = swi_slot_hits(session->page, slot);
    uint64_t most = loop_now() - since_ns;
    for (uint32_t slot = 0; slot < SWI_SLOTS; slot++) {
        uint64_t more = now[slot] - session->slot_hits[slot]; /* wraps if the count went back */
        session->slot_hits[slot] = now[slot];
        if (more <= most)
            session->hits += more;
        else
            session->hits_garbage = true;
    }
    return session->hits;
}

void session_detach(struct session *session)
{
    struct sessions *sessions = session->sessions;
    /* First the epoch: a client that still reads notices before the first byte changes. */
    (void)swi_session_revoke(cache_index(sessions->cache), session->number);
    session->record->state = LEDGER_NONE;
    ledger_settle();
    if (session->stored[0])
        fdstore_drop(sessions->fdstore, session->stored);
    session->stored[0] = 0;
    cache_detach_page(sessions->cache, session->number);
    if (sessions->trace)
        trace_forget(sessions->trace, session->number, session->page, loop_now());
    sessions->counters->departed_hits += session_hits(session);
    client_page_destroy(session->page);
    session->page = NULL;
    sessions->by_number[session->number] = NULL;
    sessions->attached_count--;
}
