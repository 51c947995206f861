/* Sessions that are clients: their number, epoch and page, and the watch over what they pin. */
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/lease.h"
#include "log.h"
#include "page.h"
#include "session.h"

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
    if (broker->session_count >= broker->options.max_sessions) {
        broker->counters.sessions_refused++;
        char text[160];
        (void)snprintf(text, sizeof text,
                       "the broker has its %u sessions; end a worker, or start swbrokerd with a "
                       "larger --max-sessions",
                       broker->options.max_sessions);
        session_refuse(session, tag, SW_EQUOTA, text);
        return;
    }
    struct swi_error error;
    int page_fd;
    int result = page_create(&session->page, &page_fd, &error);
    if (result < 0) {
        session_refuse(session, tag, result, error.text);
        return;
    }
    uint32_t number = free_number(broker);
    assert(number < SWI_SESSIONS && "fewer sessions than the limit leave a number free");
    take_name(session, hello->name);
    session->number = number;
    session->state = SESSION_ATTACHED;
    broker->sessions[number] = session;
    broker->session_count++;
    broker->counters.sessions++;
    loop_disarm(broker->loop, &session->silence);
    uint64_t epoch = swi_session_revoke(cache_index(broker->cache), number);
    /* Pins count from before the client can make one. */
    cache_attach_page(broker->cache, number, session->page);
    welcome(session, tag, epoch, page_fd);
    close(page_fd);
    const struct log_about about = session_about(session, NULL);
    log_line(LOG_LEVEL_DEBUG, &about, "%s attached", session_describe(session));
}

void session_detach(struct session *session)
{
    struct broker *broker = session->broker;
    /* First the epoch: a client that goes on reading learns it before the first byte changes. */
    (void)swi_session_revoke(cache_index(broker->cache), session->number);
    cache_detach_page(broker->cache, session->number);
    if (broker->trace)
        trace_forget(broker->trace, session->number, session->page, loop_now());
    broker->counters.departed_hits += swi_page_hits(session->page);
    page_destroy(session->page);
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
        if (pins.garbage && !session->garbage_seen) {
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
