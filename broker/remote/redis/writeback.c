/* SPDX-License-Identifier: MIT */
/* Writing chunks to the Redis. */
#include "remote/redis/writeback.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

#define KEYS_A_QUESTION 10u
#define PIECES_MAX      2u /* stripes under way */
#define TRIES_MAX       3u
#define PAUSE_MIN_NS    LOOP_NS_PER_S
#define PAUSE_MAX_NS    (60 * LOOP_NS_PER_S)

/* ---- pausing --------------------------------------------------------------------------------- */

static void pause_writing(struct redis_writeback *writeback, const char *why)
{
    uint64_t now_ns = loop_now();
    if (now_ns < writeback->paused_until_ns)
        return;
    writeback->pause_ns = writeback->pause_ns == 0 ? PAUSE_MIN_NS : writeback->pause_ns * 2;
    if (writeback->pause_ns > PAUSE_MAX_NS)
        writeback->pause_ns = PAUSE_MAX_NS;
    writeback->paused_until_ns = now_ns + writeback->pause_ns;
    (void)snprintf(writeback->pause_why, sizeof writeback->pause_why, "%s", why);
    loop_arm(writeback->loop, &writeback->pause_timer, writeback->paused_until_ns);
    log_peer("%s; writing pauses for %llu s", why,
             (unsigned long long)(writeback->pause_ns / LOOP_NS_PER_S));
}

static void pause_over(struct loop_timer *timer, uint64_t now_ns)
{
    (void)now_ns;
    redis_writeback_go_on(LOOP_OWNER(timer, struct redis_writeback, pause_timer));
}

const char *redis_writeback_paused(const struct redis_writeback *writeback)
{
    return loop_now() < writeback->paused_until_ns ? writeback->pause_why : NULL;
}

void redis_writeback_end_pause(struct redis_writeback *writeback)
{
    writeback->paused_until_ns = 0;
    loop_disarm(writeback->loop, &writeback->pause_timer);
}

/* ---- one chunk ------------------------------------------------------------------------------- */

static bool is_writing(const struct redis_writeback *writeback)
{
    const struct redis_writing *first = TAILQ_FIRST(&writeback->writings);
    return first && first->op.open;
}

/* Writings that have not begun end too, instead of waiting for a server that may not come back or
 * has no room. */
static void fail_queued(struct redis_writeback *writeback, const char *why)
{
    TAILQ_HEAD(, redis_writing) queued = TAILQ_HEAD_INITIALIZER(queued);
    struct redis_writing *writing;
    TAILQ_CONCAT(&queued, &writeback->writings, link);
    while ((writing = TAILQ_FIRST(&queued))) {
        TAILQ_REMOVE(&queued, writing, link);
        writing->over(writing, -EAGAIN, why);
    }
}

void redis_writeback_down(struct redis_writeback *writeback)
{
    fail_queued(writeback, redis_link_problem(writeback->port.link));
}

/* The operation has ended. */
static void finish(struct redis_writing *writing, int status, const char *why)
{
    struct redis_writeback *writeback = writing->writeback;
    TAILQ_REMOVE(&writeback->writings, writing, link);
    if (status == 0) {
        writeback->pause_ns = 0;
        writeback->stats->stores++;
        writeback->stats->store_bytes += writing->bytes;
    } else if (status == SW_ELOAD || status == -EAGAIN) {
        writeback->stats->store_failures++;
    }
    writing->over(writing, status, why);
    if (!redis_link_is_up(writeback->port.link))
        redis_writeback_down(writeback);
    else if (redis_writeback_paused(writeback))
        fail_queued(writeback, writeback->pause_why);
    redis_writeback_go_on(writeback);
}

static void succeed(struct redis_writing *writing, int status, const char *why)
{
    redis_op_succeed(&writing->op);
    finish(writing, status, why);
}

static void failed(struct redis_op *op, const struct redis_failure *failure)
{
    struct redis_writing *writing = LOOP_OWNER(op, struct redis_writing, op);
    bool error = failure->answer[0] != 0;
    if (error && (failure->about == REDIS_ABOUT_WRITES || failure->about == REDIS_ABOUT_RIGHTS))
        pause_writing(writing->writeback, failure->why);
    else if (error && failure->about == REDIS_ABOUT_KEY)
        log_peer("%s; a chunk is not written", failure->why);
    finish(writing, failure->lost ? -EAGAIN : SW_ELOAD, failure->why);
}

