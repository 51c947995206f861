/* SPDX-License-Identifier: MIT */
/* The Redis tier: a remote (remote/remote.h) through which brokers of several hosts share chunks.
 *
 *   reading   cache: queued chunk ─▶ room in the arena ─▶ origin: its file or here (--redis-order)
 *             here:  fetch.h
 *   writing   cache: a chunk was read from its file ─▶ here: writeback.h
 *   models    operators' verbs, --models ─▶ here: model.h
 *
 * Reads and writes have a connection and a breaker each, so no load waits behind a write. Memory is
 * bounded: 8 MiB of replies (in the socket, and one in hiredis's buffer) and what the writeback has.
 *
 * One thread: the loop's.
 */
#ifndef SWB_REMOTE_REDIS_TIER_H
#define SWB_REMOTE_REDIS_TIER_H

#include "base/loop.h"
#include "remote/redis/tls.h"
#include "remote/remote.h"

struct cache;

struct redis_options {
    const char *url;
    bool reads, writes; /* which of the two the tier does; at least one */
    bool first;         /* the cache asks it before a chunk's file, not after */
    uint32_t timeout_ms;
    uint32_t ttl_s; /* of keys that are written; 0: they do not expire */
    const char *prefix;
    struct redis_tls_files tls; /* for rediss:// */
};

/* Whether the options name a tier that this build supports; messages hold no secrets. Changes
 * nothing. */
int redis_tier_check(const struct redis_options *options, struct swi_error *error);

/* Becomes the cache's remote, until it is destroyed, which must come before the cache's end. It
 * connects in the background: the server may be down. Strings of the options are copied. */
int redis_tier_create(const struct redis_options *options, struct loop *loop, struct cache *cache,
                      struct remote **ret, struct swi_error *error);

#endif
