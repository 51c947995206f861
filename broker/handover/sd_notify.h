/* SPDX-License-Identifier: MIT */
/* Messages to the service manager (sd_notify(3)), and the descriptors that it passes.
 *
 * A build without libsystemd sends text and receives descriptors, but cannot send descriptors. */
#ifndef SWB_HANDOVER_SD_NOTIFY_H
#define SWB_HANDOVER_SD_NOTIFY_H

#include <stdbool.h>
#include <stddef.h>

/* Sends one or more lines: "READY=1", "STOPPING=1", "STATUS=…". Does nothing without
 * $NOTIFY_SOCKET. */
void notify_manager(const char *state);

/* True if this build can send descriptors. */
bool notify_can_send_fds(void);

/* Sends a message with descriptors, which the caller keeps. 0: the message is in the manager's
 * queue; -ENOENT: there is no manager; -EOPNOTSUPP: built without libsystemd; -errno. */
int notify_send_fds(const char *state, const int *fds, unsigned count);

/* The first descriptor that the manager passes; the others follow. */
#define NOTIFY_FIRST_FD 3

/* Takes the descriptors that the manager has passed to this process ($LISTEN_FDS): returns their
 * number, or -errno, and their names, which the caller frees together with the array. Sets
 * close-on-exec and removes the variables. */
int notify_take_fds(char ***ret_names);

#endif
