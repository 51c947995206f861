/* SPDX-License-Identifier: MIT */
/* Handles a client's messages. */
#include "session/request.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/lease.h"
#include "session/attach.h"

/* Costs in tokens, roughly in units of 10 µs of the loop's time. */
enum { COST_SIMPLE = 1, COST_OPEN = 5, COST_TABLE = 5, COST_FILE = 5, COST_CONTROL = 20 };
#define PREFETCH_IDS_A_TOKEN 32u

/* Counts and refuses a client that broke the protocol. */
static void break_off(struct session *session, uint64_t tag, int code, const char *message)
{
    if (code == SW_EVERSION && session->state == SESSION_NEW)
        session->sessions->counters->sessions_refused++;
    else
        session->sessions->counters->protocol_errors++;
    session_refuse(session, tag, code, message);
}

/* A model handle of this session, or NULL after having answered. */
static struct revision *handle(struct session *session, uint64_t tag, uint32_t model)
{
    struct revision *revision = model < SESSION_MODELS ? session->models[model] : NULL;
    if (!revision && model < SESSION_MODELS && (session->stale >> model & 1)) {
        session_done(session, tag, SW_ESTALE,
                     "the broker was restarted and no longer serves this revision; close the model "
                     "and open it again");
    } else if (!revision) {
        char text[80];
        session->sessions->counters->ids_refused++;
        (void)snprintf(text, sizeof text, "model handle %u is not open in this session", model);
        session_done(session, tag, -EBADF, text);
    }
    return revision;
}

static bool belongs(const struct revision *revision, uint32_t chunk)
{
    return chunk < SWI_CHUNKS &&
           swi_entry_get(cache_index(revision->cache), chunk).incarnation == revision->incarnation;
}

/* ---- models ---------------------------------------------------------------------------------- */

static void forget_handle(struct session *session, uint32_t model)
{
    session->stale &= ~(UINT64_C(1) << model);
    session->record->model[model] = 0;
}

/* The handle that this very message opened under an earlier broker, which ended before the message
 * was done. SESSION_MODELS: none. */
static uint32_t opened_before(struct session *session, uint64_t tag, const char *name)
{
    uint32_t opened = session->record->opened;
    uint32_t model = (opened & 0xff) - 1;
    if (session->record->in_hand < 2 || model >= SESSION_MODELS ||
        opened != LEDGER_OPENED(tag, model))
        return SESSION_MODELS;
    if (session->models[model] && strcmp(session->models[model]->name, name) == 0)
        return model;
    if (session->stale >> model & 1) /* the revision it opened is no longer served */
        forget_handle(session, model);
    return SESSION_MODELS;
}

/* A new handle, or SESSION_MODELS after having answered. */
static uint32_t open_handle(struct session *session, uint64_t tag, const char *name)
{
    struct sessions *sessions = session->sessions;
    uint32_t model = 0;
    while (model < SESSION_MODELS && (session->models[model] || (session->stale >> model & 1)))
        model++;
    if (model == SESSION_MODELS) {
        char text[80];
        sessions->counters->requests_refused++;
        (void)snprintf(text, sizeof text,
                       "this session already has %u models open, the maximum; close one first",
                       SESSION_MODELS);
        session_done(session, tag, SW_EQUOTA, text);
        return SESSION_MODELS;
    }
    struct swi_error error = {0};
    struct revision *revision;
    int result = catalog_acquire(sessions->catalog, name, loop_now(), &revision, &error);
    if (result < 0) {
        session_done(session, tag, result, error.text);
        return SESSION_MODELS;
    }
    session->models[model] = revision;
    session->record->opened = LEDGER_OPENED(tag, model);
    ledger_settle();
    session->record->model[model] = revision->incarnation;
    return model;
}

static void handle_open(struct session *session, uint64_t tag, const struct swi_wire_open *open)
{
    uint32_t model = opened_before(session, tag, open->name);
    if (model == SESSION_MODELS)
        model = open_handle(session, tag, open->name);
    if (model == SESSION_MODELS)
        return;
    const struct revision *revision = session->models[model];
    const struct swi_wire_opened body = {.incarnation = revision->incarnation,
                                         .model = model,
                                         .chunks = (uint32_t)revision->manifest.count};
    uint8_t packet[sizeof(struct swi_wire_head) + sizeof body];
    struct swi_wire_out out;
    swi_wire_begin(&out, packet, sizeof packet, SWI_WIRE_OPENED, tag);
    swi_wire_put(&out, &body, sizeof body);
    session_send(session, packet, swi_wire_end(&out), NULL, 0);
}

