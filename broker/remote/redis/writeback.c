/* SPDX-License-Identifier: MIT */
/* Writing to the Redis: chunks that were read from their files, and what a push brings. One blob at
 * a time, its stripes two at a time. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "remote/redis/tier_internal.h"

#define KEYS_A_QUESTION 10u

static void write_step(struct redis_writing *writing);

/* ---- pausing ----------------------------------------------------------------------------------
 */

static void pause_writing(struct redis_tier *tier, const char *why)
{
    uint64_t now_ns = loop_now();
    if (now_ns < tier->paused_until_ns)
        return;
    tier->pause_ns = tier->pause_ns == 0 ? FDSTORE_PAUSE_MIN_NS : tier->pause_ns * 2;
    if (tier->pause_ns > FDSTORE_PAUSE_MAX_NS)
        tier->pause_ns = FDSTORE_PAUSE_MAX_NS;
    tier->paused_until_ns = now_ns + tier->pause_ns;
    (void)snprintf(tier->pause_why, sizeof tier->pause_why, "Redis answers: %.140s", why);
    loop_arm(tier->loop, &tier->pause_timer, tier->paused_until_ns);
    log_peer("Redis at %s takes no writes: %.150s; nothing is written for %llu s",
             redis_link_name(tier->writes), why,
             (unsigned long long)(tier->pause_ns / LOOP_NS_PER_S));
}

void redis_tier_pause_over(struct loop_timer *timer, uint64_t now_ns)
{
    (void)now_ns;
    redis_tier_write_more(LOOP_OWNER(timer, struct redis_tier, pause_timer));
}

const char *redis_tier_paused(const struct redis_tier *tier)
{
    return loop_now() < tier->paused_until_ns ? tier->pause_why : NULL;
}

void redis_tier_end_pause(struct redis_tier *tier)
{
    tier->paused_until_ns = 0;
    loop_disarm(tier->loop, &tier->pause_timer);
}

/* ---- one blob ---------------------------------------------------------------------------------
 */

/* Those that have not begun hear of it too, rather than wait for a server that may not come back,
 * or has no room for them either. */
static void fail_queued(struct redis_tier *tier, const char *why)
{
    struct writing_list queued = TAILQ_HEAD_INITIALIZER(queued);
    struct redis_writing *writing;
    TAILQ_CONCAT(&queued, &tier->writings, link);
    while ((writing = TAILQ_FIRST(&queued))) {
        TAILQ_REMOVE(&queued, writing, link);
        writing->over(writing, -EAGAIN, why);
    }
}

void redis_tier_writes_down(struct redis_tier *tier)
{
    if (!tier->writing) /* else what is being written ends first, by itself */
        fail_queued(tier, redis_link_problem(tier->writes));
}

static void forget_calls(struct redis_writing *writing)
{
    for (unsigned i = 0; i < writing->outstanding; i++)
        redis_call_forget(writing->calls[i]);
    writing->outstanding = 0;
}

static void finish(struct redis_writing *writing, int status, const char *why)
{
    struct redis_tier *tier = writing->tier;
    forget_calls(writing);
    TAILQ_REMOVE(&tier->writings, writing, link);
    tier->writing = false;
    if (status == 0) {
        tier->pause_ns = 0;
        tier->stats.stores++;
        tier->stats.store_bytes += writing->bytes;
    } else if (status == SW_ELOAD || status == -EAGAIN) {
        tier->stats.store_failures++;
    }
    writing->over(writing, status, why);
    if (status == -EAGAIN || !redis_link_is_up(tier->writes))
        fail_queued(tier, redis_link_problem(tier->writes));
    else if (redis_tier_paused(tier))
        fail_queued(tier, tier->pause_why);
    redis_tier_write_more(tier);
}

/* The server answers, whatever it says. */
static void finish_answered(struct redis_writing *writing, int status, const char *why)
{
    redis_link_succeeded(writing->tier->writes);
    finish(writing, status, why);
}

static void finish_abandoned(struct redis_writing *writing, int status, const char *why)
{
    redis_link_abandoned(writing->tier->writes);
    finish(writing, status, why);
}

static void drop_call(struct redis_writing *writing, const struct redis_call *call)
{
    unsigned at = 0;
    while (writing->calls[at] != call)
        at++;
    writing->calls[at] = writing->calls[--writing->outstanding];
}

