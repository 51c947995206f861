/* SPDX-License-Identifier: MIT */
/* One connection to a Redis: connects and reconnects, greets, keeps deadlines, and tells the breaker.
 *
 * Nothing here blocks: a thread resolves the host's name, and everything else is bounded.
 *
 *                        retry due                      connected               PONG
 *   WAITING ─────────────────────▶ RESOLVING ──▶ CONNECTING ─────▶ GREETING ─────▶ UP
 *      ▲                               │              │              │             │
 *      └───────────────────────────────┴──────────────┴──────────────┴─────────────┘
 *        any failure: every call ends with reply NULL, the breaker counts it, and a retry is armed;
 *        rediss:// has its TLS handshake, SECURING, before the greeting
 *
 * A reply belongs to the oldest call, which must be answered within the timeout from when it became
 * the oldest, even if bytes trickle in. Otherwise the connection is closed, because the replies
 * behind a late one cannot be had before it.
 */
#ifndef SWB_REMOTE_REDIS_LINK_H
#define SWB_REMOTE_REDIS_LINK_H

#include "base/loop.h"
#include "remote/breaker.h"
#include "remote/redis/resp.h"
#include "remote/redis/url.h"
#include "stats/remote_stats.h"

struct redis_link;

struct redis_link_options {
    const struct redis_address *address; /* copied */
    uint64_t timeout_ns;
    const char *purpose;       /* "reads", "writes": for the log; static */
    void (*up)(void *owner);   /* calls are possible from now on */
    void (*down)(void *owner); /* the connection was lost, and its calls have ended; NULL: ignore */
    void *owner;
    struct redis_tls_context *tls; /* for rediss://; outlives the link; else NULL */
};

int redis_link_create(struct loop *loop, const struct redis_link_options *options,
                      struct redis_link **ret, struct swi_error *error);
/* Its calls end with reply NULL. */
void redis_link_destroy(struct redis_link *link);

/* Queues a command, which is sent in the next turn of the loop. NULL: the link is not up, has 64
 * calls under way, or memory is out. The words are copied. No call ends from within here. */
struct redis_call *redis_link_call(struct redis_link *link, const struct redis_command *command);

bool redis_link_is_up(const struct redis_link *link);
/* Up, and the breaker admits an operation. */
bool redis_link_usable(struct redis_link *link);
/* Begins an operation (op.h), which ends with one of the next three; a lost connection ends it too. */
bool redis_link_admit(struct redis_link *link);
void redis_link_succeeded(struct redis_link *link);
/* Its answer was useless. If that opens the breaker, the connection is closed in the next turn. */
void redis_link_disappointed(struct redis_link *link, const char *why);
void redis_link_abandoned(struct redis_link *link);

/* How long it has not been up; 0: it is. */
uint64_t redis_link_down_ns(const struct redis_link *link, uint64_t now_ns);
/* "Redis at redis://host:6379/0: cannot connect: Connection refused"; static storage of the link's.
 */
const char *redis_link_problem(const struct redis_link *link);
const char *redis_link_name(const struct redis_link *link);
struct remote_connection_stats redis_link_stats(const struct redis_link *link);

#endif
