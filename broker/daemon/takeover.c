/* SPDX-License-Identifier: MIT */
/* Takes over from a broker that has ended. */
#include "daemon/takeover.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "core/lease.h"
#include "core/size.h"
#include "session/attach.h"
#include "session/client_page.h"
#include "session/receive.h"
#include "session/request.h"

/* A successor handles an interrupted message once more. If it ends as well, the message may be why. */
#define MESSAGE_TRIES  2u
#define FORGET_TIME_NS (2 * LOOP_NS_PER_S) /* for the manager to close an arena */

/* ---- the listening socket -------------------------------------------------------------------- */

static bool take_stored_listener(struct broker *broker)
{
    const struct broker_options *options = &broker->options;
    int fd = fdstore_take(&broker->fdstore, FDSTORE_LISTEN);
    if (fd < 0)
        return false;
    const struct ledger_header *header =
        broker->ledger.ledger ? &broker->ledger.ledger->header : NULL;
    if (header && listener_adopt(fd, options->socket_path, options->socket_mode,
                                 (dev_t)header->listener_device, (ino_t)header->listener_inode,
                                 &broker->listener))
        return true;
    log_warning("the stored listening socket is not the one at %s; dropped it",
                options->socket_path);
    fdstore_drop(&broker->fdstore, FDSTORE_LISTEN);
    (void)shutdown(fd, SHUT_RDWR); /* the manager's copy stops listening, too */
    close(fd);
    return false;
}

/* The ledger comes first: it says which socket file is the broker's own. */
static int take_ledger(struct broker *broker, struct swi_error *error)
{
    int fd = fdstore_take(&broker->fdstore, FDSTORE_LEDGER);
    if (fd < 0)
        return 0;
    int result =
        broker->fdstore.active
            ? ledger_open(fd, &broker->ledger, error)
            : swi_fail(error, SW_EVERSION, "this service stores no descriptors across restarts");
    if (result == 0)
        return 0;
    close(fd);
    if (result != SW_EVERSION) {
        broker->left_alone = true;
        return result;
    }
    log_warning("%s", error->text);
    fdstore_drop(&broker->fdstore, FDSTORE_LEDGER);
    error->code = 0;
    return 0;
}

int takeover_listener(struct broker *broker, struct swi_error *error)
{
    const struct broker_options *options = &broker->options;
    int result = take_ledger(broker, error);
    if (result < 0)
        return result;
    int fd = fdstore_take_activation(&broker->fdstore);
    if (fd >= 0) {
        result = listener_activate(fd, &broker->listener, error);
        if (result < 0)
            close(fd);
        return result;
    }
    bool taken = take_stored_listener(broker);
    if (!taken)
        result =
            listener_open(options->socket_path, options->socket_mode, &broker->listener, error);
    if (result == -EADDRINUSE && broker->fdstore.passed_to)
        return swi_fail(
            error, result,
            "the service manager passed the listening socket to process %ld, which started "
            "this one; start swbrokerd with exec there",
            broker->fdstore.passed_to);
    /* the settings of a socket that was taken over may have changed */
    if (result == 0 && (taken || options->socket_gid != OPTIONS_NO_GROUP))
        result = listener_set_access(&broker->listener, options->socket_mode, options->socket_gid,
                                     error);
    if (result == 0 && !taken)
        result = fdstore_put(&broker->fdstore, FDSTORE_LISTEN, &broker->listener.fd, 1);
    return result < 0 && error->code == 0
               ? swi_fail(error, result, "cannot store the listening socket: %s",
                          sw_strerror(result))
               : result;
}

/* ---- ledger, index, arena -------------------------------------------------------------------- */