/* True when the reply ended the writing. */
static bool ended_by(struct redis_writing *writing, const struct redis_reply *reply)
{
    struct redis_tier *tier = writing->tier;
    if (!reply) { /* the link has told the breaker */
        finish(writing, -EAGAIN, redis_link_problem(tier->writes));
        return true;
    }
    if (reply->type != REDIS_ERROR)
        return false;
    enum redis_about about = redis_tier_count_error(tier, reply);
    if (about == REDIS_ABOUT_WRITES || about == REDIS_ABOUT_RIGHTS)
        pause_writing(tier, reply->text);
    else if (about == REDIS_ABOUT_KEY)
        log_peer("Redis at %s does not take a chunk: %.150s", redis_link_name(tier->writes),
                 reply->text);
    char why[sizeof reply->text + 32];
    (void)snprintf(why, sizeof why, "Redis answers: %s", reply->text);
    forget_calls(writing); /* when the breaker opens their ends must not come back here */
    redis_tier_tell_error(tier, tier->writes, about, reply->text);
    finish(writing, SW_ELOAD, why);
    return true;
}

static struct redis_call *send(struct redis_writing *writing, const struct redis_command *command,
                               void (*done)(struct redis_call *, const struct redis_reply *))
{
    struct redis_call *call = redis_link_call(writing->tier->writes, command);
    if (!call)
        return NULL;
    call->done = done;
    call->context = writing;
    writing->calls[writing->outstanding++] = call;
    return call;
}

/* ---- is it there? -----------------------------------------------------------------------------
 */

static void counted(struct redis_call *call, const struct redis_reply *reply)
{
    struct redis_writing *writing = call->context;
    drop_call(writing, call);
    if (ended_by(writing, reply))
        return;
    if (reply->type == REDIS_INTEGER && reply->integer > 0)
        writing->present += (uint64_t)reply->integer;
    write_step(writing);
}

static bool ask(struct redis_writing *writing, uint32_t count)
{
    struct redis_key keys[KEYS_A_QUESTION];
    struct redis_command exists = {.count = 0};
    redis_command_text(&exists, "EXISTS");
    for (uint32_t i = 0; i < KEYS_A_QUESTION && writing->asked < count; i++) {
        keys[i] = redis_key_stripe(writing->tier->prefix, writing->digest, writing->asked++);
        redis_command_add(&exists, keys[i].text, keys[i].length);
    }
    return send(writing, &exists, counted) != NULL;
}

/* ---- the bytes --------------------------------------------------------------------------------
 */

static void stored(struct redis_call *call, const struct redis_reply *reply)
{
    struct redis_writing *writing = call->context;
    drop_call(writing, call);
    if (ended_by(writing, reply))
        return;
    if (reply->type != REDIS_STATUS) {
        forget_calls(writing); /* when the breaker opens their ends must not come back here */
        redis_link_disappointed(writing->tier->writes, "it does not answer SET as Redis does");
        finish(writing, SW_ELOAD, "Redis does not answer SET as Redis does");
        return;
    }
    write_step(writing);
}

static void add_ttl(const struct redis_tier *tier, struct redis_command *set)
{
    if (!tier->ttl[0])
        return;
    redis_command_text(set, "EX");
    redis_command_text(set, tier->ttl);
}

struct redis_call *redis_tier_set(struct redis_tier *tier, const struct redis_key *key,
                                  const void *value, size_t size)
{
    struct redis_command set = {.count = 0};
    redis_command_text(&set, "SET");
    redis_command_add(&set, key->text, key->length);
    redis_command_add(&set, value, size);
    add_ttl(tier, &set);
    return redis_link_call(tier->writes, &set);
}

/* Returns what ends the writing, or 0. */
static int put(struct redis_writing *writing)
{
    struct redis_tier *tier = writing->tier;
    uint64_t offset = (uint64_t)writing->next * REDIS_STRIPE_BYTES;
    const uint8_t *bytes = writing->stripe(writing, offset);
    if (!bytes)
        return -ENODATA;
    const struct redis_key key = redis_key_stripe(tier->prefix, writing->digest, writing->next);
    struct redis_call *call =
        redis_tier_set(tier, &key, bytes, redis_stripe_length(writing->bytes, writing->next));
    if (!call)
        return -EAGAIN;
    call->done = stored;
    call->context = writing;
    writing->calls[writing->outstanding++] = call;
    writing->next++;
    return 0;
}

/* Goes on with the writing as far as it can be gone on with now. */
static void write_step(struct redis_writing *writing)
{
    struct redis_tier *tier = writing->tier;
    uint32_t count = redis_stripe_count(writing->bytes);
    int problem = 0;
    if (!writing->anyway && writing->asked < count) {
        while (problem == 0 && writing->outstanding < WRITE_PIECES_MAX && writing->asked < count)
            problem = ask(writing, count) ? 0 : -EAGAIN;
    } else if (writing->outstanding > 0 && writing->next == 0) {
        return; /* an answer about presence is still to come */
    } else if (!writing->anyway && writing->present >= count) {
        tier->stats.store_present++;
        finish_answered(writing, 1, "it is there");
        return;
    } else if (writing->next == count && writing->outstanding == 0) {
        finish_answered(writing, 0, "");
        return;
    } else {
        writing->anyway = true; /* what was asked is answered */
        while (problem == 0 && writing->outstanding < WRITE_PIECES_MAX && writing->next < count)
            problem = put(writing);
    }
    if (problem != 0)
        finish_abandoned(writing, problem,
                         problem == -ENODATA ? "it was evicted" : redis_link_problem(tier->writes));
    else
        redis_link_flush(tier->writes);
}

