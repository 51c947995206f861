/* SPDX-License-Identifier: MIT */
/* Packets and descriptors over a SOCK_SEQPACKET Unix socket. */
#ifndef SWI_CORE_SOCKET_H
#define SWI_CORE_SOCKET_H

#include <stddef.h>
#include <sys/types.h>

#include "core/error.h"

#define SWI_SOCKET_FDS     4u /* descriptors that one packet may bring */
#define SWI_DEFAULT_SOCKET "/run/swbroker/swbroker.sock"

/* The socket path to use: the argument, else $SW_SOCKET, else SWI_DEFAULT_SOCKET. Borrowed. */
const char *swi_socket_path(const char *given);

/* Connects to a path; the descriptor is blocking and close-on-exec. Returns it, or -errno with a message. */
int swi_socket_connect(const char *path, struct swi_error *error);

/* The same, but waits at most timeout_ms for a broker whose queue of new connections is full (< 0: for ever):
 * -ETIMEDOUT. */
int swi_socket_connect_within(const char *path, int timeout_ms, struct swi_error *error);

/* Binds and listens with the given file mode. A stale socket file (nobody listens) is replaced; one that
 * answers is -EADDRINUSE. Returns the descriptor (non-blocking, close-on-exec) or -errno. */
int swi_socket_listen(const char *path, mode_t mode, struct swi_error *error);

/* Sends one packet with count descriptors (kept open by the caller). Returns 0 or -errno; -EAGAIN when the
 * socket is non-blocking and full. Never raises SIGPIPE. */
int swi_socket_send(int fd, const void *packet, size_t size, const int *fds, size_t count);

/* Receives one packet. Returns its length (0: the peer has gone), or -errno, or SW_EPROTOCOL when it was
 * longer than capacity. Descriptors that came with it go to fds (at most SWI_SOCKET_FDS; the receiver owns
 * them) and their number to *ret_count; with fds NULL any are closed, and *ret_count still says how many. */
ssize_t swi_socket_receive(int fd, void *packet, size_t capacity, int *fds, size_t *ret_count);

/* The same, but the packet stays where it is; its descriptors are closed. */
ssize_t swi_socket_peek(int fd, void *packet, size_t capacity, size_t *ret_count);
/* Takes the next packet away, unread. */
void swi_socket_discard(int fd);

#endif
