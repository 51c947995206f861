/* SPDX-License-Identifier: MIT */
/* Which models of the catalog were published in the remote. */
#include "operator/where.h"

#include <stdlib.h>

#include "remote/remote.h"

#define ASKING_MAX 16u /* at once, of all sessions */

struct where {
    TAILQ_ENTRY(where) link;
    struct control *control;
    struct session_job job;
    json_t *reply;
    json_t *rows; /* of the reply */
    size_t row;
    struct remote_ask ask;
};

static void step(struct where *where);

static void where_free(struct where *where)
{
    struct control *control = where->control;
    TAILQ_REMOVE(&control->wheres, where, link);
    control->where_count--;
    remote_cancel(&where->ask.job);
    session_job_end(&where->job);
    json_decref(where->reply);
    free(where);
}

static void cancel(struct session_job *job)
{
    where_free(LOOP_OWNER(job, struct where, job));
}

static void finish(struct where *where)
{
    json_incref(where->reply);
    session_reply(where->job.session, where->job.tag, where->reply);
    where_free(where);
}

/* The next row, from `row` on, of a model in the catalog, skipping superseded revisions; the number
 * of rows: none. */
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

static void over(struct remote_job *job, int status, const char *why)
{
    struct where *where = LOOP_OWNER(job, struct where, ask.job);
    (void)why;
    if (status < 0) { /* the other rows stay without an answer too */
        finish(where);
        return;
    }
    (void)json_object_set_new(json_array_get(where->rows, where->row), "redis",
                              json_pack("{s:b}", "pushed", status));
    where->row = next_row(where->control, where->rows, where->row + 1);
    step(where);
}

static void step(struct where *where)
{
    struct remote *remote = where->control->remote;
    if (where->row == json_array_size(where->rows)) {
        finish(where);
        return;
    }
    json_t *row = json_array_get(where->rows, where->row);
    where->ask = (struct remote_ask){.job = {.over = over},
                                     .model = json_string_value(json_object_get(row, "model"))};
    remote->ops->ask(remote, &where->ask);
}

void where_start(const struct control_call *call, json_t *reply)
{
    struct control *control = call->control;
    struct remote *remote = control->remote;
    json_t *rows = json_object_get(reply, "models");
    struct where *where = NULL;
    if (remote && control->where_count < ASKING_MAX && !remote->ops->unreadable(remote))
        where = calloc(1, sizeof *where);
    if (!where) {
        session_reply(call->session, call->tag, reply);
        return;
    }
    *where = (struct where){
        .control = control, .reply = reply, .rows = rows, .row = next_row(control, rows, 0)};
    session_job_begin(call->session, &where->job, SESSION_VERB, call->tag, cancel);
    TAILQ_INSERT_TAIL(&control->wheres, where, link);
    control->where_count++;
    step(where);
}
