/* SPDX-License-Identifier: MIT */
/* Which models of the catalog were pushed to the Redis. */
#include "operator/where.h"

#include <stdlib.h>

#include "remote/redis/tier_internal.h"

#define ASKING_MAX 16u /* at once, of all sessions */

struct where {
    TAILQ_ENTRY(where) link;
    struct control *control;
    struct session_job job;
    struct redis_link *redis;
    json_t *reply;
    json_t *rows; /* of the reply */
    size_t row;
    struct redis_call *call;
};

static void step(struct where *where);

static void where_free(struct where *where)
{
    struct control *control = where->control;
    TAILQ_REMOVE(&control->wheres, where, link);
    control->where_count--;
    if (where->call) {
        redis_call_forget(where->call);
        redis_link_abandoned(where->redis);
    }
    session_job_end(&where->job);
    json_decref(where->reply);
    free(where);
}

/* Without a connection for reading it is the one for writing that was asked: while that was its
 * breaker's probe, no writing could begin. Last of all: a connection that is lost by it ends
 * others. */
static void write_on(struct control *control)
{
    if (control->redis && !control->redis->reads)
        redis_tier_write_more(control->redis);
}

static void cancel(struct session_job *job)
{
    struct where *where = LOOP_OWNER(job, struct where, job);
    struct control *control = where->control;
    where_free(where);
    write_on(control);
}

static void finish(struct where *where)
{
    struct control *control = where->control;
    json_incref(where->reply);
    session_reply(where->job.session, where->job.tag, where->reply);
    where_free(where);
    write_on(control);
}

/* The next row, from `row` on, of a model that is in the catalog; the number of rows: there is none.
 * A superseded revision is not what is asked for. */
static size_t next_row(const struct control *control, json_t *rows, size_t row)
{
    for (; row < json_array_size(rows); row++) {
        const json_t *object = json_array_get(rows, row);
        const char *name = json_string_value(json_object_get(object, "model"));
        if (name && !json_is_true(json_object_get(object, "superseded")) &&
            catalog_find(control->catalog, name))
            break;
    }
    return row;
}

static void answered(struct redis_call *call, const struct redis_reply *reply)
{
    struct where *where = call->context;
    where->call = NULL;
    if (!reply || reply->type == REDIS_ERROR) {
        struct control *control = where->control;
        struct redis_tier *tier = control->redis;
        struct redis_link *redis = where->redis;
        finish(where);
        if (reply)
            redis_tier_tell_error(tier, redis, redis_tier_count_error(tier, reply), reply->text);
        write_on(control);
        return;
    }
    (void)json_object_set_new(
        json_array_get(where->rows, where->row), "redis",
        json_pack("{s:b}", "pushed", reply->type == REDIS_INTEGER && reply->integer > 0));
    where->row = next_row(where->control, where->rows, where->row + 1);
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
    const struct redis_key key = redis_key_model(where->control->redis->prefix, name);
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

void where_start(const struct control_call *call, json_t *reply)
{
    struct control *control = call->control;
    struct redis_tier *tier = control->redis;
    struct redis_link *redis = !tier ? NULL : tier->reads ? tier->reads : tier->writes;
    struct where *where = NULL;
    json_t *rows = json_object_get(reply, "models");
    size_t row = next_row(control, rows, 0);
    if (redis && row < json_array_size(rows) && control->where_count < ASKING_MAX &&
        redis_link_usable(redis))
        where = calloc(1, sizeof *where);
    if (!where || !redis_link_admit(redis)) {
        free(where);
        session_reply(call->session, call->tag, reply);
        return;
    }
    *where = (struct where){
        .control = control, .redis = redis, .reply = reply, .rows = rows, .row = row};
    session_job_begin(call->session, &where->job, SESSION_VERB, call->tag, cancel);
    TAILQ_INSERT_TAIL(&control->wheres, where, link);
    control->where_count++;
    step(where);
}
