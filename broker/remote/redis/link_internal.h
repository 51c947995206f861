/* SPDX-License-Identifier: MIT */
/* What the files of the link share. remote/redis/link.c: life, connecting, the breaker; remote/redis/resp.c:
 * commands out, replies in. */
#ifndef SWB_REMOTE_REDIS_LINK_INTERNAL_H
#define SWB_REMOTE_REDIS_LINK_INTERNAL_H

#include <hiredis/read.h>

#include "base/offload.h"
#include "remote/redis/link.h"

#define LINK_CALLS_MAX    64u
#define LINK_REPLY_BYTES  (1u << 20)
#define LINK_UNFINISHED   (LINK_REPLY_BYTES + 4096u) /* bytes of one reply, with all around it */
#define LINK_RECEIVE_MAX  (1u << 20)                 /* about so much in one turn */
#define LINK_RECEIPTS_MAX 128u /* and in so many pieces, which TLS hands out byte by byte */
#define LINK_BEHIND       (32u << 10)

enum link_state {
    LINK_WAITING,
    LINK_RESOLVING,
    LINK_CONNECTING,
    LINK_SECURING, /* TLS only */
    LINK_GREETING,
    LINK_UP,
};

struct outgoing {
    char *data; /* hiredis's */
    size_t size, sent;
    bool secret; /* of the greeting, which may hold the password */
    STAILQ_ENTRY(outgoing) link;
};

struct redis_link {
    struct loop *loop;
    struct redis_address address;
    struct redis_link_options options;
    char name[400];
    enum link_state state;
    struct loop_source source; /* fd -1: no socket */
    struct redis_tls *tls;     /* on it; NULL: bytes go as they are */
    struct loop_timer timer;   /* WAITING: the next try; else: the time that is left */
    struct offload *resolving;
    struct redis_link_stats stats;
    struct breaker breaker;

    redisReader *reader;
    struct redis_reply reply; /* the one that is being parsed */
    STAILQ_HEAD(, redis_call) calls;
    unsigned call_count;
    STAILQ_HEAD(, outgoing) out;
    unsigned greetings; /* replies that the greeting still waits for */
    uint64_t since_ns;  /* when the oldest call became the oldest */
    bool excused;       /* its time was up, and it got more: the broker had been slow */
    uint64_t received;  /* bytes, since the connection was made */
    uint64_t answered;  /* of these, those of whole replies */

    uint64_t up_ns;   /* when it was last up or made */
    unsigned tries;   /* failed ones in a row */
    bool complaining; /* the log has heard of a failure since it was last up */
    char problem[600];
};

/* remote/redis/link.c */
enum link_failure {
    LINK_CANNOT_CONNECT,
    LINK_REFUSED,
    LINK_TIMED_OUT,
    LINK_CLOSED,
    LINK_GARBAGE,
};
void redis_link_fail(struct redis_link *link, enum link_failure kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Arms the timer for the oldest call. */
void redis_link_arm(struct redis_link *link);
/* Goes up on a connected socket without greeting; for the fuzzer. */
void redis_link_adopt(struct redis_link *link, int fd);

/* remote/redis/resp.c */
int redis_link_open_wire(struct redis_link *link);
void redis_link_close_wire(struct redis_link *link);
/* Calls without the test whether the link is up. */
struct redis_call *redis_link_queue(struct redis_link *link, const struct redis_command *command);
/* Returns how many bytes came. May end the connection. */
size_t redis_link_receive(struct redis_link *link);
void redis_link_send(struct redis_link *link);

#endif
