/* SPDX-License-Identifier: MIT */
/* Requests and answers over one socket, for several threads.
 *
 * The library has no thread for this: one of the threads that wait for an answer, the leader, reads
 * the socket and delivers packets by tag. When it has its own answer or gives up, the next waiting
 * thread takes over.
 *
 * A broken connection stays broken: the peer went away or violated the protocol, or the session was
 * revoked. Waiting threads then get SW_EDISCONNECTED, or the code of the protocol error. session.c
 * makes new connections.
 *
 * Every wait has a deadline. The lock given at creation guards the connection; it is not held
 * during a wait or read. Functions take it themselves unless documented otherwise.
 */
#ifndef SWI_CLIENT_CONNECTION_H
#define SWI_CLIENT_CONNECTION_H

#include <pthread.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "core/deadline.h"
#include "core/error.h"
#include "core/socket.h"
#include "core/wire.h"

struct swi_connection;

/* Takes over fd, also on failure. The caller holds the only reference. lock is borrowed. Errors:
 * -ENOMEM. */
int swi_connection_create(int fd, pthread_mutex_t *lock, struct swi_connection **ret);
/* With the lock held. The last unref closes the socket. */
void swi_connection_ref(struct swi_connection *connection);
void swi_connection_unref(struct swi_connection *connection);

/* With the lock held: whether it is not broken. */
bool swi_connection_usable(const struct swi_connection *connection);
/* With the lock held: breaks the connection from this side. */
void swi_connection_break(struct swi_connection *connection, int code, const char *reason);
/* With the lock held, without waiting: checks whether the peer has gone. */
void swi_connection_look(struct swi_connection *connection);
/* In a forked child, with the lock held: closes the child's descriptor and drops the references of
 * the parent's threads. */
void swi_connection_disown(struct swi_connection *connection);

/* A request in progress. Zero-initialise; lives on the stack of the waiting thread. */
struct swi_call {
    TAILQ_ENTRY(swi_call) link;
    pthread_cond_t wake;
    uint64_t tag;
    bool listed, waiting, answered;
    uint8_t *packet;       /* the answer, allocated with malloc; owned by the call */
    struct swi_wire_in in; /* the answer, checked */
    int fds[SWI_SOCKET_FDS];
    size_t fd_count;
};

/* Begins a request: assigns a tag and begins its packet in buffer. */
void swi_call_begin(struct swi_connection *connection, struct swi_call *call,
                    struct swi_wire_out *out, void *buffer, size_t capacity,
                    enum swi_wire_type type);
/* Sends the packet. After 0, end the call with swi_call_wait or swi_call_end. */
int swi_call_send(struct swi_connection *connection, struct swi_call *call,
                  struct swi_wire_out *out, uint64_t deadline, struct swi_error *error);
/* Waits for an answer of the expected type. A DONE with a nonzero status returns that status and
 * its message; a DONE with status 0 must be expected. */
int swi_call_wait(struct swi_connection *connection, struct swi_call *call,
                  enum swi_wire_type expected, uint64_t deadline, struct swi_error *error);
/* Frees the answer and closes the descriptors that were not taken (set to -1). Idempotent. */
void swi_call_end(struct swi_connection *connection, struct swi_call *call);

/* swi_call_send and swi_call_wait; ends the call on failure. */
int swi_call_exchange(struct swi_connection *connection, struct swi_call *call,
                      struct swi_wire_out *out, enum swi_wire_type expected, uint64_t deadline,
                      struct swi_error *error);

/* Sends a message that has no answer. deadline 0: returns -EAGAIN instead of waiting. */
int swi_connection_post(struct swi_connection *connection, struct swi_wire_out *out,
                        uint64_t deadline, struct swi_error *error);

#endif
