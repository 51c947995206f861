/* SPDX-License-Identifier: MIT */
/* Warm-ups and pins that an operator asked for. */
#include "operator/warm.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "operator/control.h"
#include "operator/pins.h"
#include "operator/report.h"

struct step {
    struct cache_waiter waiter;
    struct warm *warm;
    uint32_t ordinal;
    bool waiting;
    bool pinned; /* by this call: it was not before */
};

struct warm {
    TAILQ_ENTRY(warm) link;
    struct session *session;
    uint64_t tag;
    struct revision *revision;
    uint32_t remaining; /* steps without an answer, and one for warm_start itself */
    uint32_t loaded;
    uint64_t bytes, all_bytes;
    uint64_t progress_ns; /* when it was last told */
    struct warm_options options;
    bool answered;
    int first_failure;
    json_t *failed; /* [{"component", "code", "error"}] */
    uint32_t count;
    struct step steps[];
};

static void warm_free(struct warm *warm)
{
    struct session *session = warm->session;
    bool failed = !warm->answered || warm->first_failure != 0;
    for (uint32_t i = 0; i < warm->count; i++)
        if (warm->steps[i].pinned && failed)
            (void)pins_remove(session->broker, warm->revision->name,
                              warm->revision->manifest.chunks[warm->steps[i].ordinal].name);
    TAILQ_REMOVE(&session->warms, warm, link);
    session->warm_count--;
    catalog_release(session->broker->catalog, warm->revision);
    json_decref(warm->failed);
    free(warm);
    session_watch(session); /* nothing is owed any more */
}

static json_t *answer(struct warm *warm)
{
    json_t *reply = json_pack("{s:b, s:o, s:I, s:I, s:O}", "ok", warm->first_failure == 0, "model",
                              stats_text(warm->revision->name), "chunks", (json_int_t)warm->loaded,
                              "bytes", (json_int_t)warm->bytes, "failed", warm->failed);
    const json_t *first = json_array_get(warm->failed, 0);
    if (reply && warm->options.pin)
        (void)json_object_set_new(reply, "pinned", json_boolean(warm->first_failure == 0));
    if (reply && first) {
        (void)json_object_set_new(reply, "code", json_integer(warm->first_failure));
        (void)json_object_set(reply, "error", json_object_get(first, "error"));
    }
    return reply;
}

static void step_over(struct warm *warm)
{
    assert(warm->remaining > 0);
    if (--warm->remaining > 0) {
        if (warm->options.progress)
            session_progress(warm->session, warm->tag, &warm->progress_ns,
                             (struct session_progress){.chunks = warm->loaded,
                                                       .of_chunks = warm->count,
                                                       .bytes = warm->bytes,
                                                       .of_bytes = warm->all_bytes});
        return;
    }
    warm->answered = true;
    session_reply(warm->session, warm->tag, answer(warm));
    warm_free(warm);
}

static void step_done(struct cache_waiter *waiter, int status, const char *message)
{
    struct step *step = LOOP_OWNER(waiter, struct step, waiter);
    struct warm *warm = step->warm;
    const struct swi_manifest_chunk *chunk = &warm->revision->manifest.chunks[step->ordinal];
    step->waiting = false;
    if (status == 0) {
        warm->loaded++;
        warm->bytes += chunk->bytes;
    } else {
        if (warm->first_failure == 0)
            warm->first_failure = status;
        (void)json_array_append_new(warm->failed, json_pack("{s:o, s:i, s:o}", "component",
                                                            stats_text(chunk->name), "code", status,
                                                            "error", stats_text(message)));
    }
    step_over(warm);
}

static int warm_create(struct session *session, struct revision *revision, int only,
                       struct warm **ret)
{
    uint32_t count = only >= 0 ? 1 : (uint32_t)revision->manifest.count;
    struct warm *warm = calloc(1, sizeof *warm + count * sizeof warm->steps[0]);
    json_t *failed = json_array();
    if (!warm || !failed) {
        free(warm);
        json_decref(failed);
        return -ENOMEM;
    }
    warm->session = session;
    warm->revision = revision;
    warm->failed = failed;
    warm->count = count;
    warm->remaining = count + 1;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t ordinal = only >= 0 ? (uint32_t)only : i;
        warm->all_bytes += revision->manifest.chunks[ordinal].bytes;
        warm->steps[i] = (struct step){
            .waiter = {.done = step_done, .session = SWI_SESSIONS},
            .warm = warm,
            .ordinal = ordinal,
            .waiting = true,
        };
    }
    *ret = warm;
    return 0;
}

static int pin(struct warm *warm, int only, struct swi_error *error)
{
    bool *fresh = calloc(warm->revision->manifest.count, sizeof *fresh);
    if (!fresh)
        return swi_fail(error, -ENOMEM, "out of memory");
    int result = pins_add(warm->session->broker, warm->revision, only, fresh, error);
    for (uint32_t i = 0; result == 0 && i < warm->count; i++)
        warm->steps[i].pinned = fresh[warm->steps[i].ordinal];
    free(fresh);
    return result;
}

int warm_start(struct session *session, uint64_t tag, const char *model, const char *component,
               struct warm_options options, struct swi_error *error)
{
    struct broker *broker = session->broker;
    if (session->warm_count >= SESSION_WARMS)
        return swi_fail(error, SW_EQUOTA, "this connection waits for %u warm-ups already",
                        SESSION_WARMS);
    struct revision *revision;
    int result = catalog_acquire(broker->catalog, model, loop_now(), &revision, error);
    if (result < 0)
        return result;
    int only = component ? revision_find(revision, component) : -1;
    struct warm *warm = NULL;
    if (component && only < 0)
        result = swi_fail(error, SW_ENOCOMPONENT, "model %s has no component %s", model, component);
    else if ((result = warm_create(session, revision, only, &warm)) < 0)
        (void)swi_fail(error, result, "out of memory");
    if (result < 0) {
        catalog_release(broker->catalog, revision);
        return result;
    }
    warm->tag = tag;
    warm->options = options;
    TAILQ_INSERT_TAIL(&session->warms, warm, link);
    session->warm_count++;
    result = options.pin ? pin(warm, only, error) : 0;
    if (result < 0) {
        warm_free(warm);
        return result;
    }
    uint64_t now_ns = loop_now();
    for (uint32_t i = 0; i < warm->count; i++)
        cache_request(broker->cache, revision->ids[warm->steps[i].ordinal], CACHE_WARM,
                      &warm->steps[i].waiter, now_ns);
    step_over(warm);
    return 0;
}

void warm_cancel_all(struct session *session)
{
    for (struct warm *warm; (warm = TAILQ_FIRST(&session->warms));) {
        for (uint32_t i = 0; i < warm->count; i++)
            if (warm->steps[i].waiting)
                cache_cancel(session->broker->cache, &warm->steps[i].waiter);
        warm_free(warm);
    }
}
