/* SPDX-License-Identifier: MIT */
/* What a Redis has of the models in the catalog. */
#include "operator/where.h"

#include <stdlib.h>

#include "remote/redis/tier_internal.h"

#define KEYS_A_QUESTION 32u
#define STRIPES_MAX     65536u /* of one model: beyond, they are not counted */
#define ASKING_MAX      16u    /* at once, of all sessions */

struct where {
    TAILQ_ENTRY(where) link;
    struct session *session;
    struct redis_link *redis;
    uint64_t tag;
    json_t *reply;
    size_t row;
    bool answered; /* it was asked something */
    bool pushed, asked_pointer;
    size_t chunk; /* next to ask for */
    uint32_t stripe;
    uint64_t asked, present;
    struct redis_call *call;
};

static void step(struct where *where);

static void where_free(struct where *where)
{
    struct session *session = where->session;
    struct broker *broker = session->broker;
    TAILQ_REMOVE(&broker->wheres, where, link);
    broker->where_count--;
    if (where->call) {
        redis_call_forget(where->call);
        redis_link_abandoned(where->redis);
    }
    json_decref(where->reply);
    free(where);
    session_watch(session); /* nothing is owed any more */
}

bool where_awaited(const struct session *session)
{
    const struct where *where;
    TAILQ_FOREACH(where, &session->broker->wheres, link)
    {
        if (where->session == session)
            return true;
    }
    return false;
}

/* Without a connection for reading it is the one for writing that was asked: while that was its
 * breaker's probe, no writing could begin. Last of all: a connection that is lost by it ends
 * others. */
static void write_on(struct broker *broker)
{
    if (broker->redis && !broker->redis->reads)
        redis_tier_write_more(broker->redis);
}

void where_cancel(struct session *session)
{
    struct broker *broker = session->broker;
    struct where *where = TAILQ_FIRST(&broker->wheres);
    bool ended = false;
    while (where) {
        struct where *next = TAILQ_NEXT(where, link);
        if (where->session == session) {
            where_free(where);
            ended = true;
        }
        where = next;
    }
    if (ended)
        write_on(broker);
}

static void finish(struct where *where)
{
    struct broker *broker = where->session->broker;
    json_incref(where->reply);
    session_reply(where->session, where->tag, where->reply);
    where_free(where);
    write_on(broker);
}

static json_t *rows_of(const struct where *where)
{
    return json_object_get(where->reply, "models");
}

static void next_row(struct where *where, bool known)
{
    if (known)
        (void)json_object_set_new(json_array_get(rows_of(where), where->row), "redis",
                                  json_pack("{s:b, s:I, s:I}", "pushed", (int)where->pushed,
                                            "stripes", (json_int_t)where->present, "of_stripes",
                                            (json_int_t)where->asked));
    where->row++;
    where->pushed = where->asked_pointer = false;
    where->chunk = 0;
    where->stripe = 0;
    where->asked = where->present = 0;
}

static void answered(struct redis_call *call, const struct redis_reply *reply)
{
    struct where *where = call->context;
    where->call = NULL;
    if (!reply || reply->type == REDIS_ERROR) {
        struct broker *broker = where->session->broker;
        struct redis_tier *tier = broker->redis;
        struct redis_link *redis = where->redis;
        finish(where);
        if (reply)
            redis_tier_tell_error(tier, redis, redis_tier_count_error(tier, reply), reply->text);
        write_on(broker);
        return;
    }
    where->answered = true;
    if (call->offset == 0)
        where->pushed = reply->type == REDIS_INTEGER && reply->integer > 0;
    else if (reply->type == REDIS_INTEGER && reply->integer > 0)
        where->present += (uint64_t)reply->integer;
    step(where);
}

/* The revision that the row tells of; NULL when it has no chunks or was replaced meanwhile. */
static const struct revision *revision_of(const struct where *where)
{
    json_t *row = json_array_get(rows_of(where), where->row);
    const char *name = json_string_value(json_object_get(row, "model"));
    json_int_t incarnation = json_integer_value(json_object_get(row, "revision"));
    const struct catalog_model *model =
        name ? catalog_find(where->session->broker->catalog, name) : NULL;
    const struct revision *revision = model ? model->current : NULL;
    if (!revision || (json_int_t)revision->incarnation != incarnation)
        return NULL;
    uint64_t stripes =
        revision->manifest.total_bytes / REDIS_STRIPE_BYTES + revision->manifest.count;
    return stripes <= STRIPES_MAX ? revision : NULL;
}

static void send(struct where *where, const struct redis_command *command, uint64_t kind)
{
    where->call = redis_link_call(where->redis, command);
    if (!where->call) {
        redis_link_abandoned(where->redis);
        finish(where);
        return;
    }
    where->call->done = answered;
    where->call->context = where;
    where->call->offset = kind;
    redis_link_flush(where->redis);
}

static void ask_pointer(struct where *where, const struct revision *revision)
{
    const struct redis_key key =
        redis_key_model(where->session->broker->redis->prefix, revision->name);
    struct redis_command exists = {.count = 0};
    redis_command_text(&exists, "EXISTS");
    redis_command_add(&exists, key.text, key.length);
    where->asked_pointer = true;
    send(where, &exists, 0);
}

static void ask_stripes(struct where *where, const struct revision *revision)
{
    static struct redis_key keys[KEYS_A_QUESTION]; /* the loop is one thread */
    const struct swi_manifest *manifest = &revision->manifest;
    struct redis_command exists = {.count = 0};
    redis_command_text(&exists, "EXISTS");
    for (uint32_t i = 0; i < KEYS_A_QUESTION && where->chunk < manifest->count; i++) {
        const struct swi_manifest_chunk *chunk = &manifest->chunks[where->chunk];
        keys[i] =
            redis_key_stripe(where->session->broker->redis->prefix, chunk->digest, where->stripe);
        redis_command_add(&exists, keys[i].text, keys[i].length);
        where->asked++;
        if (++where->stripe == redis_stripe_count(chunk->bytes)) {
            where->stripe = 0;
            where->chunk++;
        }
    }
    send(where, &exists, 1);
}

static void step(struct where *where)
{
    while (where->row < json_array_size(rows_of(where))) {
        const struct revision *revision = revision_of(where);
        if (revision && !where->asked_pointer) {
            ask_pointer(where, revision);
            return;
        }
        if (revision && where->chunk < revision->manifest.count) {
            ask_stripes(where, revision);
            return;
        }
        next_row(where, revision != NULL);
    }
    if (where->answered)
        redis_link_succeeded(where->redis);
    else /* no model has anything to ask for: that says nothing of the server */
        redis_link_abandoned(where->redis);
    finish(where);
}

void where_start(struct session *session, uint64_t tag, json_t *reply)
{
    struct broker *broker = session->broker;
    struct redis_tier *tier = broker->redis;
    struct redis_link *redis = !tier ? NULL : tier->reads ? tier->reads : tier->writes;
    struct where *where = NULL;
    if (reply && redis && broker->where_count < ASKING_MAX && redis_link_usable(redis))
        where = calloc(1, sizeof *where);
    if (!where || !redis_link_admit(redis)) {
        free(where);
        session_reply(session, tag, reply);
        return;
    }
    *where = (struct where){.session = session, .redis = redis, .tag = tag, .reply = reply};
    TAILQ_INSERT_TAIL(&broker->wheres, where, link);
    broker->where_count++;
    step(where);
}