/* ---- whose turn it is -------------------------------------------------------------------------
 */

static const uint8_t *resident_stripe(struct redis_writing *writing, uint64_t offset)
{
    struct redis_tier *tier = writing->tier;
    const uint8_t *bytes = cache_peek(tier->cache, tier->storing.id, tier->storing.digest);
    return bytes ? bytes + offset : NULL;
}

static void enqueue(struct redis_tier *tier, const struct queued_store *item)
{
    if (tier->queue_count == FDSTORE_QUEUE_MAX) { /* the oldest is the likeliest to be evicted */
        tier->queue_first = (tier->queue_first + 1) % FDSTORE_QUEUE_MAX;
        tier->queue_count--;
        tier->stats.store_dropped++;
    }
    tier->queue[(tier->queue_first + tier->queue_count++) % FDSTORE_QUEUE_MAX] = *item;
}

static void store_over(struct redis_writing *writing, int status, const char *why)
{
    struct redis_tier *tier = writing->tier;
    (void)why;
    tier->fdstore_busy = false;
    if (status == -ENODATA)
        tier->stats.store_dropped++;
    if (status == -EAGAIN && ++tier->storing.tries < FDSTORE_TRIES_MAX)
        enqueue(tier, &tier->storing);
}

/* The oldest queued chunk becomes a writing. */
static void start_store(struct redis_tier *tier)
{
    while (!tier->fdstore_busy && tier->queue_count > 0) {
        tier->storing = tier->queue[tier->queue_first];
        tier->queue_first = (tier->queue_first + 1) % FDSTORE_QUEUE_MAX;
        tier->queue_count--;
        if (!cache_peek(tier->cache, tier->storing.id, tier->storing.digest)) {
            tier->stats.store_dropped++;
            continue;
        }
        tier->store = (struct redis_writing){.digest = tier->storing.digest,
                                             .bytes = tier->storing.bytes,
                                             .anyway = tier->storing.wrong,
                                             .stripe = resident_stripe,
                                             .over = store_over};
        tier->fdstore_busy = true;
        redis_tier_write(tier, &tier->store);
    }
}

void redis_tier_write(struct redis_tier *tier, struct redis_writing *writing)
{
    writing->tier = tier;
    writing->asked = writing->next = 0;
    writing->present = 0;
    writing->outstanding = 0;
    TAILQ_INSERT_TAIL(&tier->writings, writing, link);
    redis_tier_write_more(tier);
}

void redis_tier_forget_writing(struct redis_tier *tier, struct redis_writing *writing)
{
    bool active = tier->writing && TAILQ_FIRST(&tier->writings) == writing;
    forget_calls(writing);
    TAILQ_REMOVE(&tier->writings, writing, link);
    if (!active)
        return;
    tier->writing = false;
    redis_link_abandoned(tier->writes);
    redis_tier_write_more(tier);
}

void redis_tier_write_more(struct redis_tier *tier)
{
    if (!tier->writes || tier->writing || redis_tier_paused(tier) ||
        !redis_link_usable(tier->writes))
        return;
    if (TAILQ_EMPTY(&tier->writings)) {
        start_store(tier); /* comes back here */
        return;
    }
    if (!redis_link_admit(tier->writes))
        return;
    tier->writing = true;
    write_step(TAILQ_FIRST(&tier->writings));
}

void redis_tier_was_read(void *context, uint32_t id, const struct cache_chunk *chunk, bool wrong)
{
    struct redis_tier *tier = context;
    if (!tier->writes)
        return;
    const struct queued_store item = {
        .id = id, .wrong = wrong, .bytes = chunk->bytes, .digest = chunk->digest};
    enqueue(tier, &item);
    redis_tier_write_more(tier);
}

void redis_tier_stop_writing(struct redis_tier *tier)
{
    tier->queue_count = 0;
    tier->paused_until_ns = UINT64_MAX; /* nothing begins any more */
    (void)snprintf(tier->pause_why, sizeof tier->pause_why, "the broker is stopping");
    loop_disarm(tier->loop, &tier->pause_timer);
    struct redis_writing *writing;
    while ((writing = TAILQ_FIRST(&tier->writings)))
        finish(writing, SW_ELOAD, "the broker is stopping");
}
