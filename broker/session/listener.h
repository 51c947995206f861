/* SPDX-License-Identifier: MIT */
/* The broker's listening socket: who may hold the path, and its removal at the end. */
#ifndef SWB_SESSION_LISTENER_H
#define SWB_SESSION_LISTENER_H

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "core/error.h"

struct listener {
    int fd;
    char path[sizeof((struct sockaddr_un *)0)->sun_path + 1];
    bool borrowed; /* the service manager's: neither its file nor its mode is ours */
    dev_t device;  /* of the socket file that this process, or its predecessor, made */
    ino_t inode;
};

/* Two brokers that start at once on one path do not take it from each other: one of them gets
 * -EADDRINUSE. */
int listener_open(const char *path, mode_t mode, struct listener *ret, struct swi_error *error);
/* Takes a socket that the service manager listens on. The descriptor is the listener's on success.
 */
int listener_activate(int fd, struct listener *ret, struct swi_error *error);
/* Takes a predecessor's socket over, which listener_open made: false when it is not what clients
 * find at this path (any more). The descriptor is the listener's on success. */
bool listener_adopt(int fd, const char *path, mode_t mode, dev_t device, ino_t inode,
                    struct listener *ret);
/* Gives the socket file another mode and group ((gid_t)-1: what it would be made with). */
int listener_set_access(const struct listener *listener, mode_t mode, gid_t group,
                        struct swi_error *error);
/* Closes, and removes the socket file when it is still the one that listener_open made. keep: a
 * successor takes it over, so the file stays. */
void listener_close(struct listener *listener, bool keep);

#endif
