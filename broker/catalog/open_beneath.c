/* SPDX-License-Identifier: MIT */
/* Opening files by names that others chose. */
#include "catalog/open_beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

int open_beneath(int directory, const char *path, int flags)
{
    struct open_how how = {
        .flags = (uint64_t)(unsigned)(O_RDONLY | O_CLOEXEC | flags),
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    };
    if (!(flags & O_PATH)) /* openat2 is strict about what goes with it */
        how.flags |= O_NONBLOCK | O_NOCTTY;
    long fd;
    do
        fd = syscall(SYS_openat2, directory, path, &how, sizeof how);
    while (fd < 0 &&
           (errno == EINTR || errno == EAGAIN)); /* EAGAIN: something was renamed meanwhile */
    return fd < 0 ? -errno : (int)fd;
}
