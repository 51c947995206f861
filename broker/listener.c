/* The broker's listening socket. */
#include "listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "core/socket.h"

#define LOCK_ATTEMPTS 100 /* 10 ms apart */

/* Looking for another broker, removing a stale file and binding are three steps: a lock on the
 * directory makes them one. Somebody who holds such a lock for good (any user can, in /tmp) must
 * not stop a broker from starting: after a second it goes on without. Returns a descriptor to
 * close, or -1. */
static int lock_directory(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *directory =
        !slash ? strdup(".") : strndup(path, slash == path ? 1 : (size_t)(slash - path));
    if (!directory)
        return -1;
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(directory);
    for (int i = 0; fd >= 0 && i < LOCK_ATTEMPTS; i++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return fd;
        (void)nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    if (fd >= 0)
        close(fd);
    return -1;
}

int listener_open(const char *path, mode_t mode, struct listener *ret, struct swi_error *error)
{
    int lock = lock_directory(path);
    int fd = swi_socket_listen(path, mode, error);
    struct stat status;
    if (fd >= 0 && lstat(path, &status) < 0) {
        int code = swi_fail(error, -errno, "%s vanished right after it was made: %s", path,
                            sw_strerror(-errno));
        close(fd);
        fd = code;
    }
    if (lock >= 0)
        close(lock);
    if (fd < 0)
        return fd;
    *ret =
        (struct listener){.fd = fd, .path = path, .device = status.st_dev, .inode = status.st_ino};
    return 0;
}

void listener_close(struct listener *listener)
{
    if (listener->fd < 0)
        return;
    struct stat status;
    if (lstat(listener->path, &status) == 0 && status.st_dev == listener->device &&
        status.st_ino == listener->inode)
        (void)unlink(listener->path);
    close(listener->fd);
    listener->fd = -1;
}
