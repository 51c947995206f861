/* SPDX-License-Identifier: MIT */
/* Reading chunks from the Redis. */
#include "remote/redis/fetch.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "loader/loader.h"
#include "remote/redis/keys.h"

#define PIECES_MAX  8u                  /* stripes under way, over all loads */
#define PATIENCE_NS (5 * LOOP_NS_PER_S) /* away for longer: loads do not wait for it */

_Static_assert(PIECES_MAX <= REDIS_OP_CALLS_MAX, "one load may have them all");
_Static_assert(REDIS_STRIPE_BYTES == LOADER_SEGMENT_BYTES, "a stripe is a segment");

enum outcome {
    RUNNING,
    MISSED,
    WRONG,       /* another value under the name */
    REFUSED,     /* an error about this key */
    UNREACHABLE, /* the server cannot be asked, or serves no requests */
};

struct fetch {
    TAILQ_ENTRY(fetch) link;
    struct redis_fetches *fetches;
    struct redis_op op;
    struct load *load;
    enum outcome outcome;
    unsigned wanted; /* segments taken from the loader and not given back yet */
    bool full;       /* wanted nothing in this turn */
};

static struct fetch *find(struct redis_fetches *fetches, const struct load *load)
{
    struct fetch *fetch;
    TAILQ_FOREACH(fetch, &fetches->list, link)
    {
        if (fetch->load == load)
            return fetch;
    }
    return NULL;
}

static unsigned count_pieces(const struct redis_fetches *fetches)
{
    unsigned pieces = 0;
    const struct fetch *fetch;
    TAILQ_FOREACH(fetch, &fetches->list, link)
    pieces += fetch->op.outstanding;
    return pieces;
}

static void give_back(struct fetch *fetch, const struct swi_error *error)
{
    for (; fetch->wanted > 0; fetch->wanted--)
        loader_not_brought(fetch->load, error);
}

/* Nothing more of it comes. The operation has ended. */
static void fail(struct fetch *fetch, enum outcome outcome, const struct swi_error *error)
{
    fetch->outcome = outcome;
    loader_refuse(fetch->load, error);
    give_back(fetch, error);
}

/* ---- replies --------------------------------------------------------------------------------- */

static void failed(struct redis_op *op, const struct redis_failure *failure)
{
    struct fetch *fetch = LOOP_OWNER(op, struct fetch, op);
    struct swi_error error;
    bool wrong = strncmp(failure->answer, "WRONGTYPE", 9) == 0;
    if (wrong)
        (void)swi_fail(&error, SW_EDIGEST, "Redis holds something else under its name");
    else
        (void)swi_fail(&error, SW_ELOAD, "%s", failure->why);
    if (!wrong && !failure->unreachable)
        log_peer("%s; continuing without it", failure->why);
    fail(fetch, wrong ? WRONG : failure->unreachable ? UNREACHABLE : REFUSED, &error);
    (void)redis_fetch_turn(fetch->fetches);
}

/* The server answered, but not with the stripe. */
static void take_other(struct fetch *fetch, const struct redis_reply *reply)
{
    struct swi_error error;
    const char *name = redis_link_name(fetch->fetches->port.link);
    if (reply->type == REDIS_NIL)
        (void)swi_fail(&error, SW_ELOAD, "Redis at %s lacks it, or parts of it; run swctl push",
                       name);
    else
        (void)swi_fail(&error, SW_EDIGEST, "the value in Redis has another length");
    redis_op_succeed(&fetch->op);
    fail(fetch, reply->type == REDIS_NIL ? MISSED : WRONG, &error);
}

static void answered(struct redis_op *op, const struct redis_call *call,
                     const struct redis_reply *reply)
{
    struct fetch *fetch = LOOP_OWNER(op, struct fetch, op);
    if (reply->type == REDIS_VALUE && reply->placed) {
        fetch->wanted--;
        loader_brought(fetch->load, call->offset);
    } else if (reply->type == REDIS_VALUE || reply->type == REDIS_NIL) {
        take_other(fetch, reply);
    } else {
        redis_op_disappoint(op, "its answer to GET is invalid");
        return;
    }
    (void)redis_fetch_turn(fetch->fetches);
}

/* ---- asking ---------------------------------------------------------------------------------- */

static bool goes_before(const struct load *a, const struct load *b)
{
    return a->priority < b->priority || (a->priority == b->priority && a->order < b->order);
}

