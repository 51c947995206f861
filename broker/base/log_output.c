/* SPDX-License-Identifier: MIT */
/* Inspects stderr, and writes to it without waiting.
 *
 * The open file of stderr is shared with the process that started this one, so it must not be made
 * non-blocking. A pipe or a terminal is opened a second time, through /proc, which gives an open
 * file of this process alone. Where the kernel refuses that, and for anything else, poll says
 * whether a line fits, which is right unless another process writes to the same pipe at that
 * moment. Writes to regular files do not wait for readers.
 */
#include "base/log_output.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log_journal.h"

#define STDERR_AGAIN "/proc/self/fd/2"

/* True if stderr is the stream that the service manager connected to the journal. */
static bool is_journal(const struct stat *status)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long device, inode;
    return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
           status->st_dev == device && status->st_ino == inode;
}

static bool wants_colour(void)
{
    const char *none = getenv("NO_COLOR"), *terminal = getenv("TERM");
    return !(none && *none) && terminal && strcmp(terminal, "dumb") != 0;
}

void log_output_open(struct log_output *ret)
{
    struct log_output output = {.kind = LOG_TO_FILE, .fd = STDERR_FILENO, .journal_fd = -1};
    struct stat status = {0};
    (void)fstat(STDERR_FILENO, &status);
    output.is_socket = S_ISSOCK(status.st_mode);
    if (is_journal(&status)) {
        output.journal_fd = log_journal_open();
        output.kind = output.journal_fd >= 0 ? LOG_TO_JOURNAL : LOG_TO_MANAGER;
    } else if (isatty(STDERR_FILENO)) {
        output.kind = LOG_TO_TERMINAL;
        output.colour = wants_colour();
    } else if ((output.is_socket || S_ISFIFO(status.st_mode)) && getenv("INVOCATION_ID")) {
        output.kind = LOG_TO_MANAGER;
    }
    if (S_ISFIFO(status.st_mode) || output.kind == LOG_TO_TERMINAL) {
        int fd = open(STDERR_AGAIN, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (fd >= 0)
            output.fd = fd;
    }
    *ret = output;
}

bool log_output_write(const struct log_output *output, const char *text, size_t size)
{
    ssize_t written;
    if (output->is_socket) {
        written = send(output->fd, text, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        return written == (ssize_t)size;
    }
    struct pollfd room = {.fd = output->fd, .events = POLLOUT};
    if (output->fd == STDERR_FILENO && (poll(&room, 1, 0) != 1 || !(room.revents & POLLOUT)))
        return false;
    /* A line is shorter than PIPE_BUF: it is written whole or not at all, and not mixed with
     * lines of other processes. */
    do
        written = write(output->fd, text, size);
    while (written < 0 && errno == EINTR);
    return written == (ssize_t)size;
}
