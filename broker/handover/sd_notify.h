/* SPDX-License-Identifier: MIT */
/* Talking with the service manager: sd_notify(3), and the descriptors that it passes.
 *
 * Built with libsystemd all of it works; without it text goes to the manager and descriptors come
 * from it, but none can be sent. */
#ifndef SWB_HANDOVER_SD_NOTIFY_H
#define SWB_HANDOVER_SD_NOTIFY_H

#include <stdbool.h>
#include <stddef.h>

/* "READY=1", "STOPPING=1", "STATUS=…", several lines … Does nothing without $NOTIFY_SOCKET. */
void notify_manager(const char *state);

/* Whether descriptors can be sent at all. */
bool notify_can_send_fds(void);

/* A message with descriptors, which stay the caller's. 0: the manager has it in its queue; -ENOENT:
 * there is no manager; -EOPNOTSUPP: built without libsystemd; -errno. */
int notify_send_fds(const char *state, const int *fds, unsigned count);

/* The first descriptor that the manager passes; the others follow. */
#define NOTIFY_FIRST_FD 3

/* How many descriptors the manager has passed to this process ($LISTEN_FDS), and their names: an
 * array to be freed, with its strings. All are close-on-exec afterwards, and the variables are
 * gone. Returns the number or -errno. */
int notify_take_fds(char ***ret_names);

#endif
