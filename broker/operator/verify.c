/* SPDX-License-Identifier: MIT */
/* Verifies resident chunks, one after the other. */
#include "operator/verify.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "operator/report.h"
#include "session/attach.h"

#define REVOKE_MOST 8u /* rounds of revoking per turn: new clients may pin the chunk in between */

struct item {
    uint32_t id;
    uint64_t generation;
    uint64_t incarnation; /* of its model: the id may be reused for another one */
    uint64_t bytes;
    size_t name; /* in names */
};

struct verify {
    TAILQ_ENTRY(verify) link;
    struct control *control;
    struct session_job job;
    struct cache_rehash rehash; /* of the item under way */
    bool hashing;
    bool condemned; /* the item is damaged, and leaves as soon as it is not pinned */
    bool reading;   /* the item is being read again */
    struct cache_waiter waiter;
    json_t *row;     /* of the condemned item */
    json_t *revoked; /* in row */
    json_t *rows;
    uint32_t bad, passed_over;
    uint64_t done_bytes, all_bytes;
    bool progress;
    uint64_t progress_ns;
    char *names; /* "MODEL\0COMPONENT\0" of each item, copied because a chunk may leave */
    uint32_t count, at;
    struct item items[];
};

static void verify_free(struct verify *verify)
{
    struct control *control = verify->control;
    if (verify->hashing)
        cache_rehash_cancel(control->cache, &verify->rehash);
    if (verify->reading)
        cache_cancel(control->cache, &verify->waiter);
    TAILQ_REMOVE(&control->verifies, verify, link);
    session_job_end(&verify->job);
    json_decref(verify->rows);
    json_decref(verify->row);
    free(verify->names);
    free(verify);
}

static void cancel(struct session_job *job)
{
    verify_free(LOOP_OWNER(job, struct verify, job));
}

static void finish(struct verify *verify)
{
    json_t *reply =
        json_pack("{s:b, s:I, s:I, s:I, s:I, s:O}", "ok", verify->bad == 0, "chunks_verified",
                  (json_int_t)(verify->count - verify->passed_over), "bytes",
                  (json_int_t)verify->done_bytes, "mismatches", (json_int_t)verify->bad,
                  "passed_over", (json_int_t)verify->passed_over, "chunks", verify->rows);
    if (reply && verify->bad) {
        char text[120];
        (void)snprintf(text, sizeof text,
                       "%u of %u chunks did not match their digest and were withdrawn", verify->bad,
                       verify->count - verify->passed_over);
        (void)json_object_set_new(reply, "code", json_integer(SW_EDIGEST));
        (void)json_object_set_new(reply, "error", json_string(text));
    }
    log_info("verified %u chunks: %u did not match", verify->count - verify->passed_over,
             verify->bad);
    session_reply(verify->job.session, verify->job.tag, reply);
    verify_free(verify);
}

/* ---- one item -------------------------------------------------------------------------------- */

static bool still_there(const struct verify *verify, const struct item *item)
{
    struct swi_entry_value entry = swi_entry_get(cache_index(verify->control->cache), item->id);
    return entry.state == SWI_RESIDENT && entry.generation == item->generation;
}

/* Why an item has left. */
static const char *why_gone(const struct verify *verify, const struct item *item)
{
    struct cache_chunk_view view;
    if (!cache_view(verify->control->cache, item->id, &view) ||
        view.chunk->incarnation != item->incarnation)
        return "its model's revision is gone";
    if (view.entry.state == SWI_RESIDENT || view.entry.state == SWI_LOADING)
        return "it was evicted and read again in the meantime, which verifies it";
    return "it was evicted in the meantime";
}

/* Adds a row about the item under way; returns a new reference. */
static json_t *make_row(struct verify *verify, const char *result)
{
    const struct item *item = &verify->items[verify->at];
    const char *model = verify->names + item->name;
    json_t *row = json_pack("{s:o, s:o, s:I, s:s}", "model", stats_text(model), "component",
                            stats_text(model + strlen(model) + 1), "bytes", (json_int_t)item->bytes,
                            "result", result);
    (void)json_array_append(verify->rows, row);
    return row;
}

