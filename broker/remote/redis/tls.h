/* SPDX-License-Identifier: MIT */
/* TLS for connections to a Redis (rediss://): OpenSSL on sockets that the link makes and watches.
 *
 * The server's certificate must be valid for the URL's host and come from the machine's authorities
 * or from those of --redis-ca; there is no way to do without. TLS 1.2 at least. Nothing here
 * blocks. One thread, the loop's.
 */
#ifndef SWB_REMOTE_REDIS_TLS_H
#define SWB_REMOTE_REDIS_TLS_H

#include <stddef.h>
#include <sys/types.h>

#include "core/error.h"

/* Names of PEM files, borrowed. */
struct redis_tls_files {
    const char *ca;         /* certificates of who is trusted; NULL: the machine's authorities */
    const char *cert, *key; /* what the broker shows of itself; NULL: nothing */
};

/* What all connections of a tier share. */
struct redis_tls_context;
/* Reads the files. -EINVAL: what one holds is of no use, or there is a certificate without a key;
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

/* Bytes sent or received, 0 for the end, -EAGAIN, or -EPROTO. Bytes that were refused with -EAGAIN
 * are to be offered again. A receive with room for 16 KiB leaves nothing behind that the socket
 * does not tell of. */
ssize_t redis_tls_send(struct redis_tls *tls, const void *data, size_t size);
ssize_t redis_tls_receive(struct redis_tls *tls, void *data, size_t size);

/* What the last failure was; valid until the next call. */
const char *redis_tls_problem(const struct redis_tls *tls);

#endif