/* The most urgent load that wants another stripe. */
static struct fetch *next_to_ask(struct redis_fetches *fetches, uint64_t *ret_offset,
                                 uint32_t *ret_bytes)
{
    for (;;) {
        struct fetch *best = NULL;
        struct fetch *fetch;
        TAILQ_FOREACH(fetch, &fetches->list, link)
        {
            if (fetch->outcome == RUNNING && !fetch->full &&
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
    const struct redis_key key = redis_key_stripe(fetch->fetches->prefix, fetch->load->digest,
                                                  (uint32_t)(offset / REDIS_STRIPE_BYTES));
    struct redis_command get = {.count = 0};
    redis_command_text(&get, "GET");
    redis_command_add(&get, key.text, key.length);
    struct redis_call *call = redis_op_send(&fetch->op, &get);
    if (!call)
        return false;
    call->offset = offset;
    call->into = fetch->load->target + offset;
    call->into_bytes = bytes;
    return true;
}

bool redis_fetch_turn(struct redis_fetches *fetches)
{
    uint64_t offset;
    uint32_t bytes;
    struct fetch *fetch;
    bool failures = false;
    TAILQ_FOREACH(fetch, &fetches->list, link)
    fetch->full = false;
    unsigned pieces = count_pieces(fetches);
    while (pieces < PIECES_MAX && (fetch = next_to_ask(fetches, &offset, &bytes))) {
        fetch->wanted++;
        if (ask(fetch, offset, bytes)) {
            pieces++;
            continue;
        }
        struct swi_error error;
        (void)swi_fail(&error, SW_ELOAD, "%s", redis_link_problem(fetches->port.link));
        redis_op_abandon(&fetch->op);
        fail(fetch, UNREACHABLE, &error);
        failures = true;
    }
    return failures;
}

/* ---- the cache's remote ---------------------------------------------------------------------- */

enum cache_remote_state redis_fetch_state(const struct redis_fetches *fetches,
                                          struct swi_error *why)
{
    struct redis_link *link = fetches->port.link;
    if (!link) {
        (void)swi_fail(why, SW_ELOAD, "--redis-mode write-only: Redis is not read");
        return CACHE_REMOTE_DOWN;
    }
    if (redis_link_usable(link))
        return CACHE_REMOTE_READY;
    (void)swi_fail(why, SW_ELOAD, "%s", redis_link_problem(link));
    return redis_link_down_ns(link, loop_now()) < PATIENCE_NS ? CACHE_REMOTE_SOON
                                                              : CACHE_REMOTE_DOWN;
}

void redis_fetch_start(struct redis_fetches *fetches, struct load *load)
{
    struct swi_error error;
    struct fetch *fetch = calloc(1, sizeof *fetch);
    if (!fetch) {
        (void)swi_fail(&error, -ENOMEM, "out of memory");
        loader_refuse(load, &error);
        return;
    }
    *fetch = (struct fetch){
        .fetches = fetches,
        .op = {.port = &fetches->port, .answered = answered, .failed = failed},
        .load = load,
    };
    TAILQ_INSERT_TAIL(&fetches->list, fetch, link);
    if (redis_op_begin(&fetch->op)) {
        (void)redis_fetch_turn(fetches);
        return;
    }
    (void)swi_fail(&error, SW_ELOAD, "%s", redis_link_problem(fetches->port.link));
    fail(fetch, UNREACHABLE, &error);
}

void redis_fetch_cancel(struct redis_fetches *fetches, struct load *load)
{
    struct fetch *fetch = find(fetches, load);
    struct swi_error error;
    (void)swi_fail(&error, -ECANCELED, "cancelled");
    if (!fetch)
        return;
    redis_op_abandon(&fetch->op);
    give_back(fetch, &error);
}

static void log_wrong_value(const struct redis_fetches *fetches, const struct load *load)
{
    char hex[SWI_DIGEST_HEX];
    swi_digest_format(load->digest, hex);
    log_peer(
        "Redis at %s: its value of chunk %s has another length or digest; continuing without it",
        redis_link_name(fetches->port.link), hex);
}

static void count(struct redis_fetches *fetches, const struct fetch *fetch)
{
    const struct load *load = fetch->load;
    struct remote_stats *stats = fetches->stats;
    if (load->status == 0) {
        stats->hits++;
        stats->hit_bytes += load->bytes;
    } else if (load->status == -ECANCELED) {
        ;
    } else if (fetch->outcome == MISSED) {
        stats->misses++;
    } else if (fetch->outcome == UNREACHABLE || fetch->outcome == REFUSED) {
        stats->failures++;
    } else if (load->status == SW_EDIGEST) {
        stats->wrong++;
        log_wrong_value(fetches, load);
    }
}

bool redis_fetch_over(struct redis_fetches *fetches, struct load *load)
{
    struct fetch *fetch = find(fetches, load);
    if (!fetch)
        return false;
    assert(fetch->wanted == 0);
    bool unreachable = fetch->outcome == UNREACHABLE;
    count(fetches, fetch);
    if (fetch->op.open && load->status != -ECANCELED)
        redis_op_succeed(&fetch->op);
    redis_op_abandon(&fetch->op);
    TAILQ_REMOVE(&fetches->list, fetch, link);
    free(fetch);
    return unreachable;
}

void redis_fetches_init(struct redis_fetches *fetches)
{
    TAILQ_INIT(&fetches->list);
}

void redis_fetches_fini(struct redis_fetches *fetches)
{
    struct fetch *fetch;
    while ((fetch = TAILQ_FIRST(&fetches->list))) {
        assert(fetch->wanted == 0 && "the cache has taken its loads back");
        TAILQ_REMOVE(&fetches->list, fetch, link);
        free(fetch);
    }
}