static void next_item(struct verify *verify)
{
    json_decref(verify->row);
    verify->row = NULL;
    verify->condemned = false;
    verify->at++;
}

static void pass_over(struct verify *verify)
{
    json_t *row = make_row(verify, "left");
    verify->passed_over++;
    (void)json_object_set_new(row, "reason",
                              json_string(why_gone(verify, &verify->items[verify->at])));
    json_decref(row);
    next_item(verify);
}

static void read_again(struct cache_waiter *waiter, int status, const char *message)
{
    struct verify *verify = LOOP_OWNER(waiter, struct verify, waiter);
    verify->reading = false;
    (void)json_object_set_new(verify->row, "reloaded", json_boolean(status == 0));
    if (status < 0)
        (void)json_object_set_new(verify->row, "error", stats_text(message));
    next_item(verify);
}

/* Revokes the leases of every session that pins the chunk. */
static uint32_t revoke_holders(struct verify *verify, uint32_t id, const char *model,
                               const char *component)
{
    struct control *control = verify->control;
    uint32_t count = 0;
    for (uint32_t i = 0; i < SWI_SESSIONS; i++) {
        struct session *session = control->sessions->by_number[i];
        if (!session || !session->page || swi_page_pins(session->page, id) == 0)
            continue;
        char text[400];
        (void)snprintf(text, sizeof text,
                       "%.160s/%.160s, which this client holds, is damaged in memory; its leases "
                       "are revoked",
                       model, component);
        (void)json_array_append_new(
            verify->revoked, json_pack("{s:i, s:o, s:i}", "session", (int)session->number, "name",
                                       stats_text(session->name), "pid", (int)session->peer.pid));
        control->sessions->counters->damage_revoked++;
        session_refuse(session, 0, SW_EREVOKED, text);
        session_detach(session); /* now, so that its pins do not count any more */
        count++;
    }
    return count;
}

static void condemn(struct verify *verify, const struct cache_chunk *chunk)
{
    verify->bad++;
    verify->condemned = true;
    verify->row = make_row(verify, "mismatch");
    verify->revoked = json_array();
    (void)json_object_set_new(verify->row, "revoked", verify->revoked);
    log_error(
        "%s/%s is damaged in memory: it no longer matches its digest; reading it again, which "
        "helps unless the memory is faulty",
        chunk->model, chunk->name);
}

/* Withdraws the condemned item and reads it again. Returns true if it should be called again in the
 * next turn. */
static bool withdraw(struct verify *verify)
{
    struct control *control = verify->control;
    const struct item *item = &verify->items[verify->at];
    uint32_t id = item->id;
    struct cache_chunk_view view;
    if (!still_there(verify, item) || !cache_view(control->cache, id, &view)) {
        (void)json_object_set_new(verify->row, "reason", json_string(why_gone(verify, item)));
        next_item(verify); /* it has left already */
        return true;
    }
    bool left = cache_withdraw(control->cache, id);
    for (unsigned i = 0; i < REVOKE_MOST && !left; i++) {
        (void)revoke_holders(verify, id, view.chunk->model, view.chunk->name);
        left = cache_withdraw(control->cache, id);
    }
    if (!left)
        return true;
    if (verify->job.session->state == SESSION_DOOMED)
        return false; /* it held the chunk itself; sessions_reap ends this */
    verify->reading = true;
    verify->waiter = (struct cache_waiter){.done = read_again, .session = SWI_SESSIONS};
    cache_request(control->cache, id, CACHE_WARM, &verify->waiter, loop_now());
    return !verify->reading;
}

/* Starts hashing the item under way, unless it has left. */
static void start_item(struct verify *verify)
{
    const struct item *item = &verify->items[verify->at];
    if (!still_there(verify, item)) {
        pass_over(verify);
        return;
    }
    cache_rehash_start(verify->control->cache, item->id, &verify->rehash);
    verify->hashing = true;
}

