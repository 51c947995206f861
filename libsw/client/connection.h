/* SPDX-License-Identifier: MIT */
/* Requests and answers over one socket, for several threads.
 *
 * There is no thread of the library's own: of those that wait for an answer one (the leader) reads
 * the socket and hands out what comes by tag; when it has its own answer or gives up, the next
 * waiting one takes over.
 *
 * A connection breaks once and stays broken: the peer went away, broke the protocol, or the session
 * was revoked. Whoever waits then gets SW_EDISCONNECTED, or the code of the protocol error. Making
 * a new one is session.c's.
 *
 * Every wait has a deadline. The lock given at creation guards the connection; it is not held
 * during any wait or read. Functions take it themselves unless they say otherwise.
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

/* fd is the connection's from now on, also on failure. The caller holds the only reference.
 * lock is borrowed. Errors: -ENOMEM. */
int swi_connection_create(int fd, pthread_mutex_t *lock, struct swi_connection **ret);
/* With the lock held. The last unref closes the socket. */
void swi_connection_ref(struct swi_connection *connection);
void swi_connection_unref(struct swi_connection *connection);

/* With the lock held: whether it can still carry requests. */
bool swi_connection_usable(const struct swi_connection *connection);
/* With the lock held: breaks it from this side. */
void swi_connection_break(struct swi_connection *connection, int code, const char *reason);
/* With the lock held, without waiting: notices that the peer has gone. */
void swi_connection_look(struct swi_connection *connection);
/* In a forked child, with the lock held: closes the child's descriptor, forgets the parent's
 * threads and their references. */
void swi_connection_disown(struct swi_connection *connection);

/* One request under way. Zero-initialise; lives on the stack of who waits for it. */
struct swi_call {
    TAILQ_ENTRY(swi_call) link;
    pthread_cond_t wake;
    uint64_t tag;
    bool listed, waiting, answered;
    uint8_t *packet;       /* the answer, malloc'd; belongs to the call */
    struct swi_wire_in in; /* the same, checked */
    int fds[SWI_SOCKET_FDS];
    size_t fd_count;
};

/* Begins a request: gives it a tag, opens its packet in buffer. */
void swi_call_begin(struct swi_connection *connection, struct swi_call *call,
                    struct swi_wire_out *out, void *buffer, size_t capacity,
                    enum swi_wire_type type);
/* Sends what was built. After 0 the call must be ended with swi_call_wait or swi_call_end. */
int swi_call_send(struct swi_connection *connection, struct swi_call *call,
                  struct swi_wire_out *out, uint64_t deadline, struct swi_error *error);
/* Waits for the answer, which must be of the expected type. A DONE with a status other than 0
 * returns that status and its message; a DONE with 0 is only right when expected. */
int swi_call_wait(struct swi_connection *connection, struct swi_call *call,
                  enum swi_wire_type expected, uint64_t deadline, struct swi_error *error);
/* Frees the answer and closes descriptors that were not taken out (set to -1). Idempotent. */
void swi_call_end(struct swi_connection *connection, struct swi_call *call);

/* All of the above for a request whose answer is wanted at once. */
int swi_call_exchange(struct swi_connection *connection, struct swi_call *call,
                      struct swi_wire_out *out, enum swi_wire_type expected, uint64_t deadline,
                      struct swi_error *error);

/* Sends a message that is never answered. deadline 0: -EAGAIN instead of waiting. */
int swi_connection_post(struct swi_connection *connection, struct swi_wire_out *out,
                        uint64_t deadline, struct swi_error *error);

#endif
