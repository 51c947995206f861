/* SPDX-License-Identifier: MIT */
/* Reading chunks from the Redis: the loads that the cache hands over, stripe by stripe.
 *
 *   GET PREFIX:chunk:XXH3:0 … up to 8 stripes under way, over all loads, the most urgent load first;
 *   each reply is copied from hiredis's buffer to its place in the arena (1 MiB = one segment of the
 *   loader), and the loader hashes it in the same turns as segments of files
 *
 * A stripe that is missing, wrong or late fails the load here: its remaining calls are forgotten, so
 * nothing writes into its range any more, and the cache goes on with the file, in the same range and
 * for the same waiters. A chunk becomes resident only after all of it matched its digest.
 */
#ifndef SWB_REMOTE_REDIS_FETCH_H
#define SWB_REMOTE_REDIS_FETCH_H

#include <sys/queue.h>

#include "cache/cache.h"
#include "remote/redis/op.h"

struct fetch;

struct redis_fetches {
    /* Set by the owner. */
    struct redis_port port; /* link NULL: the Redis is not read */
    const char *prefix;
    struct remote_stats *stats;

    TAILQ_HEAD(, fetch) list;
};

void redis_fetches_init(struct redis_fetches *fetches);
/* The cache has taken its loads back. */
void redis_fetches_fini(struct redis_fetches *fetches);

/* The functions of struct cache_remote. */
enum cache_remote_state redis_fetch_state(const struct redis_fetches *fetches,
                                          struct swi_error *why);
void redis_fetch_start(struct redis_fetches *fetches, struct load *load);
void redis_fetch_cancel(struct redis_fetches *fetches, struct load *load);
bool redis_fetch_over(struct redis_fetches *fetches, struct load *load);
bool redis_fetch_turn(struct redis_fetches *fetches);

#endif