/* ---- its commands ---------------------------------------------------------------------------- */

static bool ask(struct redis_writing *writing, uint32_t count)
{
    struct redis_key keys[KEYS_A_QUESTION];
    struct redis_command exists = {.count = 0};
    redis_command_text(&exists, "EXISTS");
    for (uint32_t i = 0; i < KEYS_A_QUESTION && writing->asked < count; i++) {
        keys[i] = redis_key_stripe(writing->writeback->prefix, writing->digest, writing->asked++);
        redis_command_add(&exists, keys[i].text, keys[i].length);
    }
    return redis_op_send(&writing->op, &exists) != NULL;
}

struct redis_command redis_command_set(const struct redis_key *key, const void *value, size_t size,
                                       const char *ttl)
{
    struct redis_command set = {.count = 0};
    redis_command_text(&set, "SET");
    redis_command_add(&set, key->text, key->length);
    redis_command_add(&set, value, size);
    if (ttl[0]) {
        redis_command_text(&set, "EX");
        redis_command_text(&set, ttl);
    }
    return set;
}

/* Returns what ends the writing, or 0. */
static int put(struct redis_writing *writing)
{
    const struct redis_writeback *writeback = writing->writeback;
    const uint8_t *bytes = writing->stripe(writing, (uint64_t)writing->next * REDIS_STRIPE_BYTES);
    if (!bytes)
        return -ENODATA;
    const struct redis_key key =
        redis_key_stripe(writeback->prefix, writing->digest, writing->next);
    const struct redis_command set = redis_command_set(
        &key, bytes, redis_stripe_length(writing->bytes, writing->next), writeback->ttl);
    if (!redis_op_send(&writing->op, &set))
        return -EAGAIN;
    writing->next++;
    return 0;
}

/* Sends as much as may be under way. */
static void step(struct redis_writing *writing)
{
    uint32_t count = redis_stripe_count(writing->bytes);
    int problem = 0;
    if (!writing->anyway && writing->asked < count) {
        while (problem == 0 && writing->op.outstanding < PIECES_MAX && writing->asked < count)
            problem = ask(writing, count) ? 0 : -EAGAIN;
    } else if (!writing->anyway && writing->op.outstanding > 0) {
        return; /* an answer about presence is still to come */
    } else if (!writing->anyway && writing->present >= count) {
        writing->writeback->stats->store_present++;
        succeed(writing, 1, "it is there");
        return;
    } else if (writing->next == count && writing->op.outstanding == 0) {
        succeed(writing, 0, "");
        return;
    } else {
        writing->anyway = true; /* the questions are answered */
        while (problem == 0 && writing->op.outstanding < PIECES_MAX && writing->next < count)
            problem = put(writing);
    }
    if (problem == 0)
        return;
    redis_op_abandon(&writing->op);
    finish(writing, problem,
           problem == -ENODATA ? "it was evicted" : redis_link_problem(writing->op.port->link));
}

static void answered(struct redis_op *op, const struct redis_call *call,
                     const struct redis_reply *reply)
{
    struct redis_writing *writing = LOOP_OWNER(op, struct redis_writing, op);
    (void)call;
    if (!writing->anyway) { /* EXISTS */
        if (reply->type == REDIS_INTEGER && reply->integer > 0)
            writing->present += (uint64_t)reply->integer;
    } else if (reply->type != REDIS_STATUS) {
        redis_op_disappoint(op, "its answer to SET is invalid");
        return;
    }
    step(writing);
}

/* ---- whose turn it is ------------------------------------------------------------------------ */

static const uint8_t *resident_stripe(struct redis_writing *writing, uint64_t offset)
{
    const struct redis_writeback *writeback = writing->writeback;
    const uint8_t *bytes =
        cache_peek(writeback->cache, writeback->storing.id, writeback->storing.digest);
    return bytes ? bytes + offset : NULL;
}

