/* SPDX-License-Identifier: MIT */
/* The text of --redis-url, parsed. Pure.
 *
 *   redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]
 *   rediss://…                                          the same over TLS
 *   unix://[[USER]:PASSWORD@]/PATH[?db=DATABASE]
 *
 * USER, PASSWORD and PATH may contain %XX. An IPv6 address is written in brackets. No message here
 * repeats any part of the text, which may contain a password.
 */
#ifndef SWB_REMOTE_REDIS_URL_H
#define SWB_REMOTE_REDIS_URL_H

#include "core/error.h"

enum redis_transport { REDIS_TCP, REDIS_TLS, REDIS_UNIX };

#define REDIS_SECRET_MAX 511u /* bytes of a user name or password */

struct redis_address {
    enum redis_transport transport;
    char host[256]; /* REDIS_UNIX: empty */
    char path[108]; /* REDIS_UNIX only; as long as sun_path */
    uint16_t port;
    unsigned database;
    char user[REDIS_SECRET_MAX + 1];     /* empty: the default one */
    char password[REDIS_SECRET_MAX + 1]; /* empty: none */
};

/* -EINVAL and a message that says what is wrong. */
int redis_url_parse(const char *url, struct redis_address *ret, struct swi_error *error);

/* "redis://host:6379/2", "unix:///run/redis.sock": for logs and reports, without user and password.
 */
void redis_url_describe(const struct redis_address *address, char *text, size_t size);

#endif