/* The item under way has been hashed, or has left. */
static void conclude(struct verify *verify)
{
    const struct item *item = &verify->items[verify->at];
    struct cache_chunk_view view;
    verify->hashing = false;
    if (verify->rehash.state == CACHE_REHASH_LEFT ||
        !cache_view(verify->control->cache, item->id, &view)) {
        pass_over(verify);
        return;
    }
    verify->done_bytes += item->bytes;
    if (verify->rehash.state == CACHE_REHASH_DAMAGED) {
        condemn(verify, view.chunk);
        return;
    }
    json_decref(make_row(verify, "ok"));
    next_item(verify);
}

/* Advances until it must wait for an item. Returns true if the next turn should not wait. */
static bool advance(struct verify *verify)
{
    while (verify->at < verify->count) {
        if (verify->condemned)
            return withdraw(verify);
        if (!verify->hashing)
            start_item(verify);
        else if (verify->rehash.state != CACHE_REHASH_UNDER_WAY)
            conclude(verify);
        else
            return true;
    }
    return true;
}

static void tell_progress(struct verify *verify)
{
    if (!verify->progress)
        return;
    session_progress(
        verify->job.session, verify->job.tag, &verify->progress_ns,
        (struct session_progress){.chunks = verify->at,
                                  .of_chunks = verify->count,
                                  .bytes = verify->done_bytes +
                                           (verify->hashing ? verify->rehash.hashed : 0),
                                  .of_bytes = verify->all_bytes});
}

bool verify_step(struct control *control)
{
    struct verify *verify = TAILQ_FIRST(&control->verifies);
    if (!verify || verify->reading || verify->job.session->state == SESSION_DOOMED)
        return false;
    bool more = advance(verify);
    tell_progress(verify);
    if (verify->at == verify->count && verify->job.session->state != SESSION_DOOMED)
        finish(verify);
    return more && !TAILQ_EMPTY(&control->verifies);
}

/* ---- start ----------------------------------------------------------------------------------- */

static bool matches(const struct cache_chunk *chunk, const char *model, const char *component)
{
    return (!model || strcmp(chunk->model, model) == 0) &&
           (!component || strcmp(chunk->name, component) == 0);
}

static bool add_item(struct verify *verify, FILE *names, uint32_t id,
                     const struct cache_chunk_view *view)
{
    long at = ftell(names);
    bool good = at >= 0 && fputs(view->chunk->model, names) >= 0 && fputc(0, names) == 0 &&
                fputs(view->chunk->name, names) >= 0 && fputc(0, names) == 0;
    verify->items[verify->count++] = (struct item){.id = id,
                                                   .generation = view->entry.generation,
                                                   .incarnation = view->chunk->incarnation,
                                                   .bytes = view->chunk->bytes,
                                                   .name = (size_t)at};
    verify->all_bytes += view->chunk->bytes;
    return good;
}

/* Collects the resident chunks of the target. Returns false if there is no memory. */
static bool collect(struct verify *verify, uint32_t most, const char *model, const char *component)
{
    size_t size;
    FILE *names = open_memstream(&verify->names, &size);
    bool good = names != NULL;
    for (uint32_t id = 0; good && id < SWI_CHUNKS && verify->count < most; id++) {
        struct cache_chunk_view view;
        if (cache_view(verify->control->cache, id, &view) && view.entry.state == SWI_RESIDENT &&
            matches(view.chunk, model, component))
            good = add_item(verify, names, id, &view);
    }
    if (names && fclose(names) != 0)
        good = false;
    return good;
}

int verify_start(const struct control_call *call, struct swi_error *error)
{
    struct control *control = call->control;
    struct cache_stats stats;
    cache_get_stats(control->cache, &stats);
    uint32_t most = (uint32_t)stats.chunks_resident;
    struct verify *verify = calloc(1, sizeof *verify + most * sizeof verify->items[0]);
    if (!verify)
        return swi_fail(error, -ENOMEM, "out of memory");
    verify->control = control;
    verify->progress = call->progress;
    session_job_begin(call->session, &verify->job, SESSION_VERB, call->tag, cancel);
    TAILQ_INSERT_TAIL(&control->verifies, verify, link);
    verify->rows = json_array();
    if (!verify->rows || !collect(verify, most, call->model, call->component)) {
        verify_free(verify);
        return swi_fail(error, -ENOMEM, "out of memory");
    }
    return 0;
}
