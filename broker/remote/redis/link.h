/* SPDX-License-Identifier: MIT */
/* One connection to a Redis: made and remade, commands out, replies in, in order.
 *
 * hiredis formats the commands and parses the replies; the socket is ours, on the broker's loop.
 * (hiredis's own asynchronous context is not used: in 0.14 it resolves names by blocking, and
 * asserts when a server says something that it was not asked for.) Nothing here blocks: a host's
 * name is resolved in a thread, the rest is non-blocking and bounded, a turn receives at most 1
 * MiB.
 *
 *                        retry due                      connected               PONG
 *   WAITING ─────────────────────▶ RESOLVING ──▶ CONNECTING ─────▶ GREETING ─────▶ UP
 *      ▲                               │              │              │             │
 *      └───────────────────────────────┴──────────────┴──────────────┴─────────────┘
 *        any failure: every call ends with reply NULL, the breaker is told, retry is armed;
 *        rediss:// has its TLS handshake, SECURING, before the greeting
 *
 * A reply belongs to the oldest call. The oldest call must be answered within the timeout from when
 * it became the oldest, however its bytes drip; the connection is given up otherwise, since what is
 * behind a late reply cannot be had before it. A reply of another shape than RESP2's, of over 1
 * MiB, or that nobody asked for ends the connection too.
 */
#ifndef SWB_REMOTE_REDIS_LINK_H
#define SWB_REMOTE_REDIS_LINK_H

#include <sys/queue.h>

#include "base/loop.h"
#include "remote/breaker.h"
#include "remote/redis/tls.h"
#include "remote/redis/url.h"

struct redis_link;

enum redis_reply_type {
    REDIS_VALUE,
    REDIS_STATUS,
    REDIS_ERROR,
    REDIS_INTEGER,
    REDIS_NIL,
    REDIS_ARRAY,
};

struct redis_reply {
    enum redis_reply_type type;
    bool placed; /* a value of just the length that the call has room for: it is there */
    long long integer;
    size_t length;  /* of the value or text as it came */
    char text[256]; /* its first bytes and a zero: whole for what fits; never the password */
};

struct redis_call {
    /* reply NULL: the connection was lost. Called once; the call is freed after it. */
    void (*done)(struct redis_call *call, const struct redis_reply *reply);
    void *context;
    uint64_t offset;   /* the caller's own */
    uint8_t *into;     /* where a value of just that length is put; NULL: nowhere */
    size_t into_bytes; /* at most 1 MiB */
    STAILQ_ENTRY(redis_call) link;
};

#define REDIS_WORDS_MAX 36

struct redis_command {
    int count;
    const char *words[REDIS_WORDS_MAX];
    size_t lengths[REDIS_WORDS_MAX];
};
void redis_command_add(struct redis_command *command, const void *word, size_t length);
void redis_command_text(struct redis_command *command, const char *word);

struct redis_link_options {
    const struct redis_address *address; /* copied */
    uint64_t timeout_ns;
    const char *purpose;       /* "reads", "writes": for the log; static */
    void (*up)(void *owner);   /* may send from now on */
    void (*down)(void *owner); /* no more, its calls have ended; NULL: nobody is told */
    void *owner;
    struct redis_tls_context *tls; /* for rediss://, which outlives the link; else NULL */
};

struct redis_link_stats {
    uint64_t connects; /* that came as far as UP */
    /* why connections were not made or were lost */
    uint64_t connect_failures; /* refused, unreachable, no such host, no answer in time */
    uint64_t refused;  /* the server turned the broker away: password, database, its limits */
    uint64_t timeouts; /* a reply did not come in time */
    uint64_t closed;   /* by the server */
    uint64_t garbage;  /* what came was no reply, too large, or not asked for */
};

int redis_link_create(struct loop *loop, const struct redis_link_options *options,
                      struct redis_link **ret, struct swi_error *error);
/* Its calls end with reply NULL. */
void redis_link_destroy(struct redis_link *link);

/* Queues a command. NULL: the link is not up, has 64 calls under way, or memory is out. The words
 * are copied. */
struct redis_call *redis_link_call(struct redis_link *link, const struct redis_command *command);
/* Sends what is queued, as far as the socket takes it; the rest follows by itself. */
void redis_link_flush(struct redis_link *link);
/* done will not be called, and nothing will be put anywhere. */
void redis_call_forget(struct redis_call *call);

bool redis_link_is_up(const struct redis_link *link);
/* Up, and the breaker lets an operation begin. */
bool redis_link_usable(struct redis_link *link);
/* Begins an operation, which ends with one of the other three; a lost connection ends it too. */
bool redis_link_admit(struct redis_link *link);
void redis_link_succeeded(struct redis_link *link);
/* What it answered was of no use. May end the connection. */
void redis_link_disappointed(struct redis_link *link, const char *why);
void redis_link_abandoned(struct redis_link *link);

/* For how long it has not been usable; 0: it is. */
uint64_t redis_link_down_ns(const struct redis_link *link, uint64_t now_ns);
/* "Redis at redis://host:6379/0: cannot connect: Connection refused"; static storage of the link's.
 */
const char *redis_link_problem(const struct redis_link *link);
const char *redis_link_name(const struct redis_link *link);
const struct redis_link_stats *redis_link_stats(const struct redis_link *link);
const struct breaker *redis_link_breaker(const struct redis_link *link);

#endif
