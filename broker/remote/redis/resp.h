/* SPDX-License-Identifier: MIT */
/* Redis's protocol (RESP2) on a connected socket: commands out, replies in, in order.
 *
 * hiredis formats the commands and parses the replies. Its asynchronous context is not used: version
 * 0.14 blocks to resolve names, and asserts when a server sends something unasked. Its reader gets
 * our functions instead of those that build replies on the heap: a value is copied from its buffer
 * straight to where the call wants it, and an array of a billion elements costs nothing.
 *
 * Nothing here blocks. One receive takes about 1 MiB at most. A reply of another shape than RESP2's,
 * of over 1 MiB, or without a call is RESP_GARBAGE. It does not reconnect and knows no timeouts:
 * link.h does.
 */
#ifndef SWB_REMOTE_REDIS_RESP_H
#define SWB_REMOTE_REDIS_RESP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "remote/redis/tls.h"

/* ---- replies --------------------------------------------------------------------------------- */

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
    bool placed; /* a value of exactly the call's length, copied to where the call wants it */
    long long integer;
    size_t length;  /* of the value or text as received */
    char text[256]; /* its beginning, terminated: all of it if it fits; never the password */
};

struct redis_call {
    /* reply NULL: the connection was lost. Called once; the call is freed afterwards. */
    void (*done)(struct redis_call *call, const struct redis_reply *reply);
    void *context;
    uint64_t offset;   /* for the caller's use */
    uint8_t *into;     /* where a value of exactly into_bytes is copied; NULL: nowhere */
    size_t into_bytes; /* at most 1 MiB */
    STAILQ_ENTRY(redis_call) link;
};

/* done is not called, and nothing is copied anywhere. */
void redis_call_forget(struct redis_call *call);

/* ---- commands -------------------------------------------------------------------------------- */

#define REDIS_WORDS_MAX 36

struct redis_command {
    int count;
    const char *words[REDIS_WORDS_MAX]; /* borrowed until the command is queued */
    size_t lengths[REDIS_WORDS_MAX];
};
void redis_command_add(struct redis_command *command, const void *word, size_t length);
void redis_command_text(struct redis_command *command, const char *word);

/* ---- a connection ---------------------------------------------------------------------------- */

#define RESP_CALLS_MAX 64u
#define RESP_WHY       200u

struct outgoing;
struct redisReader;

struct resp {
    /* Set by the owner. */
    int fd;                /* connected; the owner's */
    struct redis_tls *tls; /* on it; NULL: none */
    const char *password;  /* that no reply may repeat; "": none */
    /* A whole reply has come; called before its call's done. */
    void (*replied)(struct resp *resp, const struct redis_reply *reply);

    struct redisReader *reader; /* NULL: closed */
    struct redis_reply reply;   /* the one that is being parsed */
    STAILQ_HEAD(, redis_call) calls;
    unsigned call_count;
    STAILQ_HEAD(, outgoing) out;
    uint64_t received; /* bytes since it was opened */
    uint64_t answered; /* of these, those of whole replies */
};

/* Before anything else; closed. */
void resp_init(struct resp *resp);
/* 0 or -ENOMEM. */
int resp_open(struct resp *resp);
/* Ends all calls with reply NULL. */
void resp_close(struct resp *resp);

/* Queues a command; its words are copied. NULL: 64 calls are under way, or memory is out. secret:
 * wipe the copy after use. */
struct redis_call *resp_queue(struct resp *resp, const struct redis_command *command, bool secret);

enum resp_end {
    RESP_GOES_ON,
    RESP_CLOSED,  /* by the peer or a socket error */
    RESP_GARBAGE, /* what came is not RESP2, too large, or unasked */
    RESP_STOPPED, /* a callback closed it */
};
/* Sends what is queued, as far as the socket takes it. why: filled unless it goes on or stopped. */
enum resp_end resp_send(struct resp *resp, char why[static RESP_WHY]);
bool resp_has_queued(const struct resp *resp);
/* Receives and hands out whole replies. *ret_bytes: how many bytes came. */
enum resp_end resp_receive(struct resp *resp, size_t *ret_bytes, char why[static RESP_WHY]);

#endif
