/* SPDX-License-Identifier: MIT */
/* Redis servers for tests: the real one, on a Unix socket in the test's own directory, and a fake that
 * sends what the real one cannot be made to send. */
#ifndef SWT_SUPPORT_REDIS_H
#define SWT_SUPPORT_REDIS_H

#include "support.h"

/* ---- the real one ---------------------------------------------------------------------------- */

struct sup_redis {
    pid_t pid;
    const char *socket;
    const char *url; /* unix://… */
    const char *const *extra;
};

/* Starts redis-server and waits until it answers. extra: more arguments, or NULL; borrowed. Skips the
 * test if redis-server is not installed. */
struct sup_redis sup_redis_start(const char *const extra[]);
/* Starts a killed one again, empty, on the same socket. */
void sup_redis_restart(struct sup_redis *redis);
void sup_redis_kill(struct sup_redis *redis);
/* The first line that redis-cli prints; the test fails unless it exits with 0. */
char *sup_redis_cli(const struct sup_redis *redis, const char *const words[]);

/* ---- the fake -------------------------------------------------------------------------------- */

/* How it answers GET, or (REFUSE…) SET. Unless a name says otherwise it greets as Redis does, accepts
 * every SET, and answers EXISTS with 0. */
enum fake_manner {
    FAKE_NIL,          /* a well-behaved empty Redis */
    FAKE_NO_PROTOCOL,  /* "HTTP/1.1 400 Bad Request" */
    FAKE_STATUS,       /* +OK */
    FAKE_INTEGER,      /* :5 */
    FAKE_ARRAY,        /* a small one */
    FAKE_HUGE_ARRAY,   /* the head of one with 2147483647 elements, and elements without end */
    FAKE_HUGE_VALUE,   /* the head of one of 2^62 bytes, and bytes without end */
    FAKE_NEGATIVE,     /* $-5 */
    FAKE_ENDLESS_LINE, /* an error that does not end */
    FAKE_SHORT,        /* a value of one byte */
    FAKE_WRONG_BYTES,  /* 1 MiB of zeros, or what the length file says */
    FAKE_CUT,          /* half of a value, and hangs up */
    FAKE_DRIP,         /* a value, a byte each 20 ms */
    FAKE_HANG_UP,      /* at once */
    FAKE_SILENT,       /* never answers */
    FAKE_FIRST_ONLY,   /* the first stripe of each chunk (of 1 MiB, zeros), and no other */
    FAKE_UNASKED,      /* two answers for one question */
    FAKE_LOADING,      /* -LOADING … */
    FAKE_SILENT_GREETING,
    FAKE_ODD_GREETING,   /* values instead of +OK and +PONG */
    FAKE_ECHO_AUTH,      /* refuses AUTH, repeating what it was sent */
    FAKE_ECHO_PING,      /* takes AUTH, and refuses PING with what AUTH was sent */
    FAKE_ECHO_GET,       /* the same for a value */
    FAKE_HANG_UP_ONCE,   /* at the first SET, and never again */
    FAKE_REFUSE_OOM,     /* SET: -OOM … */
    FAKE_REFUSE_ODDLY,   /* SET: :1 */
    FAKE_REFUSE_LOADING, /* SET: -LOADING … */
};

struct sup_fake {
    const char *url;
    struct fake *state;
};

/* Serves from a thread until the test's process ends. */
struct sup_fake sup_fake_start(enum fake_manner manner);
/* From the next command on. */
void sup_fake_set(struct sup_fake *fake, enum fake_manner manner);
/* How many commands it received whose first word is this one. */
unsigned sup_fake_count(struct sup_fake *fake, const char *word);

#endif
