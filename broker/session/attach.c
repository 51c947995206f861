/* SPDX-License-Identifier: MIT */
/* Sessions that are clients: their number, epoch and page, and the watch over what they pin. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "core/lease.h"
#include "session/client_page.h"
#include "session/session.h"

#define STORING_TIME_NS (5 * LOOP_NS_PER_S)
/* Of one slot: a month of one hit in ten nanoseconds. */
#define HITS_BEFORE_MAX (UINT64_C(1) << 48)

/* A number is not given again before the others had their turn: old ones in logs stay telling. */
static uint32_t free_number(struct broker *broker)
{
    uint32_t limit = broker->options.max_sessions;
    for (uint32_t i = 1; i <= limit; i++) {
        uint32_t number = (broker->last_number + i) % limit;
        if (!broker->sessions[number])
            return broker->last_number = number;
    }
    return SWI_SESSIONS;
}

/* The name ends up in tables, logs and JSON. */
static void take_name(struct session *session, const char *name)
{
    (void)snprintf(session->name, sizeof session->name, "%s", name[0] ? name : "unnamed");
    for (char *c = session->name; *c; c++)
        if (*c < 0x20 || *c > 0x7e)
            *c = '?';
}

static void welcome(struct session *session, uint64_t tag, uint64_t epoch, int page_fd)
{
    struct cache *cache = session->broker->cache;
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

uint32_t session_limit(const struct broker *broker)
{
    uint32_t stored = fdstore_sessions(&broker->fdstore);
    return stored < broker->options.max_sessions ? stored : broker->options.max_sessions;
}

static void refuse_one_more(struct session *session, uint64_t tag)
{
    struct broker *broker = session->broker;
    char text[200];
    broker->counters.sessions_refused++;
    if (broker->session_count < broker->options.max_sessions)
        (void)snprintf(text, sizeof text,
                       "the service manager keeps descriptors for %u sessions, and the broker has "
                       "as many; end a worker, or raise FileDescriptorStoreMax=",
                       session_limit(broker));
    else
        (void)snprintf(text, sizeof text,
                       "the broker has its %u sessions; end a worker, or start swbrokerd with a "
                       "larger --max-sessions",
                       broker->options.max_sessions);
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

/* The client gets its page: from now on it may pin. Alive only after that: one who was killed in
 * between leaves a client that is told to begin anew, not one that waits for a welcome. */
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
    loop_remove(session->broker->loop, source);
    close(source->fd);
    source->fd = -1;
    loop_disarm(session->broker->loop, &session->storing_late);
    let_in(session);
    session_watch(session);
}

static void storing_late(struct loop_timer *timer, uint64_t now_ns)
{
    (void)now_ns;
    struct session *session = LOOP_OWNER(timer, struct session, storing_late);
    session_refuse(session, session->hello_tag, -ETIMEDOUT,
                   "the service manager does not take the session's descriptors; try again later");
}

/* A pin that a successor cannot see would be a pin that does not count: first the page goes to the
 * manager, then to the client. */
static int store_session(struct session *session)
{
    struct broker *broker = session->broker;
    const int fds[] = {session->page_fd, session->socket.fd};
    fdstore_session_name(session->stored, session->number, session->record->epoch);
    int result = fdstore_put(&broker->fdstore, session->stored, fds, 2);
    if (result == 0)
        result = fdstore_barrier(&broker->fdstore);
    if (result < 0)
        return result;
    session->storing = (struct loop_source){.ready = stored, .fd = result};
    session->storing_late.fire = storing_late;
    result = loop_add(broker->loop, &session->storing, 0);
    if (result == 0)
        loop_arm(broker->loop, &session->storing_late, loop_now() + STORING_TIME_NS);
    return result;
}

/* ---- HELLO ----------------------------------------------------------------------------------- */

static void take_number(struct session *session, uint32_t number, struct swi_page *page)
{
    struct broker *broker = session->broker;
    session->number = number;
    session->page = page;
    session->hits_looked_ns = loop_now();
    session->record = &broker->ledger.ledger->session[number];
    session->state = SESSION_ATTACHED;
    broker->sessions[number] = session;
    broker->session_count++;
    broker->counters.sessions++;
    loop_disarm(broker->loop, &session->silence);
    /* Pins count from before the client can make one. */
    cache_attach_page(broker->cache, number, page);
}

void session_attach(struct session *session, uint64_t tag, const struct swi_wire_hello *hello)
{
    struct broker *broker = session->broker;
    if (hello->layout_version != SWI_LAYOUT_VERSION || hello->layout_hash != SWI_LAYOUT_HASH) {
        broker->counters.sessions_refused++;
        session_refuse(session, tag, SW_EVERSION,
                       "the client's libsw lays shared memory out differently from this broker; "
                       "use both of the same release");
        return;
    }
    if (broker->session_count >= session_limit(broker)) {
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
    uint32_t number = free_number(broker);
    assert(number < SWI_SESSIONS && "fewer sessions than the limit leave a number free");
    take_name(session, hello->name);
    uint64_t epoch = swi_session_revoke(cache_index(broker->cache), number);
    take_number(session, number, page);
    write_record(session, epoch);
    session->hello_tag = tag;
    if (!broker->fdstore.active) {
        let_in(session);
        return;
    }
    result = store_session(session);
    if (result < 0)
        session_refuse(session, tag, result, "cannot give the session to the service manager");
}

/* What the page of a session says that an earlier broker had. */
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
    struct broker *broker = session->broker;
    const struct ledger_session *record = &broker->ledger.ledger->session[number];
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
            incarnation ? catalog_find_revision(broker->catalog, incarnation) : NULL;
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
    session->hits_looked_ns = loop_now(); /* before the look: what comes in between counts later */
    uint64_t now[SWI_SLOTS];
    for (uint32_t slot = 0; slot < SWI_SLOTS; slot++)
        now[slot] = swi_slot_hits(session->page, slot);
    uint64_t most = loop_now() - since_ns;
    for (uint32_t slot = 0; slot < SWI_SLOTS; slot++) {
        uint64_t more = now[slot] - session->slot_hits[slot]; /* wraps when it went back */
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
    struct broker *broker = session->broker;
    /* First the epoch: a client that goes on reading learns it before the first byte changes. */
    (void)swi_session_revoke(cache_index(broker->cache), session->number);
    session->record->state = LEDGER_NONE;
    ledger_settle();
    if (session->stored[0])
        fdstore_drop(&broker->fdstore, session->stored);
    session->stored[0] = 0;
    cache_detach_page(broker->cache, session->number);
    if (broker->trace)
        trace_forget(broker->trace, session->number, session->page, loop_now());
    broker->counters.departed_hits += session_hits(session);
    client_page_destroy(session->page);
    session->page = NULL;
    broker->sessions[session->number] = NULL;
    broker->session_count--;
}

/* ---- what clients pin ------------------------------------------------------------------------ */

struct session_pins session_count_pins(const struct session *session)
{
    const struct swi_index *index = cache_index(session->broker->cache);
    uint32_t ids[SWI_SLOTS];
    uint32_t bad;
    uint32_t count = swi_page_list_pins(session->page, ids, &bad);
    struct session_pins pins = {.garbage = bad > 0 || !swi_page_compatible(session->page)};
    for (uint32_t i = 0; i < count; i++) {
        bool again = false;
        for (uint32_t j = 0; j < i && !again; j++)
            again = ids[j] == ids[i];
        if (again)
            continue;
        struct swi_entry_value entry = swi_entry_get(index, ids[i]);
        if (entry.state == SWI_ABSENT || entry.state == SWI_LOADING)
            continue; /* a pin that waits for its chunk holds no bytes yet */
        pins.chunks++;
        pins.bytes += entry.bytes;
    }
    return pins;
}

static uint64_t pin_quota(const struct broker *broker)
{
    if (broker->options.max_pinned_bytes)
        return broker->options.max_pinned_bytes;
    struct cache_stats stats;
    cache_get_stats(broker->cache, &stats);
    return stats.arena_bytes / 2;
}

/* A pass needs one chunk and the next, however small the arena: two are always allowed. What is
 * over the quota in two looks running is no transition between layers. */
static void check_quota(struct session *session, const struct session_pins *pins, uint64_t quota)
{
    bool over = pins->chunks > 2 && pins->bytes > quota;
    if (over && session->over_quota) {
        session->broker->counters.quota_revoked++;
        char text[200];
        (void)snprintf(text, sizeof text,
                       "it pinned %u chunks of %llu MB, its quota is %llu MB (--max-pinned); its "
                       "leases are revoked",
                       pins->chunks, (unsigned long long)pins->bytes >> 20,
                       (unsigned long long)quota >> 20);
        session_refuse(session, 0, SW_EQUOTA, text);
    }
    session->over_quota = over;
}

void sessions_check(struct broker *broker)
{
    if (broker->session_count == 0)
        return;
    uint64_t quota = pin_quota(broker);
    struct session *session, *next;
    for (session = TAILQ_FIRST(&broker->connections); session; session = next) {
        next = TAILQ_NEXT(session, link); /* refusing takes it off the list */
        if (session->state != SESSION_ATTACHED)
            continue;
        struct session_pins pins = session_count_pins(session);
        (void)session_hits(session);
        if ((pins.garbage || session->hits_garbage) && !session->garbage_seen) {
            session->garbage_seen = true;
            broker->counters.page_garbage++;
            const struct log_about about = session_about(session, LOG_ID_REFUSED);
            log_peer_about(
                &about, "%s: its page holds what no client writes; its valid pins go on counting",
                session_describe(session));
        }
        check_quota(session, &pins, quota);
    }
}
