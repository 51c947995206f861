/* SPDX-License-Identifier: MIT */
/* A lock file beside a socket. */
#include "core/start_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Returns whether the name fits. */
static int name_of(const char *socket_path, char path[static PATH_MAX])
{
    int length = snprintf(path, PATH_MAX, "%s.lock", socket_path);
    return length > 0 && length < PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* Whether the path still names the locked file. */
static int still_there(int fd, const char *path)
{
    struct stat locked, named;
    if (fstat(fd, &locked) < 0)
        return -errno;
    if (lstat(path, &named) < 0)
        return errno == ENOENT ? -EWOULDBLOCK : -errno;
    return locked.st_dev == named.st_dev && locked.st_ino == named.st_ino ? 0 : -EWOULDBLOCK;
}

int swi_start_lock_take(const char *socket_path)
{
    char path[PATH_MAX];
    int result = name_of(socket_path, path);
    if (result < 0)
        return result;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    do
        result = flock(fd, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;
    while (result == -EINTR);
    if (result == 0)
        result = still_there(fd, path);
    if (result < 0) {
        swi_start_lock_release(fd);
        return result;
    }
    return fd;
}

void swi_start_lock_release(int fd)
{
    (void)flock(fd, LOCK_UN);
    close(fd);
}

void swi_start_lock_remove(const char *socket_path, int fd)
{
    char path[PATH_MAX];
    if (name_of(socket_path, path) == 0)
        (void)unlink(path);
    swi_start_lock_release(fd);
}
