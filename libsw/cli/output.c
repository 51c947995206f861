/* SPDX-License-Identifier: MIT */
/* See output.h. */
#include "cli/output.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#define BUFFER_BYTES 65536

static int failure; /* errno of the first write that failed */

/* For fopencookie, which takes 0 for a failure. */
static ssize_t write_all(void *cookie, const char *bytes, size_t size)
{
    (void)cookie;
    size_t done = 0;
    while (done < size) {
        ssize_t count = write(STDOUT_FILENO, bytes + done, size - done);
        if (count >= 0) {
            done += (size_t)count;
        } else if (errno == EAGAIN) {
            struct pollfd poller = {.fd = STDOUT_FILENO, .events = POLLOUT};
            (void)poll(&poller, 1, -1);
        } else if (errno != EINTR) {
            if (failure == 0)
                failure = errno;
            return 0;
        }
    }
    return (ssize_t)done;
}

void cli_output_begin(void)
{
    static char buffer[BUFFER_BYTES];
    FILE *stream = fopencookie(NULL, "w", (cookie_io_functions_t){.write = write_all});
    if (!stream)
        return; /* out of memory: stdio's own will do */
    (void)setvbuf(stream, buffer, isatty(STDOUT_FILENO) ? _IOLBF : _IOFBF, sizeof buffer);
    stdout = stream;
}

int cli_output_flush(void)
{
    errno = 0;
    if (fflush(stdout) != 0 && failure == 0)
        failure = errno ? errno : EIO;
    if (ferror(stdout) && failure == 0)
        failure = EIO;
    return -failure;
}