/* Never answered. Loads of the model that are under way are still answered. */
static void handle_close(struct session *session, const struct swi_wire_close *close_it)
{
    if (close_it->model >= SESSION_MODELS)
        return;
    forget_handle(session, close_it->model);
    if (!session->models[close_it->model])
        return;
    catalog_release(session->sessions->catalog, session->models[close_it->model]);
    session->models[close_it->model] = NULL;
}

static void handle_table(struct session *session, uint64_t tag, const struct swi_wire_table *table)
{
    const struct revision *revision = handle(session, tag, table->model);
    if (!revision)
        return;
    static uint8_t packet[SWI_WIRE_MAX]; /* the loop is one thread */
    struct swi_wire_table_part part = {.first = table->first};
    struct swi_wire_out out;
    swi_wire_begin(&out, packet, sizeof packet, SWI_WIRE_TABLE_PART, tag);
    swi_wire_put(&out, &part, sizeof part);
    for (size_t i = table->first; i < revision->manifest.count; i++) {
        const struct swi_manifest_chunk *chunk = &revision->manifest.chunks[i];
        if (!swi_wire_put_row(&out, chunk->bytes, revision->ids[i], chunk->name))
            break;
        part.count++;
    }
    memcpy(packet + sizeof(struct swi_wire_head), &part, sizeof part);
    session_send(session, packet, swi_wire_end(&out), NULL, 0);
}

static void handle_file(struct session *session, uint64_t tag, const struct swi_wire_file *file)
{
    const struct revision *revision = handle(session, tag, file->model);
    if (!revision)
        return;
    struct swi_error error;
    struct swi_wire_file_is body;
    int fd = revision_open_file(revision, file->path, &body.bytes, &error);
    if (fd < 0) {
        session_done(session, tag, fd, error.text);
        return;
    }
    uint8_t packet[sizeof(struct swi_wire_head) + sizeof body];
    struct swi_wire_out out;
    swi_wire_begin(&out, packet, sizeof packet, SWI_WIRE_FILE_IS, tag);
    swi_wire_put(&out, &body, sizeof body);
    session_send(session, packet, swi_wire_end(&out), &fd, 1);
    close(fd);
}

/* ---- chunks ---------------------------------------------------------------------------------- */

/* A LOAD that waits for its chunk. */
struct request {
    struct cache_waiter waiter;
    struct session_job job;
    uint32_t place; /* in the session's record */
};

static void loaded(struct cache_waiter *waiter, int status, const char *message)
{
    struct request *request = LOOP_OWNER(waiter, struct request, waiter);
    struct session *session = request->job.session;
    session_job_end(&request->job);
    session_done(session, request->job.tag, status, status ? message : NULL);
    /* In this order: if the broker is killed in between, the successor answers again, and the
     * client ignores that. */
    ledger_remove_load(session->record, request->place);
    free(request);
}

static void cancel(struct session_job *job)
{
    struct request *request = LOOP_OWNER(job, struct request, job);
    cache_cancel(job->session->sessions->cache, &request->waiter);
    session_job_end(job);
    free(request);
}

static int start_request(struct session *session, uint64_t tag, uint32_t chunk, uint32_t place)
{
    struct request *request = calloc(1, sizeof *request);
    if (!request)
        return -ENOMEM;
    *request =
        (struct request){.waiter = {.done = loaded, .session = session->number}, .place = place};
    session_job_begin(session, &request->job, SESSION_LOAD, tag, cancel);
    cache_request(session->sessions->cache, chunk, CACHE_DEMAND, &request->waiter, loop_now());
    return 0;
}

void request_resume(struct session *session)
{
    for (uint32_t place = 0; place < LEDGER_LOADS; place++) {
        struct ledger_load load = session->record->load[place];
        if (!load.valid)
            continue;
        bool known = false;
        for (uint32_t i = 0; i < SESSION_MODELS && !known; i++)
            known = session->models[i] && belongs(session->models[i], load.chunk);
        int result = known ? start_request(session, load.tag, load.chunk, place) : SW_ESTALE;
        if (result == 0)
            continue;
        session_done(session, load.tag, result, sw_strerror(result));
        ledger_remove_load(session->record, place);
    }
}

