/* SPDX-License-Identifier: MIT */
/* Which models of the catalog were pushed to the Redis. */
#include "operator/where.h"

#include <stdlib.h>

#include "remote/redis/tier_internal.h"

#define ASKING_MAX 16u /* at once, of all sessions */

struct where {
    TAILQ_ENTRY(where) link;
    struct session *session;
    struct redis_link *redis;
    uint64_t tag;
    json_t *reply;
    json_t *rows; /* of the reply */
    size_t row;
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

/* The next row, from `row` on, of a model that is in the catalog; the number of rows: there is none.
 * A superseded revision is not what is asked for. */
static size_t next_row(const struct broker *broker, json_t *rows, size_t row)
{
    for (; row < json_array_size(rows); row++) {
        const json_t *object = json_array_get(rows, row);
        const char *name = json_string_value(json_object_get(object, "model"));
        if (name && !json_is_true(json_object_get(object, "superseded")) &&
            catalog_find(broker->catalog, name))
            break;
    }
    return row;
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
    (void)json_object_set_new(
        json_array_get(where->rows, where->row), "redis",
        json_pack("{s:b}", "pushed", reply->type == REDIS_INTEGER && reply->integer > 0));
    where->row = next_row(where->session->broker, where->rows, where->row + 1);
    step(where);
}

/* A push writes this key last, so it says that the rest was there too. */
static void step(struct where *where)
{
    if (where->row == json_array_size(where->rows)) {
        redis_link_succeeded(where->redis);
        finish(where);
        return;
    }
    const char *name =
        json_string_value(json_object_get(json_array_get(where->rows, where->row), "model"));
    const struct redis_key key = redis_key_model(where->session->broker->redis->prefix, name);
    struct redis_command exists = {.count = 0};
    redis_command_text(&exists, "EXISTS");
    redis_command_add(&exists, key.text, key.length);
    where->call = redis_link_call(where->redis, &exists);
    if (!where->call) {
        redis_link_abandoned(where->redis);
        finish(where);
        return;
    }
    where->call->done = answered;
    where->call->context = where;
    redis_link_flush(where->redis);
}

void where_start(struct session *session, uint64_t tag, json_t *reply)
{
    struct broker *broker = session->broker;
    struct redis_tier *tier = broker->redis;
    struct redis_link *redis = !tier ? NULL : tier->reads ? tier->reads : tier->writes;
    struct where *where = NULL;
    json_t *rows = json_object_get(reply, "models");
    size_t row = next_row(broker, rows, 0);
    if (redis && row < json_array_size(rows) && broker->where_count < ASKING_MAX &&
        redis_link_usable(redis))
        where = calloc(1, sizeof *where);
    if (!where || !redis_link_admit(redis)) {
        free(where);
        session_reply(session, tag, reply);
        return;
    }
    *where = (struct where){
        .session = session, .redis = redis, .tag = tag, .reply = reply, .rows = rows, .row = row};
    TAILQ_INSERT_TAIL(&broker->wheres, where, link);
    broker->where_count++;
    step(where);
}
