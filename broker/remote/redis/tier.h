/* SPDX-License-Identifier: MIT */
/* The Redis tier: brokers of several hosts share chunks through one Redis.
 *
 * How bytes flow. The cache asks its remote (cache.h: struct cache_remote), which is this:
 *
 *   reading   cache: queued chunk ─▶ room in the arena ─▶ origin: its file or here (--redis-order)
 *             here:  GET PREFIX:chunk:XXH3:0 … up to 8 stripes under way, over all loads, the most
 *                    urgent load first; each reply is copied from hiredis's buffer to its place in
 *                    the arena (1 MiB = one segment of the loader), and the loader hashes it in the
 *                    same turns as segments of files.
 *             A stripe that is missing, wrong or late fails the load here: what it still waits for
 *             is forgotten (nothing can write into the arena but that copy, so the range is free of
 *             it at once), and the cache goes on with the file, in the same range and for the same
 *             waiters. Nothing becomes resident before the whole chunk has its digest.
 *   writing   cache: a chunk was read from its file ─▶ queued here by id, no bytes kept
 *             here:  EXISTS its stripes? else SET stripe by stripe, copied from the arena when its
 *                    turn comes, 2 under way. Evicted by then: dropped. Brokers that write the same
 *                    chunk at once write the same bytes under the same names.
 *
 * Reads and writes have a connection and a breaker each, so that no load stands behind a write.
 * "OOM command not allowed", a read-only replica and the like stop writing for a while (1 s,
 * doubling to 60 s), and never reading. Memory here is bounded: 8 MiB of replies (in the socket and
 * one in hiredis's buffer), 2 MiB of writes, 1024 queued ids.
 *
 * One thread, the loop's.
 */
#ifndef SWB_REMOTE_REDIS_TIER_H
#define SWB_REMOTE_REDIS_TIER_H

#include "base/loop.h"
#include "cache/cache.h"
#include "remote/redis/tls.h"
#include "stats/redis_stats.h"

struct redis_options {
    const char *url;
    bool reads, writes; /* which of the two the tier does; at least one */
    bool first;         /* chunks come from the files only if they cannot come from here */
    uint32_t timeout_ms;
    uint32_t ttl_s; /* of keys that are written; 0: they stay */
    const char *prefix;
    struct redis_tls_files tls; /* for rediss:// */
};

struct redis_tier;

/* Whether the options name a tier that this build can make; messages hold no secrets. Touches
 * nothing. */
int redis_tier_check(const struct redis_options *options, struct swi_error *error);

/* Becomes the cache's remote. It connects in the background: the server may be down. Strings of the
 * options are copied. */
int redis_tier_create(const struct redis_options *options, struct loop *loop, struct cache *cache,
                      struct redis_tier **ret, struct swi_error *error);
/* Before the cache is destroyed. */
void redis_tier_destroy(struct redis_tier *tier);

/* Called whenever the connection for reading is up. NULL: nothing is. */
void redis_tier_on_up(struct redis_tier *tier, void (*up)(void *owner), void *owner);

void redis_tier_get_stats(struct redis_tier *tier, struct redis_tier_stats *ret);

#endif
