/* SPDX-License-Identifier: MIT */
/* A build without OpenSSL: rediss:// is an error. */
#include "remote/redis/tls.h"

#include <assert.h>
#include <errno.h>

int redis_tls_context_create(const struct redis_tls_files *files, struct redis_tls_context **ret,
                             struct swi_error *error)
{
    (void)files;
    (void)ret;
    return swi_fail(
        error, SW_EUNSUPPORTED,
        "this swbrokerd was built without TLS (rediss://); install libssl-dev and build "
        "again");
}

void redis_tls_context_destroy(struct redis_tls_context *context)
{
    assert(!context);
    (void)context;
}

int redis_tls_create(struct redis_tls_context *context, int fd, const char *host,
                     struct redis_tls **ret)
{
    assert(!context);
    (void)context;
    (void)fd;
    (void)host;
    (void)ret;
    return -ENOTSUP;
}

void redis_tls_destroy(struct redis_tls *tls)
{
    assert(!tls);
    (void)tls;
}

enum redis_tls_step redis_tls_shake_hands(struct redis_tls *tls)
{
    (void)tls;
    return REDIS_TLS_FAILED;
}

ssize_t redis_tls_send(struct redis_tls *tls, const void *data, size_t size)
{
    (void)tls;
    (void)data;
    (void)size;
    return -EPROTO;
}

ssize_t redis_tls_receive(struct redis_tls *tls, void *data, size_t size)
{
    (void)tls;
    (void)data;
    (void)size;
    return -EPROTO;
}

const char *redis_tls_problem(const struct redis_tls *tls)
{
    (void)tls;
    return "this build has no TLS";
}
