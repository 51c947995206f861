/* SPDX-License-Identifier: MIT */
/* The service manager's descriptor store. */
#include "handover/fdstore.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "core/layout.h"
#include "handover/sd_notify.h"

#define CAPACITY_MAX 65536u

/* What $FDSTORE says; 0: nothing is kept. */
static uint32_t read_capacity(void)
{
    const char *manager = getenv("NOTIFY_SOCKET");
    const char *text = getenv("FDSTORE");
    if (!manager || !*manager || !text || !*text)
        return 0;
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (errno || *end || text[0] < '0' || text[0] > '9') {
        log_warning("FDSTORE=%s is no number of descriptors; nothing is kept over a restart", text);
        return 0;
    }
    if (value < STORE_SHARED + STORE_SESSION) {
        if (value > 0)
            log_warning("the service manager keeps %lu descriptors, fewer than one session needs; "
                        "nothing is kept over a restart: raise FileDescriptorStoreMax=",
                        value);
        return 0;
    }
    if (!notify_can_send_fds()) {
        log_warning("FDSTORE=%s, but this swbrokerd was built without libsystemd: nothing is kept "
                    "over a restart",
                    text);
        return 0;
    }
    return value < CAPACITY_MAX ? (uint32_t)value : CAPACITY_MAX;
}

int store_open(struct store *store, struct swi_error *error)
{
    *store = (struct store){.capacity = read_capacity()};
    store->active = store->capacity > 0;
    char **names = NULL;
    int count = notify_take_fds(&names);
    if (count < 0)
        return swi_fail(error, count, "cannot take the service manager's descriptors: %s",
                        sw_strerror(count));
    if (count == 0) {
        free(names);
        return 0;
    }
    store->items = calloc((size_t)count, sizeof *store->items);
    if (!store->items)
        return swi_fail(error, -ENOMEM, "out of memory");
    store->count = (uint32_t)count;
    for (uint32_t i = 0; i < store->count; i++)
        store->items[i] = (struct store_item){.name = names[i], .fd = NOTIFY_FIRST_FD + (int)i};
    free(names);
    return 0;
}

/* Whoever is at the other end of a session's socket learns that nobody reads it any more, although
 * the manager's copy keeps it open a little longer. */
static void close_for_good(const struct store_item *item)
{
    uint32_t number;
    uint64_t epoch;
    if (store_parse_session(item->name, &number, &epoch))
        (void)shutdown(item->fd, SHUT_RDWR);
    close(item->fd);
}

void store_close(struct store *store, bool forget)
{
    for (uint32_t i = 0; i < store->count; i++) {
        struct store_item *item = &store->items[i];
        if (item->fd >= 0 && !forget) {
            close(item->fd);
        } else if (item->fd >= 0) {
            log_warning("the service manager passed a descriptor \"%s\" that is of no use here; "
                        "closed it",
                        item->name);
            store_drop(store, item->name);
            close_for_good(item);
        }
        free(item->name);
    }
    free(store->items);
    store->items = NULL;
    store->count = 0;
}

bool store_reserve(struct store *store, uint32_t models)
{
    bool fits = store->active && models <= store->capacity - STORE_SHARED - STORE_SESSION;
    store->models = fits ? models : 0;
    return fits;
}

uint32_t store_sessions(const struct store *store)
{
    return store->active ? (store->capacity - STORE_SHARED - store->models) / STORE_SESSION
                         : UINT32_MAX;
}

int store_take(struct store *store, const char *name)
{
    for (uint32_t i = 0; i < store->count; i++) {
        struct store_item *item = &store->items[i];
        if (item->fd < 0 || strcmp(item->name, name) != 0)
            continue;
        int fd = item->fd;
        item->fd = -1;
        return fd;
    }
    return -1;
}

void store_discard(struct store *store, const char *name)
{
    char copy[256];
    bool kept = store->active;
    (void)snprintf(copy, sizeof copy, "%s", name);
    for (uint32_t i = 0; i < store->count; i++) {
        struct store_item *item = &store->items[i];
        if (strcmp(item->name, copy) != 0)
            continue;
        kept = true;
        if (item->fd >= 0)
            close_for_good(item);
        item->fd = -1;
    }
    if (kept)
        store_drop(store, copy);
}

const char *store_find(const struct store *store, const char *prefix)
{
    for (uint32_t i = 0; i < store->count; i++) {
        const struct store_item *item = &store->items[i];
        if (item->fd >= 0 && strncmp(item->name, prefix, strlen(prefix)) == 0)
            return item->name;
    }
    return NULL;
}

int store_take_activation(struct store *store)
{
    for (uint32_t i = 0; i < store->count; i++) {
        struct store_item *item = &store->items[i];
        int listening = 0;
        socklen_t size = sizeof listening;
        if (item->fd < 0 || strncmp(item->name, STORE_PREFIX, strlen(STORE_PREFIX)) == 0 ||
            getsockopt(item->fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) < 0 || !listening)
            continue;
        int fd = item->fd;
        item->fd = -1;
        return fd;
    }
    return -1;
}

int store_put(const struct store *store, const char *name, const int *fds, unsigned count)
{
    if (!store->active)
        return 0;
    char text[STORE_NAME + 32];
    (void)snprintf(text, sizeof text, "FDSTORE=1\nFDNAME=%s", name);
    return notify_send_fds(text, fds, count);
}

void store_drop(const struct store *store, const char *name)
{
    (void)store; /* inactive or not: an earlier broker may have put it there */
    char text[300];
    (void)snprintf(text, sizeof text, "FDSTOREREMOVE=1\nFDNAME=%s", name);
    notify_manager(text);
}

int store_barrier(const struct store *store)
{
    (void)store; /* inactive or not, as store_drop */
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
        return -errno;
    int result = notify_send_fds("BARRIER=1", &ends[1], 1);
    close(ends[1]);
    if (result == 0)
        return ends[0];
    close(ends[0]);
    return result;
}

void store_session_name(char name[static STORE_NAME], uint32_t number, uint64_t epoch)
{
    (void)snprintf(name, STORE_NAME, STORE_PREFIX "session-%" PRIu32 "-%" PRIu64, number, epoch);
}

bool store_parse_session(const char *name, uint32_t *ret_number, uint64_t *ret_epoch)
{
    uint32_t number;
    uint64_t epoch;
    if (sscanf(name, STORE_PREFIX "session-%" SCNu32 "-%" SCNu64, &number, &epoch) != 2 ||
        number >= SWI_SESSIONS)
        return false;
    char again[STORE_NAME];
    store_session_name(again, number, epoch);
    if (strcmp(again, name) != 0)
        return false;
    *ret_number = number;
    *ret_epoch = epoch;
    return true;
}
