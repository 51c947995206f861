/* SPDX-License-Identifier: MIT */
/* The process at the other end of a socket. */
#ifndef SWB_SESSION_PEER_H
#define SWB_SESSION_PEER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct peer {
    pid_t pid; /* 0: in a pid namespace that this process cannot see */
    uid_t uid;
    gid_t gid;
};

/* The process that connected. Returns 0 or -errno. */
int peer_get(int fd, struct peer *ret);

/* Whether that process was in a group, primary or supplementary, when it connected. */
bool peer_in_group(int fd, const struct peer *peer, gid_t group);

/* When a process started, in kernel ticks since boot: together with the pid this identifies a
 * process, since pids are reused. 0: unknown. */
uint64_t peer_process_start(pid_t pid);

/* A descriptor that becomes readable when the process that connected ends, even if a child of it keeps
 * the socket open. -ESRCH: it has already ended. Any other negative value: the process cannot be
 * watched; only a hang-up of the socket shows that it has gone. */
int peer_watch(int fd, const struct peer *peer);
/* The same by pid only, for kernels before 6.5. */
int peer_watch_by_number(const struct peer *peer);

#endif
