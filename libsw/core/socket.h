/* SPDX-License-Identifier: MIT */
/* Packets and descriptors over a SOCK_SEQPACKET Unix socket. */
#ifndef SWI_CORE_SOCKET_H
#define SWI_CORE_SOCKET_H

#include <stddef.h>
#include <sys/types.h>

#include "core/error.h"

#define SWI_SOCKET_FDS     4u /* limit of descriptors in one packet */
#define SWI_DEFAULT_SOCKET "/run/swbroker/swbroker.sock"

/* The socket path to use: the argument, else $SW_SOCKET, else SWI_DEFAULT_SOCKET. Borrowed. */
const char *swi_socket_path(const char *given);

/* Connects to a path. If the broker's queue of new connections is full, waits at most timeout_ms (<
 * 0: no limit). Returns a blocking, close-on-exec descriptor, or -errno with a message; -ETIMEDOUT:
 * the queue stayed full. */
int swi_socket_connect(const char *path, int timeout_ms, struct swi_error *error);

/* Binds and listens with the given file mode. A socket file without a listener is replaced; with
 * one: -EADDRINUSE. Returns the descriptor (non-blocking, close-on-exec) or -errno. */
int swi_socket_listen(const char *path, mode_t mode, struct swi_error *error);

/* Sends one packet with count descriptors, which stay the caller's. Returns 0 or -errno; -EAGAIN:
 * the socket is non-blocking and full. Never raises SIGPIPE. */
int swi_socket_send(int fd, const void *packet, size_t size, const int *fds, size_t count);

/* Receives one packet. Returns its length (0: the peer has gone), -errno, or SW_EPROTOCOL (longer
 * than capacity). Stores its descriptors in fds (at most SWI_SOCKET_FDS, owned by the caller) and
 * their number in *ret_count; with fds NULL it closes them, and *ret_count is still their number.
 */
ssize_t swi_socket_receive(int fd, void *packet, size_t capacity, int *fds, size_t *ret_count);

/* The same without removing the packet; closes its descriptors. */
ssize_t swi_socket_peek(int fd, void *packet, size_t capacity, size_t *ret_count);
/* Discards the next packet. */
void swi_socket_discard(int fd);

#endif