static void enqueue(struct redis_writeback *writeback, const struct redis_queued *item)
{
    if (writeback->queue_count == REDIS_QUEUE_MAX) { /* the oldest is the likeliest to be evicted */
        writeback->queue_first = (writeback->queue_first + 1) % REDIS_QUEUE_MAX;
        writeback->queue_count--;
        writeback->stats->store_dropped++;
    }
    writeback->queue[(writeback->queue_first + writeback->queue_count++) % REDIS_QUEUE_MAX] = *item;
}

static void store_over(struct redis_writing *writing, int status, const char *why)
{
    struct redis_writeback *writeback = writing->writeback;
    (void)why;
    writeback->storing_now = false;
    if (status == -ENODATA)
        writeback->stats->store_dropped++;
    if (status == -EAGAIN && ++writeback->storing.tries < TRIES_MAX)
        enqueue(writeback, &writeback->storing);
}

/* The oldest queued chunk becomes a writing. */
static void start_store(struct redis_writeback *writeback)
{
    while (!writeback->storing_now && writeback->queue_count > 0) {
        writeback->storing = writeback->queue[writeback->queue_first];
        writeback->queue_first = (writeback->queue_first + 1) % REDIS_QUEUE_MAX;
        writeback->queue_count--;
        if (!cache_peek(writeback->cache, writeback->storing.id, writeback->storing.digest)) {
            writeback->stats->store_dropped++;
            continue;
        }
        writeback->store = (struct redis_writing){.digest = writeback->storing.digest,
                                                  .bytes = writeback->storing.bytes,
                                                  .anyway = writeback->storing.wrong,
                                                  .stripe = resident_stripe,
                                                  .over = store_over};
        writeback->storing_now = true;
        redis_writeback_write(writeback, &writeback->store);
    }
}

void redis_writeback_write(struct redis_writeback *writeback, struct redis_writing *writing)
{
    writing->writeback = writeback;
    writing->op =
        (struct redis_op){.port = &writeback->port, .answered = answered, .failed = failed};
    writing->asked = writing->next = 0;
    writing->present = 0;
    TAILQ_INSERT_TAIL(&writeback->writings, writing, link);
    redis_writeback_go_on(writeback);
}

void redis_writeback_cancel(struct redis_writing *writing)
{
    struct redis_writeback *writeback = writing->writeback;
    redis_op_abandon(&writing->op);
    TAILQ_REMOVE(&writeback->writings, writing, link);
    redis_writeback_go_on(writeback);
}

void redis_writeback_go_on(struct redis_writeback *writeback)
{
    struct redis_link *link = writeback->port.link;
    if (!link || is_writing(writeback) || redis_writeback_paused(writeback) ||
        !redis_link_usable(link))
        return;
    if (TAILQ_EMPTY(&writeback->writings)) {
        start_store(writeback); /* comes back here */
        return;
    }
    struct redis_writing *writing = TAILQ_FIRST(&writeback->writings);
    if (redis_op_begin(&writing->op))
        step(writing);
}

void redis_writeback_note(struct redis_writeback *writeback, uint32_t id,
                          const struct cache_chunk *chunk, bool wrong)
{
    const struct redis_queued item = {
        .id = id, .wrong = wrong, .bytes = chunk->bytes, .digest = chunk->digest};
    if (!writeback->port.link)
        return;
    enqueue(writeback, &item);
    redis_writeback_go_on(writeback);
}

/* ---- life ------------------------------------------------------------------------------------ */

void redis_writeback_init(struct redis_writeback *writeback)
{
    TAILQ_INIT(&writeback->writings);
    writeback->pause_timer.fire = pause_over;
}

void redis_writeback_stop(struct redis_writeback *writeback)
{
    struct redis_writing *writing;
    writeback->queue_count = 0;
    writeback->paused_until_ns = UINT64_MAX;
    (void)snprintf(writeback->pause_why, sizeof writeback->pause_why, "the broker is stopping");
    loop_disarm(writeback->loop, &writeback->pause_timer);
    while ((writing = TAILQ_FIRST(&writeback->writings))) {
        redis_op_abandon(&writing->op);
        TAILQ_REMOVE(&writeback->writings, writing, link);
        writing->over(writing, SW_ELOAD, writeback->pause_why);
    }
}
