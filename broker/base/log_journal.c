/* SPDX-License-Identifier: MIT */
/* Entries in the journal's native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL): a datagram of
 * NAME=VALUE lines. No value contains a line end, so the form with lengths is not needed.
 *
 * sd_journal_send is not used because it waits for a journal that does not read: a stuck journal
 * would block the broker. */
#include "base/log_journal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Addressed with each entry, so that a restarted journal is found. */
static const struct sockaddr_un journal = {.sun_family = AF_UNIX,
                                           .sun_path = "/run/systemd/journal/socket"};

int log_journal_open(void)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return fd < 0 ? -errno : fd;
}

struct entry {
    char text[4 * LOG_LINE_BYTES];
    size_t size;
};

/* Leaves out a field without a value, or without room. */
static void put(struct entry *entry, const char *name, const char *value)
{
    if (!value)
        return;
    size_t room = sizeof entry->text - entry->size;
    int length = snprintf(entry->text + entry->size, room, "%s=%s\n", name, value);
    if (length < 0 || (size_t)length >= room)
        return;
    for (int i = 0; i < length - 1; i++) {
        char *c = &entry->text[entry->size + (size_t)i];
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    }
    entry->size += (size_t)length;
}

static void put_number(struct entry *entry, const char *name, long long value)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%lld", value);
    put(entry, name, text);
}

int log_journal_send(int fd, enum log_level level, const struct log_about *about, const char *text)
{
    struct entry entry = {.size = 0};
    put(&entry, "MESSAGE", text);
    put_number(&entry, "PRIORITY", log_priority(level));
    put(&entry, "SYSLOG_IDENTIFIER", "swbrokerd");
    put_number(&entry, "SYSLOG_PID", getpid());
    if (about) {
        put(&entry, "MESSAGE_ID", about->message_id);
        put(&entry, "SW_MODEL", about->model);
        put(&entry, "SW_CHUNK", about->chunk);
        put(&entry, "SW_CLIENT", about->client);
    }
    if (about && about->client) {
        put_number(&entry, "SW_CLIENT_PID", about->client_pid);
        put_number(&entry, "SW_CLIENT_UID", about->client_uid);
    }
    ssize_t sent = sendto(fd, entry.text, entry.size, MSG_DONTWAIT | MSG_NOSIGNAL,
                          (const struct sockaddr *)&journal, sizeof journal);
    return sent < 0 ? -errno : 0;
}
