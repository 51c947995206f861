/* SPDX-License-Identifier: MIT */
/* The broker's listening socket. */
#include "session/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "core/socket.h"

#define LOCK_ATTEMPTS 100 /* 10 ms apart */

static int open_directory(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *directory =
        !slash ? strdup(".") : strndup(path, slash == path ? 1 : (size_t)(slash - path));
    if (!directory)
        return -1;
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(directory);
    return fd;
}

/* Looking for another broker, removing a stale file and binding are three steps; a lock on the
 * directory makes them atomic. A process that never releases such a lock (any user can take one in
 * /tmp) must not keep a broker from starting: after a second it goes on without. Returns a
 * descriptor to close, or -1. */
static int lock_directory(const char *path)
{
    int fd = open_directory(path);
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
        int code = swi_fail(error, -errno, "%s disappeared right after it was created: %s", path,
                            sw_strerror(-errno));
        close(fd);
        fd = code;
    }
    if (lock >= 0)
        close(lock);
    if (fd < 0)
        return fd;
    *ret = (struct listener){.fd = fd, .device = status.st_dev, .inode = status.st_ino};
    (void)snprintf(ret->path, sizeof ret->path, "%s", path);
    return 0;
}

static int option_of(int fd, int option)
{
    int value = -1;
    socklen_t size = sizeof value;
    return getsockopt(fd, SOL_SOCKET, option, &value, &size) < 0 ? -1 : value;
}

/* Finds the socket's path. False: it is not a listening Unix SOCK_SEQPACKET socket. */
static bool look_at(int fd, struct listener *ret)
{
    struct sockaddr_un address = {0};
    socklen_t size = sizeof address;
    if (option_of(fd, SO_DOMAIN) != AF_UNIX || option_of(fd, SO_TYPE) != SOCK_SEQPACKET ||
        option_of(fd, SO_ACCEPTCONN) != 1 ||
        getsockname(fd, (struct sockaddr *)&address, &size) < 0 ||
        fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
        return false;
    *ret = (struct listener){.fd = fd};
    (void)snprintf(ret->path, sizeof ret->path, "%.*s", (int)sizeof address.sun_path,
                   address.sun_path);
    return true;
}

int listener_activate(int fd, struct listener *ret, struct swi_error *error)
{
    if (!look_at(fd, ret))
        return swi_fail(error, -EINVAL,
                        "the socket from the service manager is not a SOCK_SEQPACKET socket; its "
                        "unit needs ListenSequentialPacket=");
    ret->borrowed = true;
    return 0;
}

bool listener_adopt(int fd, const char *path, mode_t mode, dev_t device, ino_t inode,
                    struct listener *ret)
{
    struct stat status;
    struct listener listener;
    if (!look_at(fd, &listener) || strcmp(listener.path, path) != 0 || lstat(path, &status) < 0 ||
        status.st_dev != device || status.st_ino != inode || !S_ISSOCK(status.st_mode) ||
        chmod(path, mode) < 0)
        return false;
    listener.device = device;
    listener.inode = inode;
    *ret = listener;
    return true;
}

/* Its file may have been replaced. */
static bool look_at_ours(const struct listener *listener, struct stat *ret)
{
    return lstat(listener->path, ret) == 0 && ret->st_dev == listener->device &&
           ret->st_ino == listener->inode;
}

static bool still_ours(const struct listener *listener)
{
    struct stat status;
    return look_at_ours(listener, &status);
}

/* The group that a new file at this path gets. */
static gid_t usual_group(const char *path)
{
    struct stat status;
    int fd = open_directory(path);
    bool inherits = fd >= 0 && fstat(fd, &status) == 0 && (status.st_mode & S_ISGID);
    if (fd >= 0)
        close(fd);
    return inherits ? status.st_gid : getegid();
}

int listener_set_access(const struct listener *listener, mode_t mode, gid_t group,
                        struct swi_error *error)
{
    if (listener->borrowed)
        return swi_fail(error, -EPERM,
                        "the service manager owns the socket; set SocketMode= and SocketGroup= in "
                        "its unit");
    struct stat status;
    if (!look_at_ours(listener, &status))
        return swi_fail(error, -ENOENT, "%s is no longer this broker's socket", listener->path);
    gid_t wanted = group == (gid_t)-1 ? usual_group(listener->path) : group;
    if (status.st_gid != wanted && lchown(listener->path, (uid_t)-1, wanted) < 0)
        return swi_fail(error, -errno,
                        "cannot give %s to group %u: %s; the broker's user must be a member of it",
                        listener->path, wanted, sw_strerror(-errno));
    if (chmod(listener->path, mode) < 0)
        return swi_fail(error, -errno, "cannot give %s the mode %04o: %s", listener->path, mode,
                        sw_strerror(-errno));
    return 0;
}

void listener_close(struct listener *listener, bool keep)
{
    if (listener->fd < 0)
        return;
    if (!keep && !listener->borrowed && still_ours(listener))
        (void)unlink(listener->path);
    close(listener->fd);
    listener->fd = -1;
}
