/* SPDX-License-Identifier: MIT */
/* Reading chunks from the Redis: the loads that the cache hands over, stripe by stripe. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "remote/redis/tier_internal.h"

enum outcome {
    FETCH_RUNNING,
    FETCH_MISSED,
    FETCH_WRONG,       /* it holds something else under the name */
    FETCH_REFUSED,     /* it does not give this one */
    FETCH_UNREACHABLE, /* it cannot be asked, or serves nobody */
};

struct fetch {
    TAILQ_ENTRY(fetch) link;
    struct redis_tier *tier;
    struct load *load;
    enum outcome outcome;
    bool full;     /* wanted nothing in this turn */
    bool admitted; /* by the breaker, which has not heard of its end yet */
    unsigned outstanding;
    struct redis_call *calls[FETCH_PIECES_MAX];
};

_Static_assert(REDIS_STRIPE_BYTES == LOADER_SEGMENT_BYTES, "a stripe is a segment");

static struct fetch *find(struct redis_tier *tier, const struct load *load)
{
    struct fetch *fetch;
    TAILQ_FOREACH(fetch, &tier->fetches, link)
    {
        if (fetch->load == load)
            return fetch;
    }
    return NULL;
}

static void drop_call(struct fetch *fetch, const struct redis_call *call)
{
    unsigned at = 0;
    while (fetch->calls[at] != call)
        at++;
    fetch->calls[at] = fetch->calls[--fetch->outstanding];
    fetch->tier->pieces--;
}

/* Nothing more will be brought; what is still on its way goes nowhere. */
static void give_back(struct fetch *fetch, const struct swi_error *error)
{
    while (fetch->outstanding > 0) {
        struct redis_call *call = fetch->calls[fetch->outstanding - 1];
        redis_call_forget(call);
        drop_call(fetch, call);
        loader_not_brought(fetch->load, error);
    }
}

static void fail(struct fetch *fetch, enum outcome outcome, const struct swi_error *error)
{
    if (fetch->outcome == FETCH_RUNNING)
        fetch->outcome = outcome;
    loader_refuse(fetch->load, error);
    give_back(fetch, error);
}

/* ---- replies ----------------------------------------------------------------------------------
 */

/* What an error says about the load. Returns what it is about. */
static enum redis_about judge_error(struct fetch *fetch, const struct redis_reply *reply,
                                    enum outcome *ret_outcome, struct swi_error *ret_error)
{
    enum redis_about about = redis_tier_count_error(fetch->tier, reply);
    if (strncmp(reply->text, "WRONGTYPE", 9) == 0) { /* a key of ours that holds something else */
        *ret_outcome = FETCH_WRONG;
        (void)swi_fail(ret_error, SW_EDIGEST, "Redis holds something else under its name");
        return about;
    }
    bool fault = redis_tier_is_fault(fetch->tier, fetch->tier->reads, about);
    if (!fault)
        log_peer("Redis at %s answers: %.120s; going on without it",
                 redis_link_name(fetch->tier->reads), reply->text);
    *ret_outcome = fault ? FETCH_UNREACHABLE : FETCH_REFUSED;
    (void)swi_fail(ret_error, SW_ELOAD, "Redis at %s answers: %.120s",
                   redis_link_name(fetch->tier->reads), reply->text);
    return about;
}

/* A reply that is not the stripe ends the load here. The breaker hears last of it: that may end the
 * connection, and with it other loads. */