static void handle_load(struct session *session, uint64_t tag, const struct swi_wire_load *load)
{
    const struct revision *revision = handle(session, tag, load->model);
    if (!revision)
        return;
    if (load->incarnation != revision->incarnation) {
        session_done(session, tag, SW_ESTALE,
                     "the request names a revision that this session does not have open; open the "
                     "model again");
        return;
    }
    if (!belongs(revision, load->chunk)) {
        char text[SWI_NAME_MAX + 80];
        session->sessions->counters->ids_refused++;
        (void)snprintf(text, sizeof text, "chunk %u does not belong to model %s", load->chunk,
                       revision->name);
        session_done(session, tag, SW_ENOCOMPONENT, text);
        return;
    }
    if (!session_may_wait(session, SESSION_LOAD)) {
        char text[80];
        session->sessions->counters->requests_refused++;
        (void)snprintf(
            text, sizeof text,
            "this session already waits for %u loads, the maximum; wait for some of them",
            SESSION_LOADS);
        session_done(session, tag, SW_EQUOTA, text);
        return;
    }
    uint32_t place = ledger_add_load(session->record, tag, load->chunk);
    if (start_request(session, tag, load->chunk, place) < 0) {
        session_done(session, tag, -ENOMEM, "the broker is out of memory");
        ledger_remove_load(session->record, place);
    }
}

/* Never answered: a hint for a handle that was just closed, or a revision that was just replaced, is
 * not an error. */
static void handle_prefetch(struct session *session, const struct swi_wire_prefetch *prefetch,
                            struct swi_wire_in *in)
{
    const struct revision *revision =
        prefetch->model < SESSION_MODELS ? session->models[prefetch->model] : NULL;
    if (!revision || prefetch->incarnation != revision->incarnation)
        return;
    uint64_t now_ns = loop_now();
    uint32_t chunk;
    while (swi_wire_get(in, &chunk, sizeof chunk))
        if (belongs(revision, chunk))
            cache_request(session->sessions->cache, chunk, CACHE_PREFETCH, NULL, now_ns);
}

/* ---- dispatch -------------------------------------------------------------------------------- */

static int64_t handle_control(struct session *session, struct swi_wire_in *in)
{
    struct swi_wire_text head;
    (void)swi_wire_get(in, &head, sizeof head);
    size_t size;
    const char *text = swi_wire_rest(in, &size);
    if (head.more) {
        break_off(session, in->tag, SW_EPROTOCOL, "a CONTROL request must fit into one message");
        return COST_CONTROL;
    }
    if (session->state != SESSION_ATTACHED)
        session_operate(session);
    struct sessions *sessions = session->sessions;
    sessions->control(sessions->control_context, session, in->tag, text, size);
    return COST_CONTROL;
}

/* Reads a body whose fixed part is a struct. swi_wire_parse has checked that it is there. */
#define BODY(type, name)                                                                           \
    struct type name;                                                                              \
    (void)swi_wire_get(in, &name, sizeof name)

static int64_t handle_hello(struct session *session, struct swi_wire_in *in)
{
    BODY(swi_wire_hello, hello);
    if (session->state != SESSION_NEW)
        break_off(session, in->tag, SW_EPROTOCOL,
                  "HELLO must be the first message, and comes once");
    else
        session_attach(session, in->tag, &hello);
    return COST_OPEN;
}

static int64_t handle_attached(struct session *session, struct swi_wire_in *in)
{
    switch (in->type) {
    case SWI_WIRE_OPEN: {
        BODY(swi_wire_open, open);
        handle_open(session, in->tag, &open);
        return COST_OPEN;
    }
    case SWI_WIRE_TABLE: {
        BODY(swi_wire_table, table);
        handle_table(session, in->tag, &table);
        return COST_TABLE;
    }
    case SWI_WIRE_FILE: {
        BODY(swi_wire_file, file);
        handle_file(session, in->tag, &file);
        return COST_FILE;
    }
    case SWI_WIRE_LOAD: {
        BODY(swi_wire_load, load);
        handle_load(session, in->tag, &load);
        return COST_SIMPLE;
    }
    case SWI_WIRE_PREFETCH: {
        BODY(swi_wire_prefetch, prefetch);
        handle_prefetch(session, &prefetch, in);
        return COST_SIMPLE + prefetch.count / PREFETCH_IDS_A_TOKEN;
    }
    case SWI_WIRE_CLOSE: {
        BODY(swi_wire_close, close_it);
        handle_close(session, &close_it);
        return COST_SIMPLE;
    }
    default:
        break_off(session, in->tag, SW_EPROTOCOL, "only the broker sends messages of this type");
        return COST_SIMPLE;
    }
}

int64_t request_handle(struct session *session, const void *packet, size_t length)
{
    struct swi_wire_in in;
    struct swi_error error;
    int result = swi_wire_parse(packet, length, &in, &error);
    if (result < 0) {
        break_off(session, 0, result, error.text);
        return COST_SIMPLE;
    }
    if (in.type == SWI_WIRE_CONTROL)
        return handle_control(session, &in);
    if (in.type == SWI_WIRE_HELLO)
        return handle_hello(session, &in);
    if (session->state != SESSION_ATTACHED) {
        break_off(session, in.tag, SW_EPROTOCOL, "the first message must be HELLO");
        return COST_SIMPLE;
    }
    return handle_attached(session, &in);
}
