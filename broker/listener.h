/* The broker's listening socket: who may hold the path, and its removal at the end. */
#ifndef SWB_LISTENER_H
#define SWB_LISTENER_H

#include <sys/stat.h>

#include "core/error.h"

struct listener {
    int fd;
    const char *path; /* borrowed */
    dev_t device;     /* of the socket file that this process made */
    ino_t inode;
};

/* Two brokers that start at once on one path do not take it from each other: one of them gets
 * -EADDRINUSE. */
int listener_open(const char *path, mode_t mode, struct listener *ret, struct swi_error *error);
/* Closes, and removes the socket file when it is still the one that listener_open made. */
void listener_close(struct listener *listener);

#endif
