/* SPDX-License-Identifier: MIT */
/* swctl warm and pin. */
#include "operator/warm.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "operator/pins.h"
#include "operator/report.h"

struct step {
    struct cache_waiter waiter;
    struct warm *warm;
    uint32_t ordinal;
    bool waiting;
    bool pinned; /* by this call, and not before */
};

struct warm {
    struct control *control;
    struct session_job job;
    struct revision *revision;
    uint32_t remaining; /* unanswered steps, and one for warm_start itself */
    uint32_t loaded;
    uint64_t bytes, all_bytes;
    uint64_t progress_ns; /* when progress was last sent */
    bool pin, progress;
    bool answered;
    int first_failure;
    json_t *failed; /* [{"component", "code", "error"}] */
    uint32_t count;
    struct step steps[];
};

static void warm_free(struct warm *warm)
{
    bool failed = !warm->answered || warm->first_failure != 0;
    for (uint32_t i = 0; i < warm->count; i++)
        if (warm->steps[i].pinned && failed)
            (void)pins_remove(warm->control, warm->revision->name,
                              warm->revision->manifest.chunks[warm->steps[i].ordinal].name);
    session_job_end(&warm->job);
    catalog_release(warm->control->catalog, warm->revision);
    json_decref(warm->failed);
    free(warm);
}

static void cancel(struct session_job *job)
{
    struct warm *warm = LOOP_OWNER(job, struct warm, job);
    for (uint32_t i = 0; i < warm->count; i++)
        if (warm->steps[i].waiting)
            cache_cancel(warm->control->cache, &warm->steps[i].waiter);
    warm_free(warm);
}

static json_t *answer(struct warm *warm)
{
    json_t *reply = json_pack("{s:b, s:o, s:I, s:I, s:O}", "ok", warm->first_failure == 0, "model",
                              stats_text(warm->revision->name), "chunks", (json_int_t)warm->loaded,
                              "bytes", (json_int_t)warm->bytes, "failed", warm->failed);
    const json_t *first = json_array_get(warm->failed, 0);
    if (reply && warm->pin)
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
        if (warm->progress)
            session_progress(warm->job.session, warm->job.tag, &warm->progress_ns,
                             (struct session_progress){.chunks = warm->loaded,
                                                       .of_chunks = warm->count,
                                                       .bytes = warm->bytes,
                                                       .of_bytes = warm->all_bytes});
        return;
    }
    warm->answered = true;
    session_reply(warm->job.session, warm->job.tag, answer(warm));
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

static int warm_create(struct revision *revision, int only, struct warm **ret)
{
    uint32_t count = only >= 0 ? 1 : (uint32_t)revision->manifest.count;
    struct warm *warm = calloc(1, sizeof *warm + count * sizeof warm->steps[0]);
    json_t *failed = json_array();
    if (!warm || !failed) {
        free(warm);
        json_decref(failed);
        return -ENOMEM;
    }
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

static int pin_steps(struct warm *warm, int only, struct swi_error *error)
{
    bool *fresh = calloc(warm->revision->manifest.count, sizeof *fresh);
    if (!fresh)
        return swi_fail(error, -ENOMEM, "out of memory");
    int result = pins_add(warm->control, warm->revision, only, fresh, error);
    for (uint32_t i = 0; result == 0 && i < warm->count; i++)
        warm->steps[i].pinned = fresh[warm->steps[i].ordinal];
    free(fresh);
    return result;
}

int warm_start(const struct control_call *call, bool pin, struct swi_error *error)
{
    struct control *control = call->control;
    struct revision *revision;
    int result = catalog_acquire(control->catalog, call->model, loop_now(), &revision, error);
    if (result < 0)
        return result;
    int only = call->component ? revision_find(revision, call->component) : -1;
    struct warm *warm = NULL;
    if (call->component && only < 0)
        result = swi_fail(error, SW_ENOCOMPONENT, "model %s has no component %s", call->model,
                          call->component);
    else if ((result = warm_create(revision, only, &warm)) < 0)
        (void)swi_fail(error, result, "out of memory");
    if (result < 0) {
        catalog_release(control->catalog, revision);
        return result;
    }
    warm->control = control;
    warm->pin = pin;
    warm->progress = call->progress;
    session_job_begin(call->session, &warm->job, SESSION_VERB, call->tag, cancel);
    result = pin ? pin_steps(warm, only, error) : 0;
    if (result < 0) {
        warm_free(warm);
        return result;
    }
    uint64_t now_ns = loop_now();
    for (uint32_t i = 0; i < warm->count; i++)
        cache_request(control->cache, revision->ids[warm->steps[i].ordinal], CACHE_WARM,
                      &warm->steps[i].waiter, now_ns);
    step_over(warm);
    return 0;
}
