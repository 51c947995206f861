/* SPDX-License-Identifier: MIT */
/* The process at the other end of a socket. */
#include "session/peer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef SO_PEERPIDFD /* Linux 6.5; the headers of Debian 12 are older */
#define SO_PEERPIDFD 77
#endif

int peer_get(int fd, struct peer *ret)
{
    struct ucred credentials;
    socklen_t size = sizeof credentials;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0)
        return -errno;
    *ret = (struct peer){.pid = credentials.pid, .uid = credentials.uid, .gid = credentials.gid};
    return 0;
}

bool peer_in_group(int fd, const struct peer *peer, gid_t group)
{
    if (peer->gid == group)
        return true;
    socklen_t size = 0;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &size) == 0 || errno != ERANGE)
        return false; /* no supplementary groups */
    gid_t *groups = malloc(size);
    bool found = false;
    if (groups && getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) == 0)
        for (size_t i = 0; i < size / sizeof *groups && !found; i++)
            found = groups[i] == group;
    free(groups);
    return found;
}

uint64_t peer_process_start(pid_t pid)
{
    char path[40], text[1024];
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = pid > 0 ? fopen(path, "re") : NULL;
    if (!file)
        return 0;
    size_t size = fread(text, 1, sizeof text - 1, file);
    (void)fclose(file);
    text[size] = 0;
    /* the name may hold anything, so start after it: fields 3 to 21 precede the start time */
    const char *rest = strrchr(text, ')');
    unsigned long long start = 0;
    if (!rest || sscanf(rest + 1,
                        " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d "
                        "%*d %llu",
                        &start) != 1)
        return 0;
    return start;
}

/* Without SO_PEERPIDFD a pid has to do, and pids are reused. A stranger under another uid is detected
 * here. A stranger under the same uid is not, which only affects the session: it ends when the
 * stranger does, or when the socket closes, and a living client connects again. */
int peer_watch_by_number(const struct peer *peer)
{
    int fd = pidfd_open(peer->pid, 0);
    if (fd < 0)
        return -errno;
    char path[32];
    (void)snprintf(path, sizeof path, "/proc/%d", (int)peer->pid);
    struct stat status;
    /* Owned by root: the process is not dumpable, or belongs to root. */
    if (stat(path, &status) == 0 && status.st_uid != peer->uid && status.st_uid != 0) {
        close(fd);
        return -ESRCH;
    }
    return fd;
}

int peer_watch(int fd, const struct peer *peer)
{
    if (peer->pid <= 0)
        return -EOPNOTSUPP;
    int pidfd;
    socklen_t size = sizeof pidfd;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) == 0)
        return pidfd;
    if (errno == ENOPROTOOPT)
        return peer_watch_by_number(peer);
    return errno == ESRCH || errno == EINVAL ? -ESRCH : -errno;
}
