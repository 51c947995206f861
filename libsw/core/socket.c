/* SPDX-License-Identifier: MIT */
/* Packets and descriptors over a SOCK_SEQPACKET Unix socket. */
#include "core/socket.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/program.h"

const char *swi_socket_path(const char *given)
{
    if (given && *given)
        return given;
    const char *environment = getenv("SW_SOCKET");
    return environment && *environment ? environment : SWI_DEFAULT_SOCKET;
}

static int address_of(const char *path, struct sockaddr_un *ret, struct swi_error *error)
{
    size_t length = strlen(path);
    if (length >= sizeof ret->sun_path)
        return swi_fail(error, -ENAMETOOLONG,
                        "socket path %s is longer than %zu bytes; choose a shorter one", path,
                        sizeof ret->sun_path - 1);
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(ret->sun_path, path, length + 1);
    return 0;
}

/* Connects without a message. Returns a descriptor or -errno. */
static int try_connect(const struct sockaddr_un *address, int timeout_ms)
{
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    fd = fd < 0 ? -errno : swi_above_standard(fd);
    if (fd < 0)
        return fd;
    /* The connect of a Unix socket waits for room in the listener's queue up to the send timeout;
     * zero would mean no limit. */
    struct timeval patience = {.tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000};
    if (timeout_ms == 0)
        patience.tv_usec = 1000;
    if (timeout_ms >= 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    int result;
    do
        result = connect(fd, (const struct sockaddr *)address, sizeof *address);
    while (result < 0 && errno == EINTR);
    if (result < 0) {
        result = -errno;
        close(fd);
        return result;
    }
    return fd;
}

int swi_socket_connect(const char *path, int timeout_ms, struct swi_error *error)
{
    struct sockaddr_un address;
    int result = address_of(path, &address, error);
    if (result < 0)
        return result;
    result = try_connect(&address, timeout_ms);
    if (result == -EAGAIN)
        return swi_fail(
            error, -ETIMEDOUT,
            "the broker at %s did not accept a connection within %d ms; it is overloaded "
            "or stopped",
            path, timeout_ms);
    struct stat status;
    if (result == -ECONNREFUSED && stat(path, &status) == 0 && !S_ISSOCK(status.st_mode))
        return swi_fail(error, -ENOTSOCK,
                        "%s is not a socket; name the broker's with --socket or $SW_SOCKET", path);
    if (result == -EACCES)
        return swi_fail(error, result,
                        "cannot connect to %s: %s; only members of the socket's group may connect "
                        "(ls -l shows the group)",
                        path, sw_strerror(result));
    if (result == -ENOENT || result == -ECONNREFUSED)
        return swi_fail(error, result,
                        "no broker answers at %s; start swbrokerd --socket %s, or name its socket "
                        "with --socket or $SW_SOCKET",
                        path, path);
    if (result < 0)
        return swi_fail(error, result, "cannot connect to %s: %s", path, sw_strerror(result));
    struct timeval none = {0};
    (void)setsockopt(result, SOL_SOCKET, SO_SNDTIMEO, &none, sizeof none);
    return result;
}

/* Removes a socket file without a listener; -EADDRINUSE if there is one. */
static int remove_stale(const struct sockaddr_un *address, struct swi_error *error)
{
    struct stat status;
    if (lstat(address->sun_path, &status) < 0)
        return errno == ENOENT ? 0
                               : swi_fail(error, -errno, "cannot inspect %s: %s", address->sun_path,
                                          sw_strerror(-errno));
    if (!S_ISSOCK(status.st_mode))
        return swi_fail(error, -EEXIST, "%s exists and is not a socket; choose another --socket",
                        address->sun_path);
    int fd = try_connect(address, 1000); /* a full queue also means a listener */
    if (fd >= 0)
        close(fd);
    if (fd != -ECONNREFUSED && fd != -ENOENT)
        return swi_fail(error, -EADDRINUSE,
                        "a broker is already listening on %s; stop it or choose another --socket",
                        address->sun_path);
    if (unlink(address->sun_path) < 0 && errno != ENOENT)
        return swi_fail(error, -errno, "cannot remove the stale socket %s: %s", address->sun_path,
                        sw_strerror(-errno));
    return 0;
}

int swi_socket_listen(const char *path, mode_t mode, struct swi_error *error)
{
    struct sockaddr_un address;
    int result = address_of(path, &address, error);
    if (result < 0)
        return result;
    result = remove_stale(&address, error);
    if (result < 0)
        return result;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return swi_fail(error, -errno, "cannot create a socket: %s", sw_strerror(-errno));
    /* The file must never exist with more permissions than requested. */
    mode_t mask = umask(0777 & ~mode);
    result = bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ? -errno : 0;
    umask(mask);
    if (result == 0 && listen(fd, 1024) < 0)
        result = -errno;
    if (result < 0) {
        close(fd);
        return swi_fail(error, result, "cannot listen on %s: %s", path, sw_strerror(result));
    }
    return fd;
}

int swi_socket_send(int fd, const void *packet, size_t size, const int *fds, size_t count)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(SWI_SOCKET_FDS * sizeof(int))];
    } control;
    struct iovec part = {.iov_base = (void *)(uintptr_t)packet, .iov_len = size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (count > SWI_SOCKET_FDS)
        return -EINVAL;
    if (count) {
        memset(&control, 0, sizeof control);
        message.msg_control = control.space;
        message.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(header), fds, count * sizeof(int));
    }
    for (;;) {
        if (sendmsg(fd, &message, MSG_NOSIGNAL) >= 0)
            return 0;
        if (errno != EINTR)
            return -errno;
    }
}

/* Takes the descriptors of a received message; closes those that do not fit. */
static size_t take_descriptors(struct msghdr *message, int *fds)
{
    size_t taken = 0;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header;
         header = CMSG_NXTHDR(message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof fd);
            if (fds && taken < SWI_SOCKET_FDS)
                fds[taken] = swi_above_standard(fd);
            else
                close(fd);
            taken++;
        }
    }
    return taken;
}

static ssize_t receive(int fd, void *packet, size_t capacity, int *fds, size_t *ret_count,
                       int flags)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(SWI_SOCKET_FDS * sizeof(int))];
    } control;
    struct iovec part = {.iov_base = packet, .iov_len = capacity};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.space,
                             .msg_controllen = sizeof control.space};
    ssize_t length;
    do
        length = recvmsg(fd, &message, MSG_CMSG_CLOEXEC | flags);
    while (length < 0 && errno == EINTR);
    if (length < 0)
        return -errno;
    size_t count = take_descriptors(&message, fds);
    if (ret_count)
        *ret_count = count;
    if (message.msg_flags & MSG_TRUNC) {
        for (size_t i = 0; fds && i < count && i < SWI_SOCKET_FDS; i++)
            close(fds[i]);
        if (ret_count)
            *ret_count = 0;
        return SW_EPROTOCOL;
    }
    return length;
}

ssize_t swi_socket_receive(int fd, void *packet, size_t capacity, int *fds, size_t *ret_count)
{
    return receive(fd, packet, capacity, fds, ret_count, 0);
}

ssize_t swi_socket_peek(int fd, void *packet, size_t capacity, size_t *ret_count)
{
    return receive(fd, packet, capacity, NULL, ret_count, MSG_PEEK);
}

void swi_socket_discard(int fd)
{
    while (recv(fd, NULL, 0, MSG_DONTWAIT) < 0 && errno == EINTR)
        ;
}
