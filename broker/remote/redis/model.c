/* SPDX-License-Identifier: MIT */
/* Models in the Redis. */
#include "remote/redis/model.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "remote/redis/keys.h"
#include "remote/redis/writeback.h"

/* A job under way. One command at a time. */
struct work {
    struct redis_op op;
    struct redis_models *models;
    struct remote_job *job;
    struct redis_key key;               /* publish, find: of the bundle */
    struct redis_current current;       /* publish, find */
    uint64_t done;                      /* bytes of the bundle that were sent or received */
    uint8_t *into;                      /* find: of the bundle; NULL: the name is asked for */
    enum { PIECES, EXPIRY, NAME } sent; /* publish: what was sent last */
    bool overwrite;                     /* publish: another type is under the bundle's key */
};

/* Ends the job; its operation has ended. */
static void finish(struct work *work, int status, const char *why)
{
    struct remote_job *job = work->job;
    struct redis_models *models = work->models;
    free(work);
    job->work = NULL;
    job->over(job, status, why);
    models->ended(models);
}

static void succeed(struct work *work, int status, const char *why)
{
    redis_op_succeed(&work->op);
    finish(work, status, why);
}

static void failed(struct redis_op *op, const struct redis_failure *failure)
{
    finish(LOOP_OWNER(op, struct work, op), SW_ELOAD, failure->why);
}

static void cancel(struct remote_job *job)
{
    struct work *work = job->work;
    struct redis_models *models = work->models;
    redis_op_abandon(&work->op);
    free(work);
    job->work = NULL;
    models->ended(models);
}

/* Begins a job with its operation. NULL: it is over. */
static struct work *
begin(struct redis_models *models, const struct redis_port *port, struct remote_job *job,
      void (*answered)(struct redis_op *, const struct redis_call *, const struct redis_reply *),
      void (*fails)(struct redis_op *, const struct redis_failure *))
{
    struct work *work = calloc(1, sizeof *work);
    if (!work) {
        job->over(job, -ENOMEM, "out of memory");
        return NULL;
    }
    *work = (struct work){
        .op = {.port = port, .answered = answered, .failed = fails}, .models = models, .job = job};
    job->work = work;
    job->cancel = cancel;
    if (redis_op_begin(&work->op))
        return work;
    finish(work, SW_ELOAD, redis_link_problem(port->link));
    return NULL;
}

/* Sends a command. NULL: the job is over. */
static struct redis_call *send(struct work *work, const struct redis_command *command)
{
    struct redis_call *call = redis_op_send(&work->op, command);
    if (call)
        return call;
    const char *why = redis_link_problem(work->op.port->link);
    redis_op_abandon(&work->op);
    finish(work, SW_ELOAD, why);
    return NULL;
}

static struct redis_command command_on(const char *word, const struct redis_key *key)
{
    struct redis_command command = {.count = 0};
    redis_command_text(&command, word);
    redis_command_add(&command, key->text, key->length);
    return command;
}

static uint64_t piece_length(const struct work *work)
{
    uint64_t rest = work->current.bytes - work->done;
    return rest < REDIS_STRIPE_BYTES ? rest : REDIS_STRIPE_BYTES;
}

/* ---- asking ---------------------------------------------------------------------------------- */

static void ask_answered(struct redis_op *op, const struct redis_call *call,
                         const struct redis_reply *reply)
{
    (void)call;
    succeed(LOOP_OWNER(op, struct work, op), reply->type == REDIS_INTEGER && reply->integer > 0,
            "");
}

void redis_model_ask(struct redis_models *models, const struct redis_port *port,
                     struct remote_ask *ask)
{
    struct work *work = begin(models, port, &ask->job, ask_answered, failed);
    if (!work)
        return;
    const struct redis_key key = redis_key_model(models->prefix, ask->model);
    const struct redis_command exists = command_on("EXISTS", &key);
    (void)send(work, &exists);
}

/* ---- finding --------------------------------------------------------------------------------- */

static struct remote_find *find_of(const struct work *work)
{
    return LOOP_OWNER(work->job, struct remote_find, job);
}

static void get_piece(struct work *work)
{
    uint64_t length = piece_length(work);
    char first[24], last[24];
    (void)snprintf(first, sizeof first, "%llu", (unsigned long long)work->done);
    (void)snprintf(last, sizeof last, "%llu", (unsigned long long)(work->done + length - 1));
    struct redis_command range = command_on("GETRANGE", &work->key);
    redis_command_text(&range, first);
    redis_command_text(&range, last);
    struct redis_call *call = send(work, &range);
    if (!call)
        return;
    call->into = work->into + work->done;
    call->into_bytes = length;
}

