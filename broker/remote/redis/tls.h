/* SPDX-License-Identifier: MIT */
/* TLS for connections to a Redis (rediss://): OpenSSL on sockets that the link owns.
 *
 * The server's certificate must be valid for the URL's host and signed by an authority of the machine
 * or of --redis-ca; the check cannot be disabled. TLS 1.2 or later. Nothing here blocks. One thread:
 * the loop's.
 */
#ifndef SWB_REMOTE_REDIS_TLS_H
#define SWB_REMOTE_REDIS_TLS_H

#include <stddef.h>
#include <sys/types.h>

#include "core/error.h"

/* Names of PEM files, borrowed. */
struct redis_tls_files {
    const char *ca;         /* trusted authorities; NULL: the machine's */
    const char *cert, *key; /* the broker's own certificate; NULL: none */
};

/* Shared by all connections of a tier. */
struct redis_tls_context;
/* Reads the files. -EINVAL: a file is unusable, or there is a certificate without a key;
 * SW_EUNSUPPORTED: this build has no TLS. */
int redis_tls_context_create(const struct redis_tls_files *files, struct redis_tls_context **ret,
                             struct swi_error *error);
void redis_tls_context_destroy(struct redis_tls_context *context);

/* One connection. The context outlives it. */
struct redis_tls;
/* On a connected, non-blocking socket, which stays the caller's. host: a name or an address. */
int redis_tls_create(struct redis_tls_context *context, int fd, const char *host,
                     struct redis_tls **ret);
void redis_tls_destroy(struct redis_tls *tls);

enum redis_tls_step {
    REDIS_TLS_DONE,
    REDIS_TLS_READS,  /* go on when the socket can be read */
    REDIS_TLS_WRITES, /* go on when it can be written */
    REDIS_TLS_FAILED,
};
/* The next step of the handshake. */
enum redis_tls_step redis_tls_shake_hands(struct redis_tls *tls);

/* Bytes sent or received, 0 at the end, -EAGAIN, or -EPROTO. After -EAGAIN the same bytes must be
 * sent again. A receive with room for 16 KiB leaves no bytes buffered here that epoll would not
 * report. */
ssize_t redis_tls_send(struct redis_tls *tls, const void *data, size_t size);
ssize_t redis_tls_receive(struct redis_tls *tls, void *data, size_t size);

/* The last failure; valid until the next call. */
const char *redis_tls_problem(const struct redis_tls *tls);

#endif
