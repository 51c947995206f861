/* SPDX-License-Identifier: MIT */
/* What the tests of the Redis tier with real brokers share. */
#ifndef SWT_REDIS_FIXTURE_H
#define SWT_REDIS_FIXTURE_H

#include "support/raw.h"
#include "support/redis.h"

/* A folder with the model "mini": 3 layers, chunks of one stripe and of many. */
const char *redis_models(void);

/* Writes "mini" anew: another seed is another revision. */
void redis_make_model(const char *seed);

/* A broker on redis_models() with this Redis, waiting up to 20 s for an answer unless extra says
 * otherwise, and connected to it once this returns. */
struct sup_broker redis_broker(const char *url, const char *const extra[]);
/* The same without waiting for the connection. */
struct sup_broker redis_broker_alone(const char *url, const char *const extra[]);

/* stats: redis.KEY, and redis.PART.KEY; the test fails when there is no such number. */
int64_t redis_stat(const struct sup_broker *broker, const char *key);
int64_t redis_link_stat(const struct sup_broker *broker, const char *part, const char *key);
const char *redis_breaker(const struct sup_broker *broker);
int64_t redis_disk_loads(const struct sup_broker *broker);
bool redis_is_up(const struct sup_broker *broker, const char *part);

/* Loads every chunk of "mini" and checks its bytes against its digest. */
void redis_expect_all(const struct sup_broker *broker);
#define REDIS_CHUNKS 5 /* of "mini" */

/* Evicts everything, once the pins of clients that have left are gone. */
void redis_clear(struct sup_broker *broker);
/* A broker has read the model from its files and written it to the Redis. */
void redis_fill(const struct sup_redis *redis);

/* swctl models: the row of a model's current revision; new reference. */
json_t *redis_row(const struct sup_broker *broker, const char *model);
/* Whether "mini" is served, and waiting for it. */
bool redis_is_served(const struct sup_broker *broker);
void redis_wait_served(struct sup_broker *broker);
/* Until the broker's log has this text. */
void redis_wait_logged(const struct sup_broker *broker, const char *text);
/* swctl push mini: the answer; new reference. */
json_t *redis_push(const struct sup_broker *broker);
/* A broker with files, which then stops, has pushed "mini". */
void redis_push_from_files(const struct sup_redis *redis);

/* Until redis.KEY reaches at least this; the test fails after a minute. */
void redis_wait_for(const struct sup_broker *broker, const char *key, int64_t least);
void redis_wait_for_link(const struct sup_broker *broker, const char *part, const char *key,
                         int64_t least);

#endif