static void name_came(struct work *work, const struct redis_reply *reply)
{
    struct remote_find *find = find_of(work);
    char text[700];
    if (reply->type != REDIS_VALUE ||
        !redis_current_parse(reply->text, reply->length, &work->current)) {
        (void)snprintf(text, sizeof text,
                       "Redis at %.150s %s model %.150s; run swctl push %.150s on a host "
                       "that has its files",
                       redis_link_name(work->op.port->link),
                       reply->type == REDIS_NIL ? "has no" : "holds no revision of", find->model,
                       find->model);
        succeed(work, SW_ENOMODEL, text);
        return;
    }
    find->revision = work->current.revision;
    find->bundle_bytes = work->current.bytes;
    work->into = find->room(find);
    if (!work->into) {
        succeed(work, 1, "");
        return;
    }
    work->key = redis_key_revision(work->models->prefix, find->model, work->current.revision);
    get_piece(work);
}

static void find_answered(struct redis_op *op, const struct redis_call *call,
                          const struct redis_reply *reply)
{
    struct work *work = LOOP_OWNER(op, struct work, op);
    if (!work->into) {
        name_came(work, reply);
        return;
    }
    if (reply->type != REDIS_VALUE || !reply->placed) { /* evicted, or being pushed */
        succeed(work, SW_ELOAD,
                "Redis lacks its manifest and small files, or parts of them; run swctl push on a "
                "host that has its files");
        return;
    }
    work->done += call->into_bytes;
    if (work->done < work->current.bytes)
        get_piece(work);
    else
        succeed(work, 0, "");
}

void redis_model_find(struct redis_models *models, const struct redis_port *port,
                      struct remote_find *find)
{
    struct work *work = begin(models, port, &find->job, find_answered, failed);
    if (!work)
        return;
    const struct redis_key key = redis_key_model(models->prefix, find->model);
    const struct redis_command get = command_on("GET", &key);
    (void)send(work, &get);
}

/* ---- publishing ------------------------------------------------------------------------------ */

static struct remote_publish *publish_of(const struct work *work)
{
    return LOOP_OWNER(work->job, struct remote_publish, job);
}

static void put_piece(struct work *work)
{
    uint64_t length = piece_length(work);
    char offset[24];
    (void)snprintf(offset, sizeof offset, "%llu", (unsigned long long)work->done);
    bool anew = work->overwrite && work->done == 0; /* SET replaces a value of any type */
    struct redis_command set = command_on(anew ? "SET" : "SETRANGE", &work->key);
    if (!anew)
        redis_command_text(&set, offset);
    redis_command_add(&set, publish_of(work)->bundle + work->done, length);
    work->done += length;
    work->sent = PIECES;
    (void)send(work, &set);
}

static void put_expiry(struct work *work)
{
    const char *ttl = work->models->ttl;
    struct redis_command expire = command_on(ttl[0] ? "EXPIRE" : "PERSIST", &work->key);
    if (ttl[0])
        redis_command_text(&expire, ttl);
    work->sent = EXPIRY;
    (void)send(work, &expire);
}

static void put_name(struct work *work)
{
    char value[REDIS_CURRENT_TEXT];
    redis_current_format(&work->current, value);
    const struct redis_key key = redis_key_model(work->models->prefix, publish_of(work)->model);
    const struct redis_command set =
        redis_command_set(&key, value, strlen(value), work->models->ttl);
    work->sent = NAME;
    (void)send(work, &set);
}

static void publish_answered(struct redis_op *op, const struct redis_call *call,
                             const struct redis_reply *reply)
{
    struct work *work = LOOP_OWNER(op, struct work, op);
    (void)call;
    (void)reply;
    if (work->sent == NAME)
        succeed(work, 0, "");
    else if (work->sent == EXPIRY)
        put_name(work);
    else if (work->done < work->current.bytes)
        put_piece(work);
    else
        put_expiry(work);
}

static void publish_failed(struct redis_op *op, const struct redis_failure *failure)
{
    struct work *work = LOOP_OWNER(op, struct work, op);
    if (strncmp(failure->answer, "WRONGTYPE", 9) != 0 || work->overwrite ||
        !redis_op_begin(&work->op)) {
        finish(work, SW_ELOAD, failure->why);
        return;
    }
    work->overwrite = true;
    work->done = 0;
    put_piece(work);
}

void redis_model_publish(struct redis_models *models, const struct redis_port *port,
                         struct remote_publish *publish)
{
    struct work *work = begin(models, port, &publish->job, publish_answered, publish_failed);
    if (!work)
        return;
    work->current =
        (struct redis_current){.revision = publish->revision, .bytes = publish->bundle_bytes};
    work->key = redis_key_revision(models->prefix, publish->model, publish->revision);
    put_piece(work);
}
