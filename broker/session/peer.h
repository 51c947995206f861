/* SPDX-License-Identifier: MIT */
/* Who is at the other end of a socket, and whether that process still lives. */
#ifndef SWB_SESSION_PEER_H
#define SWB_SESSION_PEER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct peer {
    pid_t pid; /* 0: it lives in a pid namespace that this process cannot see */
    uid_t uid;
    gid_t gid;
};

/* The process that connected. Returns 0 or -errno. */
int peer_get(int fd, struct peer *ret);

/* Whether that process was in a group when it connected, its first group or another one. */
bool peer_in_group(int fd, const struct peer *peer, gid_t group);

/* When a process started, in the kernel's ticks since the boot: with the number it tells a process
 * from a later one. 0: unknown. */
uint64_t peer_process_start(pid_t pid);

/* A descriptor that becomes readable when the process that connected ends, even while a child of it
 * keeps the socket open. -ESRCH: it has ended already. Any other negative value: this process
 * cannot be watched, and the socket alone tells. */
int peer_watch(int fd, const struct peer *peer);
/* The same by the process's number alone, for kernels before 6.5. */
int peer_watch_by_number(const struct peer *peer);

#endif
