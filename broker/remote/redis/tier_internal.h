/* SPDX-License-Identifier: MIT */
/* What the files of the tier share. remote/redis/tier.c: life and figures; remote/redis/fetch.c: reading;
 * remote/redis/writeback.c: writing. */
#ifndef SWB_REMOTE_REDIS_TIER_INTERNAL_H
#define SWB_REMOTE_REDIS_TIER_INTERNAL_H

#include <sys/queue.h>

#include "loader/loader.h"
#include "remote/redis/error.h"
#include "remote/redis/keys.h"
#include "remote/redis/link.h"
#include "remote/redis/tier.h"

#define FETCH_PIECES_MAX     8u /* stripes under way, over all loads */
#define WRITE_PIECES_MAX     2u
#define FDSTORE_QUEUE_MAX    1024u
#define FDSTORE_TRIES_MAX    3u
#define FDSTORE_PAUSE_MIN_NS LOOP_NS_PER_S
#define FDSTORE_PAUSE_MAX_NS (60 * LOOP_NS_PER_S)
#define REMOTE_PATIENCE_NS   (5 * LOOP_NS_PER_S) /* away for longer: nobody waits for it any more */
struct fetch;
TAILQ_HEAD(fetch_list, fetch);

/* Something of a digest being written stripe by stripe. The owner's memory until over. */
struct redis_writing {
    struct swi_digest digest;
    uint64_t bytes;
    bool anyway; /* without asking whether it is there */
    /* The bytes at offset, readable up to the next call into the cache; NULL: they are gone. */
    const uint8_t *(*stripe)(struct redis_writing *writing, uint64_t offset);
    /* status: 0 written; 1 it was there; -ENODATA its bytes are gone;
     * SW_ELOAD the server refused, -EAGAIN the connection was lost; both with a sentence.
     * May start or queue others. */
    void (*over)(struct redis_writing *writing, int status, const char *why);
    /* The tier's own. */
    struct redis_tier *tier;
    TAILQ_ENTRY(redis_writing) link;
    uint32_t asked, next; /* stripes that EXISTS was sent for; stripes sent */
    uint64_t present;
    unsigned outstanding;
    struct redis_call *calls[WRITE_PIECES_MAX];
};
TAILQ_HEAD(writing_list, redis_writing);

struct queued_store {
    uint32_t id;
    bool wrong;
    unsigned tries; /* that ended with the connection */
    uint64_t bytes;
    struct swi_digest digest;
};

struct redis_tier {
    struct redis_tls_context *tls; /* NULL: without */
    struct loop *loop;
    struct cache *cache;
    char prefix[REDIS_PREFIX_MAX + 1];
    char ttl[16];                      /* seconds; empty: none */
    struct redis_link *reads, *writes; /* NULL: not wanted */
    void (*up)(void *owner);           /* redis_tier_on_up */
    void *up_owner;
    struct redis_tier_stats stats; /* the counters; the rest is filled when asked */

    uint64_t timeout_ns;
    struct fetch_list fetches;
    unsigned pieces;

    struct writing_list writings; /* the first is the one being written */
    bool writing;
    struct queued_store queue[FDSTORE_QUEUE_MAX]; /* ring */
    uint32_t queue_first, queue_count;
    struct queued_store storing;
    struct redis_writing store; /* of `storing` */
    bool fdstore_busy;
    uint64_t paused_until_ns, pause_ns;
    char pause_why[160];
    struct loop_timer pause_timer;
};

/* Counts an error that the server answered with, and says what it is about. */
enum redis_about redis_tier_count_error(struct redis_tier *tier, const struct redis_reply *reply);
/* Whether such an error counts against the server that answered with it on that connection. */
bool redis_tier_is_fault(const struct redis_tier *tier, const struct redis_link *link,
                         enum redis_about about);
/* Tells the breaker of an operation that ended with it. May end the connection. */
void redis_tier_tell_error(struct redis_tier *tier, struct redis_link *link, enum redis_about about,
                           const char *text);

/* remote/redis/fetch.c: the cache_remote's functions */
enum cache_remote_state redis_tier_state(void *context, struct swi_error *why);
void redis_tier_fetch(void *context, struct load *load);
void redis_tier_cancel(void *context, struct load *load);
bool redis_tier_over(void *context, struct load *load);
bool redis_tier_turn(void *context);
void redis_tier_stop_fetching(struct redis_tier *tier);

/* remote/redis/writeback.c */
void redis_tier_was_read(void *context, uint32_t id, const struct cache_chunk *chunk, bool wrong);
/* Queues it; it begins when those before it are over and the server can be written to. It does not
 * wait for more than these: a connection that is lost and a server that takes no writes end it. */
void redis_tier_write(struct redis_tier *tier, struct redis_writing *writing);
/* over will not be called. */
void redis_tier_forget_writing(struct redis_tier *tier, struct redis_writing *writing);
void redis_tier_write_more(struct redis_tier *tier);
void redis_tier_writes_down(struct redis_tier *tier);
/* Why nothing is written for a while; NULL: it is. */
const char *redis_tier_paused(const struct redis_tier *tier);
/* The next writing finds out whether the server takes writes again. */
void redis_tier_end_pause(struct redis_tier *tier);
void redis_tier_stop_writing(struct redis_tier *tier);
void redis_tier_pause_over(struct loop_timer *timer, uint64_t now_ns);
/* SET key value, with the TTL. NULL: as redis_link_call. */
struct redis_call *redis_tier_set(struct redis_tier *tier, const struct redis_key *key,
                                  const void *value, size_t size);

#endif