static void close_all(const int fds[static 2])
{
    for (int i = 0; i < 2; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

/* Waits until the manager has closed its descriptors: the new arena may need their memory. */
static void await_forgotten(struct broker *broker)
{
    int fd = fdstore_barrier(&broker->fdstore);
    if (fd < 0)
        return;
    struct pollfd poller = {.fd = fd};
    uint64_t began_ns = loop_now(), spent_ns;
    while (!poller.revents && (spent_ns = loop_now() - began_ns) < FORGET_TIME_NS)
        (void)poll(&poller, 1, (int)((FORGET_TIME_NS - spent_ns) / LOOP_NS_PER_MS) + 1);
    if (!poller.revents)
        log_warning("the service manager did not close the earlier arena within %d s",
                    (int)(FORGET_TIME_NS / LOOP_NS_PER_S));
    close(fd);
}

/* Nothing in the fd store is usable: drops it before new descriptors are stored under these names. */
static void forget_all(struct broker *broker)
{
    static const char *const names[] = {FDSTORE_ARENA, FDSTORE_INDEX, FDSTORE_LEDGER};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        fdstore_discard(&broker->fdstore, names[i]);
    for (const char *name; (name = fdstore_find(&broker->fdstore, FDSTORE_PREFIX "session-"));)
        fdstore_discard(&broker->fdstore, name);
    ledger_close(&broker->ledger);
}

/* Counts this attempt, before anything else is looked at: state that ends one broker after another is
 * given up. */
static int begin_try(struct broker *broker, struct swi_error *error)
{
    struct ledger_header *header = &broker->ledger.ledger->header;
    if (header->clean / LEDGER_TRY >= LEDGER_TRIES_MAX)
        return swi_fail(error, SW_EVERSION, "%u brokers in a row ended while taking it over",
                        header->clean / LEDGER_TRY);
    header->clean += LEDGER_TRY;
    ledger_settle();
    return 0;
}

/* 1: taken over. 0: nothing is there, or nothing that can be trusted; it is forgotten. Negative: it
 * may be in order, and this process cannot have it: left as it is for the next one. */
static int take_memory(struct broker *broker, const struct cache_options *options,
                       struct swi_error *error)
{
    int fds[2] = {fdstore_take(&broker->fdstore, FDSTORE_ARENA),
                  fdstore_take(&broker->fdstore, FDSTORE_INDEX)};
    bool nothing = fds[0] < 0 && fds[1] < 0 && !broker->ledger.ledger;
    bool again = fdstore_find(&broker->fdstore, FDSTORE_ARENA) ||
                 fdstore_find(&broker->fdstore, FDSTORE_INDEX) ||
                 fdstore_find(&broker->fdstore, FDSTORE_LEDGER);
    int result = 0;
    if (!nothing && (fds[0] < 0 || fds[1] < 0 || again || !broker->ledger.ledger))
        result = swi_fail(error, SW_EVERSION,
                          "the fd store does not hold one arena, index and ledger of this version");
    if (!nothing && result == 0)
        result = begin_try(broker, error);
    if (!nothing && result == 0) {
        struct cache_options adopting = *options;
        adopting.ledger = broker->ledger.ledger;
        result = cache_adopt(&adopting, fds[0], fds[1], &broker->cache, error);
        if (result == 0)
            return 1;
    }
    close_all(fds);
    if (result < 0 && result != SW_EVERSION) {
        broker->left_alone = true;
        return result;
    }
    if (!nothing)
        log_warning("cannot take over from the earlier broker: %s; starting empty", error->text);
    error->code = 0;
    forget_all(broker);
    if (!nothing)
        await_forgotten(broker);
    return 0;
}

/* Clients of an earlier broker may have its arena mapped until they connect to this one. */
static void tell_shortage(struct broker *broker)
{
    const char *why = cache_shortage(broker->cache);
    if (!why)
        return;
    struct cache_stats stats;
    char reserved[32];
    cache_get_stats(broker->cache, &stats);
    swi_size_format(stats.reserved_bytes, reserved, sizeof reserved);
    log_warning("%s. Starting with %s; more is reserved as memory becomes free, for example when "
                "workers unmap an earlier broker's arena",
                why, reserved);
    broker->short_of_memory = true;
}

static int create_memory(struct broker *broker, const struct cache_options *options,
                         struct swi_error *error)
{
    uint64_t arena_bytes =
        (options->max_bytes + SWI_BLOCK_BYTES - 1) / SWI_BLOCK_BYTES * SWI_BLOCK_BYTES;
    struct cache_options creating = *options;
    int result = ledger_create(arena_bytes, &broker->ledger, error);
    if (result < 0)
        return result;
    creating.ledger = broker->ledger.ledger;
    result = cache_create(&creating, &broker->cache, error);
    if (result < 0)
        return result;
    const struct {
        const char *name;
        int fd;
    } items[] = {{FDSTORE_ARENA, cache_own_arena_fd(broker->cache)},
                 {FDSTORE_INDEX, cache_own_index_fd(broker->cache)},
                 {FDSTORE_LEDGER, broker->ledger.fd}};
    for (size_t i = 0; i < sizeof items / sizeof items[0] && result == 0; i++)
        result = fdstore_put(&broker->fdstore, items[i].name, &items[i].fd, 1);
    if (result < 0)
        return swi_fail(error, result, "cannot store the arena in the fd store: %s",
                        sw_strerror(result));
    tell_shortage(broker);
    broker->settled = true;
    return 0;
}

int takeover_memory(struct broker *broker, const struct cache_options *options,
                    struct swi_error *error)
{
    int result = take_memory(broker, options, error);
    if (result == 0)
        result = create_memory(broker, options, error);
    if (result < 0)
        return result;
    struct ledger_header *header = &broker->ledger.ledger->header;
    header->listener_device = broker->listener.device;
    header->listener_inode = broker->listener.inode;
    if (cache_max_bytes(broker->cache) < options->budget_bytes)
        log_warning("the arena that was taken over is limited to %llu MB; for a larger cache, stop "
                    "and start the broker instead of restarting it",
                    (unsigned long long)cache_max_bytes(broker->cache) >> 20);
    const char *limited = cache_limited(broker->cache);
    if (limited)
        log_warning("%s. The arena that was taken over stays at %llu MB", limited,
                    (unsigned long long)cache_budget(broker->cache) >> 20);
    return 0;
}

/* ---- revisions ------------------------------------------------------------------------------- */

/* Chains of chunk ids, by the place of their revision in the ledger. */
struct chains {
    uint32_t first[LEDGER_REVISIONS];
    uint32_t length[LEDGER_REVISIONS];
    uint32_t next[SWI_CHUNKS];
};

static void build_chains(struct chains *chains, struct broker *broker)
{
    const struct ledger *ledger = broker->ledger.ledger;
    for (uint32_t place = 0; place < LEDGER_REVISIONS; place++)
        chains->first[place] = SWI_CHUNKS;
    for (uint32_t id = 0; id < SWI_CHUNKS; id++) {
        uint64_t incarnation = swi_entry_get(cache_index(broker->cache), id).incarnation;
        uint32_t place = ledger->chunk[id].revision;
        if (incarnation == 0 || place >= LEDGER_REVISIONS ||
            ledger->revision[place].incarnation != incarnation)
            continue;
        chains->next[id] = chains->first[place];
        chains->first[place] = id;
        chains->length[place]++;
    }
}

/* The ids of a revision by ordinal. False: not every ordinal has exactly one. */
static bool list_ids(const struct chains *chains, const struct ledger *ledger, uint32_t place,
                     uint32_t *ids, uint32_t count)
{
    if (chains->length[place] != count || ledger->revision[place].count != count)
        return false;
    for (uint32_t i = 0; i < count; i++)
        ids[i] = SWI_CHUNKS;
    for (uint32_t id = chains->first[place]; id < SWI_CHUNKS; id = chains->next[id]) {
        uint32_t ordinal = ledger->chunk[id].ordinal;
        if (ordinal >= count || ids[ordinal] != SWI_CHUNKS)
            return false;
        ids[ordinal] = id;
    }
    return true;
}

static int resume_revision(struct broker *broker, const struct chains *chains, uint32_t place,
                           struct swi_error *error)
{
    struct ledger *ledger = broker->ledger.ledger;
    struct ledger_revision *known = &ledger->revision[place];
    known->name[sizeof known->name - 1] = 0;
    const struct catalog_model *model = catalog_find(broker->catalog, known->name);
    struct revision *revision = model ? model->current : NULL;
    int result = 1;
    if (revision && !revision->registered) {
        uint32_t count = (uint32_t)revision->manifest.count;
        uint32_t *ids = calloc(count, sizeof *ids);
        if (!ids)
            return swi_fail(error, -ENOMEM, "out of memory");
        if (list_ids(chains, ledger, place, ids, count))
            result = revision_restore(revision, known->incarnation, ids, place);
        free(ids);
    }
    if (result < 0)
        return swi_fail(error, result, "cannot take over the model %s: %s", known->name,
                        sw_strerror(result));
    if (result > 0) {
        log_info("model %s was replaced or removed while no broker ran", known->name);
        ledger_remove_revision(ledger, place);
    }
    return 0;
}

static int resume_revisions(struct broker *broker, struct swi_error *error)
{
    struct chains *chains = calloc(1, sizeof *chains);
    if (!chains)
        return swi_fail(error, -ENOMEM, "out of memory");
    build_chains(chains, broker);
    int result = 0;
    for (uint32_t place = 0; place < LEDGER_REVISIONS && result == 0; place++)
        if (broker->ledger.ledger->revision[place].incarnation)
            result = resume_revision(broker, chains, place, error);
    free(chains);
    return result;
}

/* ---- sessions -------------------------------------------------------------------------------- */

/* A stored session's two descriptors; -1: missing. */
struct pair {
    int page, socket;
};

static struct pair take_pair(struct fdstore *fdstore, const char *name)
{
    struct pair pair = {.page = -1, .socket = -1};
    for (int fd; (fd = fdstore_take(fdstore, name)) >= 0;) {
        struct stat status;
        int *place =
            fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode) ? &pair.socket : &pair.page;
        if (*place >= 0)
            close(*place); /* one too many: the inodes will not match */
        *place = fd;
    }
    return pair;
}

static bool is_inode(int fd, uint64_t inode)
{
    struct stat status;
    return fd >= 0 && fstat(fd, &status) == 0 && status.st_ino == inode;
}

/* Why a session cannot be taken over, by its record. NULL: it can. */
static const char *judge(struct broker *broker, const struct pair *pair, uint32_t number,
                         uint64_t epoch)
{
    const struct ledger_session *record = &broker->ledger.ledger->session[number];
    if (broker->sessions.by_number[number])
        return "another session has its number";
    if (record->epoch != epoch || swi_session_epoch(cache_index(broker->cache), number) != epoch)
        return "its epoch has passed";
    if (record->state != LEDGER_LIVE)
        return "it was not attached";
    if (record->owing)
        return "answers to it were lost";
    if (record->in_hand >= MESSAGE_TRIES)
        return "two brokers ended while handling its message";
    if (!is_inode(pair->page, record->page_inode) || !is_inode(pair->socket, record->socket_inode))
        return "its page or its socket is not the stored one";
    return NULL;
}

static const char *take_session(struct broker *broker, struct pair *pair, uint32_t number,
                                const char *name)
{
    struct swi_error error;
    struct swi_page *page;
    if (client_page_adopt(pair->page, &page, &error) < 0) {
        broker->counters.page_garbage++;
        return "its page is corrupt";
    }
    struct session *session = session_create(&broker->sessions, pair->socket);
    if (session)
        pair->socket = -1;
    if (!session || session_adopt(session, number, page, name) < 0) {
        client_page_destroy(page);
        if (!session) {
            pair->socket = -1;
            return "its process has ended";
        }
        session_doom(session, "its pid belongs to another process");
        return "its process has ended";
    }
    broker->sessions.adopted_count++;
    session_watch(session);
    log_detail("%s taken over", session_describe(session));
    return NULL;
}

static void resume_session(struct broker *broker, const char *stored_name)
{
    char name[FDSTORE_NAME];
    uint32_t number;
    uint64_t epoch;
    if (!fdstore_parse_session(stored_name, &number, &epoch)) {
        log_warning("a stored session has the invalid name %.60s; dropped it", stored_name);
        fdstore_discard(&broker->fdstore, stored_name);
        return;
    }
    fdstore_session_name(name, number, epoch);
    struct pair pair = take_pair(&broker->fdstore, name);
    const char *problem = judge(broker, &pair, number, epoch);
    if (!problem)
        problem = take_session(broker, &pair, number, name);
    if (problem) {
        log_detail("session %u not taken over: %s", number, problem);
        fdstore_drop(&broker->fdstore, name);
    }
    if (pair.page >= 0)
        close(pair.page);
    if (pair.socket >= 0) {
        (void)shutdown(pair.socket, SHUT_RDWR);
        close(pair.socket);
    }
}

/* Clients whose session was not taken over learn it before a byte of the arena changes. */
static void revoke_others(struct broker *broker)
{
    for (uint32_t number = 0; number < SWI_SESSIONS; number++) {
        if (broker->sessions.by_number[number])
            continue;
        (void)swi_session_revoke(cache_index(broker->cache), number);
        broker->ledger.ledger->session[number].state = LEDGER_NONE;
    }
}

int takeover_resume(struct broker *broker, struct swi_error *error)
{
    struct ledger_header *header = &broker->ledger.ledger->header;
    bool clean = header->clean % LEDGER_TRY == LEDGER_CLEAN;
    swi_trace_switch(cache_index(broker->cache), false);
    int result = resume_revisions(broker, error);
    if (result < 0)
        return result;
    for (const char *name; (name = fdstore_find(&broker->fdstore, FDSTORE_PREFIX "session-"));)
        resume_session(broker, name);
    revoke_others(broker);
    header->clean -= header->clean % LEDGER_TRY;
    header->boots++;
    ledger_settle();
    struct cache_adopted adopted;
    result = cache_settle(broker->cache, clean, loop_now(), &adopted, error);
    if (result < 0)
        return result;
    broker->control.adopted_chunks = adopted.resident;
    broker->settled = true;
    for (uint32_t number = 0; number < SWI_SESSIONS; number++) {
        struct session *session = broker->sessions.by_number[number];
        if (session && session->state == SESSION_ATTACHED) /* a failed answer dooms it */
            request_resume(session);
    }
    log_info(
        "took over %u chunks and %u sessions from a broker that %s; %u chunks wait to be hashed",
        adopted.resident, broker->sessions.adopted_count, clean ? "stopped" : "was killed",
        adopted.withheld);
    if (adopted.cut_off)
        log_info(
            "%u reads were interrupted: dropped %u chunks next to them; %u parts of the arena stay "
            "unused until the next boot",
            adopted.cut_off, adopted.dropped, adopted.quarantined);
    return 0;
}