static void take_failure(struct fetch *fetch, const struct redis_reply *reply)
{
    struct redis_tier *tier = fetch->tier;
    const char *name = redis_link_name(tier->reads);
    enum outcome outcome = FETCH_UNREACHABLE;
    enum redis_about about = REDIS_ABOUT_KEY;
    const char *held_against = NULL;
    struct swi_error error;
    if (!reply) { /* the link has told the breaker */
        fetch->admitted = false;
        (void)swi_fail(&error, SW_ELOAD, "%s", redis_link_problem(tier->reads));
    } else if (reply->type == REDIS_NIL) {
        outcome = FETCH_MISSED;
        (void)swi_fail(&error, SW_ELOAD,
                       "Redis at %s has not all of it; swctl push puts a model there", name);
    } else if (reply->type == REDIS_VALUE) {
        outcome = FETCH_WRONG;
        (void)swi_fail(&error, SW_EDIGEST, "what Redis holds of it has another length");
    } else if (reply->type == REDIS_ERROR) {
        about = judge_error(fetch, reply, &outcome, &error);
        held_against = redis_tier_is_fault(tier, tier->reads, about) ? reply->text : NULL;
    } else {
        about = REDIS_ABOUT_SERVER;
        held_against = "it does not answer GET as Redis does";
        (void)swi_fail(&error, SW_ELOAD, "Redis at %s: %s", name, held_against);
    }
    if (held_against)
        fetch->admitted = false;
    loader_not_brought(fetch->load, &error);
    fail(fetch, outcome, &error);
    if (held_against)
        redis_tier_tell_error(tier, tier->reads, about, held_against);
}

static void arrived(struct redis_call *call, const struct redis_reply *reply)
{
    struct fetch *fetch = call->context;
    struct redis_tier *tier = fetch->tier;
    drop_call(fetch, call);
    if (reply && reply->type == REDIS_VALUE && reply->placed)
        loader_brought(fetch->load, call->offset);
    else
        take_failure(fetch, reply);
    (void)redis_tier_turn(tier);
}

/* ---- asking -----------------------------------------------------------------------------------
 */

static bool goes_before(const struct load *a, const struct load *b)
{
    return a->priority < b->priority || (a->priority == b->priority && a->order < b->order);
}

/* The most urgent load that wants another stripe. */
static struct fetch *next_to_ask(struct redis_tier *tier, uint64_t *ret_offset, uint32_t *ret_bytes)
{
    for (;;) {
        struct fetch *best = NULL;
        struct fetch *fetch;
        TAILQ_FOREACH(fetch, &tier->fetches, link)
        {
            if (fetch->outcome == FETCH_RUNNING && !fetch->full &&
                (!best || goes_before(fetch->load, best->load)))
                best = fetch;
        }
        if (!best || loader_want(best->load, ret_offset, ret_bytes))
            return best;
        best->full = true;
    }
}

static bool ask(struct fetch *fetch, uint64_t offset, uint32_t bytes)
{
    struct redis_tier *tier = fetch->tier;
    const struct redis_key key = redis_key_stripe(tier->prefix, fetch->load->digest,
                                                  (uint32_t)(offset / REDIS_STRIPE_BYTES));
    struct redis_command get = {.count = 0};
    redis_command_text(&get, "GET");
    redis_command_add(&get, key.text, key.length);
    struct redis_call *call = redis_link_call(tier->reads, &get);
    if (!call)
        return false;
    call->done = arrived;
    call->context = fetch;
    call->offset = offset;
    call->into = fetch->load->target + offset;
    call->into_bytes = bytes;
    fetch->calls[fetch->outstanding++] = call;
    tier->pieces++;
    return true;
}

bool redis_tier_turn(void *context)
{
    struct redis_tier *tier = context;
    uint64_t offset;
    uint32_t bytes;
    struct fetch *fetch;
    bool asked = false, failed = false;
    TAILQ_FOREACH(fetch, &tier->fetches, link)
    fetch->full = false;
    while (tier->pieces < FETCH_PIECES_MAX && (fetch = next_to_ask(tier, &offset, &bytes))) {
        if (ask(fetch, offset, bytes)) {
            asked = true;
            continue;
        }
        struct swi_error error;
        (void)swi_fail(&error, SW_ELOAD, "%s", redis_link_problem(tier->reads));
        loader_not_brought(fetch->load, &error);
        fail(fetch, FETCH_UNREACHABLE, &error);
        failed = true;
    }
    if (asked)
        redis_link_flush(tier->reads);
    return failed || (asked && !redis_link_is_up(tier->reads)); /* the flush may end it */
}

