/* SPDX-License-Identifier: MIT */
/* The service manager's fd store. */
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

/* Reads $FDSTORE; 0: nothing is kept. */
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
        log_warning("FDSTORE=%s is not a number of descriptors; a restart keeps nothing", text);
        return 0;
    }
    if (value < FDSTORE_SHARED + FDSTORE_SESSION) {
        if (value > 0)
            log_warning(
                "the service manager keeps %lu descriptors, fewer than one session needs, so a "
                "restart keeps nothing; raise FileDescriptorStoreMax=",
                value);
        return 0;
    }
    if (!notify_can_send_fds()) {
        log_warning("FDSTORE=%s, but this swbrokerd was built without libsystemd: a restart keeps "
                    "nothing",
                    text);
        return 0;
    }
    return value < CAPACITY_MAX ? (uint32_t)value : CAPACITY_MAX;
}

/* A shell between the service manager and this process was given the descriptors, and has not
 * passed them on. Returns its id, or 0. */
static long passed_to_parent(void)
{
    const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
    long process = pid ? strtol(pid, NULL, 10) : 0;
    return count && strcmp(count, "0") != 0 && process == getppid() ? process : 0;
}

int fdstore_open(struct fdstore *fdstore, struct swi_error *error)
{
    *fdstore = (struct fdstore){.capacity = read_capacity()};
    fdstore->active = fdstore->capacity > 0;
    fdstore->passed_to = passed_to_parent();
    char **names = NULL;
    int count = notify_take_fds(&names);
    if (count < 0)
        return swi_fail(error, count, "cannot take the service manager's descriptors: %s",
                        sw_strerror(count));
    if (count == 0) {
        free(names);
        return 0;
    }
    fdstore->items = calloc((size_t)count, sizeof *fdstore->items);
    if (!fdstore->items)
        return swi_fail(error, -ENOMEM, "out of memory");
    fdstore->count = (uint32_t)count;
    for (uint32_t i = 0; i < fdstore->count; i++)
        fdstore->items[i] = (struct fdstore_item){.name = names[i], .fd = NOTIFY_FIRST_FD + (int)i};
    free(names);
    return 0;
}

/* Shuts down a session's socket first, so that the client notices, although the manager's copy
 * keeps the socket open a little longer. */
static void close_for_good(const struct fdstore_item *item)
{
    uint32_t number;
    uint64_t epoch;
    if (fdstore_parse_session(item->name, &number, &epoch))
        (void)shutdown(item->fd, SHUT_RDWR);
    close(item->fd);
}

void fdstore_close(struct fdstore *fdstore, bool forget)
{
    for (uint32_t i = 0; i < fdstore->count; i++) {
        struct fdstore_item *item = &fdstore->items[i];
        if (item->fd >= 0 && !forget) {
            close(item->fd);
        } else if (item->fd >= 0) {
            log_warning("the service manager passed an unknown descriptor \"%s\"; closed it",
                        item->name);
            fdstore_drop(fdstore, item->name);
            close_for_good(item);
        }
        free(item->name);
    }
    free(fdstore->items);
    fdstore->items = NULL;
    fdstore->count = 0;
}

uint32_t fdstore_sessions(const struct fdstore *fdstore)
{
    return fdstore->active ? (fdstore->capacity - FDSTORE_SHARED) / FDSTORE_SESSION : UINT32_MAX;
}

int fdstore_take(struct fdstore *fdstore, const char *name)
{
    for (uint32_t i = 0; i < fdstore->count; i++) {
        struct fdstore_item *item = &fdstore->items[i];
        if (item->fd < 0 || strcmp(item->name, name) != 0)
            continue;
        int fd = item->fd;
        item->fd = -1;
        return fd;
    }
    return -1;
}

void fdstore_discard(struct fdstore *fdstore, const char *name)
{
    char copy[256];
    bool kept = fdstore->active;
    (void)snprintf(copy, sizeof copy, "%s", name);
    for (uint32_t i = 0; i < fdstore->count; i++) {
        struct fdstore_item *item = &fdstore->items[i];
        if (strcmp(item->name, copy) != 0)
            continue;
        kept = true;
        if (item->fd >= 0)
            close_for_good(item);
        item->fd = -1;
    }
    if (kept)
        fdstore_drop(fdstore, copy);
}

const char *fdstore_find(const struct fdstore *fdstore, const char *prefix)
{
    for (uint32_t i = 0; i < fdstore->count; i++) {
        const struct fdstore_item *item = &fdstore->items[i];
        if (item->fd >= 0 && strncmp(item->name, prefix, strlen(prefix)) == 0)
            return item->name;
    }
    return NULL;
}

int fdstore_take_activation(struct fdstore *fdstore)
{
    for (uint32_t i = 0; i < fdstore->count; i++) {
        struct fdstore_item *item = &fdstore->items[i];
        int listening = 0;
        socklen_t size = sizeof listening;
        if (item->fd < 0 || strncmp(item->name, FDSTORE_PREFIX, strlen(FDSTORE_PREFIX)) == 0 ||
            getsockopt(item->fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) < 0 || !listening)
            continue;
        int fd = item->fd;
        item->fd = -1;
        return fd;
    }
    return -1;
}

int fdstore_put(const struct fdstore *fdstore, const char *name, const int *fds, unsigned count)
{
    if (!fdstore->active)
        return 0;
    char text[FDSTORE_NAME + 32];
    (void)snprintf(text, sizeof text, "FDSTORE=1\nFDNAME=%s", name);
    return notify_send_fds(text, fds, count);
}

void fdstore_drop(const struct fdstore *fdstore, const char *name)
{
    (void)fdstore; /* active or not: an earlier broker may have put it there */
    char text[300];
    (void)snprintf(text, sizeof text, "FDSTOREREMOVE=1\nFDNAME=%s", name);
    notify_manager(text);
}

int fdstore_barrier(const struct fdstore *fdstore)
{
    (void)fdstore; /* active or not, as fdstore_drop */
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

void fdstore_session_name(char name[static FDSTORE_NAME], uint32_t number, uint64_t epoch)
{
    (void)snprintf(name, FDSTORE_NAME, FDSTORE_PREFIX "session-%" PRIu32 "-%" PRIu64, number,
                   epoch);
}

bool fdstore_parse_session(const char *name, uint32_t *ret_number, uint64_t *ret_epoch)
{
    uint32_t number;
    uint64_t epoch;
    if (sscanf(name, FDSTORE_PREFIX "session-%" SCNu32 "-%" SCNu64, &number, &epoch) != 2 ||
        number >= SWI_SESSIONS)
        return false;
    char again[FDSTORE_NAME];
    fdstore_session_name(again, number, epoch);
    if (strcmp(again, name) != 0)
        return false;
    *ret_number = number;
    *ret_epoch = epoch;
    return true;
}
