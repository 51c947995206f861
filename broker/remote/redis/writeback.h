/* SPDX-License-Identifier: MIT */
/* Writing chunks to the Redis: those that were read from their files, and those of a push.
 *
 *   a chunk was read from its file ─▶ queued by id; no bytes are kept ─▶ EXISTS its stripes?
 *   else SET stripe by stripe, copied from the arena when its turn comes, 2 under way
 *
 * A chunk that was evicted before its turn is dropped. Brokers that write the same chunk at once
 * write the same bytes under the same names. One chunk at a time.
 *
 * "OOM command not allowed", a read-only replica and the like pause writing (1 s, doubling to 60 s),
 * never reading. Memory is bounded: 2 MiB of writes, 1024 queued ids.
 */
#ifndef SWB_REMOTE_REDIS_WRITEBACK_H
#define SWB_REMOTE_REDIS_WRITEBACK_H

#include <sys/queue.h>

#include "cache/cache.h"
#include "remote/redis/keys.h"
#include "remote/redis/op.h"

/* A chunk being written. The owner's memory until over. */
struct redis_writing {
    struct swi_digest digest;
    uint64_t bytes;
    bool anyway; /* without asking whether it is there */
    /* The bytes at offset, valid until the next call into the cache; NULL: they are gone. */
    const uint8_t *(*stripe)(struct redis_writing *writing, uint64_t offset);
    /* status: 0 written; 1 it was there; -ENODATA its bytes are gone; SW_ELOAD the server refused;
     * -EAGAIN the connection was lost; the last two with a sentence. May start or queue others. */
    void (*over)(struct redis_writing *writing, int status, const char *why);

    struct redis_writeback *writeback;
    struct redis_op op;
    TAILQ_ENTRY(redis_writing) link;
    uint32_t asked, next; /* stripes that EXISTS was sent for; stripes sent */
    uint64_t present;
};

#define REDIS_QUEUE_MAX 1024u

struct redis_queued {
    uint32_t id;
    bool wrong;     /* the Redis holds other bytes */
    unsigned tries; /* that ended with the connection */
    uint64_t bytes;
    struct swi_digest digest;
};

struct redis_writeback {
    /* Set by the owner. */
    struct redis_port port; /* link NULL: the Redis is not written to */
    struct loop *loop;
    struct cache *cache;
    const char *prefix;
    const char *ttl; /* seconds; "": none */
    struct remote_stats *stats;

    TAILQ_HEAD(, redis_writing) writings;       /* the first one is under way if its op is open */
    struct redis_queued queue[REDIS_QUEUE_MAX]; /* ring */
    uint32_t queue_first, queue_count;
    struct redis_queued storing;
    struct redis_writing store; /* of `storing` */
    bool storing_now;
    uint64_t paused_until_ns, pause_ns;
    char pause_why[400];
    struct loop_timer pause_timer;
};

void redis_writeback_init(struct redis_writeback *writeback);
/* Ends everything. Nothing begins any more. */
void redis_writeback_stop(struct redis_writeback *writeback);

/* A chunk was read from its file; as in struct cache_remote. */
void redis_writeback_note(struct redis_writeback *writeback, uint32_t id,
                          const struct cache_chunk *chunk, bool wrong);
/* Queues a writing, which begins when those before it are over. It does not wait longer: a lost
 * connection and a server that accepts no writes end it. over may come before this returns. */
void redis_writeback_write(struct redis_writeback *writeback, struct redis_writing *writing);
/* over is not called. */
void redis_writeback_cancel(struct redis_writing *writing);

/* Begins what can begin now: the connection is up, or an operation on it has ended. */
void redis_writeback_go_on(struct redis_writeback *writeback);
/* The connection was lost. */
void redis_writeback_down(struct redis_writeback *writeback);
/* Why nothing is written for a while; NULL: something can be. */
const char *redis_writeback_paused(const struct redis_writeback *writeback);
/* The next writing finds out whether the server accepts writes again. */
void redis_writeback_end_pause(struct redis_writeback *writeback);

/* SET key value, with the time to live. key, value and ttl are borrowed by the command. */
struct redis_command redis_command_set(const struct redis_key *key, const void *value, size_t size,
                                       const char *ttl);

#endif
