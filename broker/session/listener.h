/* SPDX-License-Identifier: MIT */
/* The broker's listening socket: one broker per path, removed at the end. */
#ifndef SWB_SESSION_LISTENER_H
#define SWB_SESSION_LISTENER_H

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "core/error.h"

struct listener {
    int fd;
    char path[sizeof((struct sockaddr_un *)0)->sun_path + 1];
    bool borrowed; /* the service manager made it and manages its file and mode */
    dev_t device;  /* of the socket file that this process, or its predecessor, made */
    ino_t inode;
};

/* Of two brokers that start at once on one path, one gets -EADDRINUSE. */
int listener_open(const char *path, mode_t mode, struct listener *ret, struct swi_error *error);
/* Uses a listening socket from the service manager. Takes the descriptor on success. */
int listener_activate(int fd, struct listener *ret, struct swi_error *error);
/* Takes over a predecessor's socket, made by listener_open. False: clients do not find that socket at
 * this path. Takes the descriptor on success. */
bool listener_adopt(int fd, const char *path, mode_t mode, dev_t device, ino_t inode,
                    struct listener *ret);
/* Sets the mode and group of the socket file ((gid_t)-1: the group of a new file there). */
int listener_set_access(const struct listener *listener, mode_t mode, gid_t group,
                        struct swi_error *error);
/* Closes the socket, and removes its file if that is still the one that listener_open made. keep: the
 * file stays, for a successor. */
void listener_close(struct listener *listener, bool keep);

#endif