/* ---- the cache's remote -----------------------------------------------------------------------
 */

enum cache_remote_state redis_tier_state(void *context, struct swi_error *why)
{
    struct redis_tier *tier = context;
    if (!tier->reads) {
        (void)swi_fail(why, SW_ELOAD, "--redis-mode write-only: Redis is not read");
        return CACHE_REMOTE_DOWN;
    }
    if (redis_link_usable(tier->reads))
        return CACHE_REMOTE_READY;
    (void)swi_fail(why, SW_ELOAD, "%s", redis_link_problem(tier->reads));
    return redis_link_down_ns(tier->reads, loop_now()) < REMOTE_PATIENCE_NS ? CACHE_REMOTE_SOON
                                                                            : CACHE_REMOTE_DOWN;
}

void redis_tier_fetch(void *context, struct load *load)
{
    struct redis_tier *tier = context;
    struct swi_error error;
    struct fetch *fetch = calloc(1, sizeof *fetch);
    if (!fetch) {
        (void)swi_fail(&error, -ENOMEM, "out of memory");
        loader_refuse(load, &error);
        return;
    }
    *fetch = (struct fetch){.tier = tier, .load = load};
    TAILQ_INSERT_TAIL(&tier->fetches, fetch, link);
    fetch->admitted = redis_link_admit(tier->reads);
    if (!fetch->admitted) {
        (void)swi_fail(&error, SW_ELOAD, "%s", redis_link_problem(tier->reads));
        fail(fetch, FETCH_UNREACHABLE, &error);
        return;
    }
    (void)redis_tier_turn(tier);
}

void redis_tier_cancel(void *context, struct load *load)
{
    struct fetch *fetch = find(context, load);
    struct swi_error error;
    (void)swi_fail(&error, -ECANCELED, "cancelled");
    if (fetch)
        give_back(fetch, &error);
}

/* What was answered counts for the server, whatever it was; what was not was told already. */
static void tell_breaker(struct redis_tier *tier, const struct fetch *fetch)
{
    if (!fetch->admitted)
        return;
    if (fetch->load->status == -ECANCELED || fetch->outcome == FETCH_UNREACHABLE)
        redis_link_abandoned(tier->reads);
    else
        redis_link_succeeded(tier->reads);
}

static void complain_of_value(const struct redis_tier *tier, const struct load *load)
{
    char hex[SWI_DIGEST_HEX];
    swi_digest_format(load->digest, hex);
    log_peer("Redis at %s: what it holds of chunk %s has another length or digest; going on "
             "without it",
             redis_link_name(tier->reads), hex);
}

bool redis_tier_over(void *context, struct load *load)
{
    struct redis_tier *tier = context;
    struct fetch *fetch = find(tier, load);
    if (!fetch)
        return false;
    assert(fetch->outstanding == 0);
    if (load->status == 0) {
        tier->stats.hits++;
        tier->stats.hit_bytes += load->bytes;
    } else if (load->status == -ECANCELED) {
        ;
    } else if (fetch->outcome == FETCH_MISSED) {
        tier->stats.misses++;
    } else if (fetch->outcome == FETCH_UNREACHABLE || fetch->outcome == FETCH_REFUSED) {
        tier->stats.failures++;
    } else if (load->status == SW_EDIGEST) {
        tier->stats.wrong++;
        complain_of_value(tier, load);
    }
    bool unreachable = fetch->outcome == FETCH_UNREACHABLE;
    TAILQ_REMOVE(&tier->fetches, fetch, link);
    tell_breaker(tier, fetch);
    free(fetch);
    return unreachable;
}

void redis_tier_stop_fetching(struct redis_tier *tier)
{
    struct fetch *fetch;
    while ((fetch = TAILQ_FIRST(&tier->fetches))) {
        assert(fetch->outstanding == 0 && "the cache has taken its loads back");
        TAILQ_REMOVE(&tier->fetches, fetch, link);
        free(fetch);
    }
}
