/* SPDX-License-Identifier: MIT */
/* swctl push. */
#include "operator/push.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/offload.h"
#include "catalog/bundle_gather.h"
#include "operator/report.h"
#include "remote/remote.h"

#define PAGE 4096u

/* A chunk that is being read from its file. Outlives a cancelled push. */
struct reading {
    struct load load;
    struct push *push; /* NULL: cancelled */
    uint8_t *bytes;
};

struct push {
    struct control *control;
    struct session_job job;
    struct remote *remote;
    struct revision *revision;
    uint32_t at; /* chunk */
    uint32_t written;
    uint64_t done_bytes, written_bytes;
    bool progress;
    uint64_t progress_ns; /* when it was last sent */
    struct remote_write write;
    struct reading *reading; /* under way; then the bytes are in `chunk` */
    uint8_t *chunk;          /* [of chunk `at`]; NULL: from the arena */
    struct offload *gathering;
    uint8_t *bundle;
    struct remote_publish publish;
};

static void step(struct push *push);

/* ---- ends ------------------------------------------------------------------------------------ */

static void push_free(struct push *push)
{
    struct control *control = push->control;
    remote_cancel(&push->write.job);
    remote_cancel(&push->publish.job);
    if (push->gathering)
        offload_abandon(push->gathering);
    if (push->reading) { /* its done callback frees it */
        push->reading->push = NULL;
        cache_cancel_apart(control->cache, &push->reading->load);
    }
    free(push->chunk);
    free(push->bundle);
    catalog_release(control->catalog, push->revision);
    control->push = NULL;
    session_job_end(&push->job);
    free(push);
}

static void cancel(struct session_job *job)
{
    push_free(LOOP_OWNER(job, struct push, job));
}

static void fail(struct push *push, int code, const char *text)
{
    char whole[700];
    (void)snprintf(whole, sizeof whole,
                   "%.150s: %.400s; the chunks pushed so far stay; push again later",
                   push->revision->name, text);
    log_warning("push %s", whole);
    session_reply(push->job.session, push->job.tag, report_failure(code, whole));
    push_free(push);
}

static void succeed(struct push *push)
{
    char revision[SWI_DIGEST_HEX];
    swi_digest_format(push->publish.revision, revision);
    log_info("pushed model %s: %u chunks written", push->revision->name, push->written);
    session_reply(push->job.session, push->job.tag,
                  json_pack("{s:b, s:o, s:s, s:I, s:I, s:I}", "ok", 1, "model",
                            stats_text(push->revision->name), "revision", revision,
                            "chunks_written", (json_int_t)push->written, "bytes_written",
                            (json_int_t)push->written_bytes, "small_files_bytes",
                            (json_int_t)push->publish.bundle_bytes));
    push_free(push);
}

static void tell(struct push *push)
{
    if (!push->progress)
        return;
    session_progress(push->job.session, push->job.tag, &push->progress_ns,
                     (struct session_progress){
                         .chunks = push->at,
                         .of_chunks = (uint32_t)push->revision->manifest.count,
                         .bytes = push->done_bytes,
                         .of_bytes = push->revision->manifest.total_bytes,
                     });
}

/* ---- manifest and small files ---------------------------------------------------------------- */

static void publish_over(struct remote_job *job, int status, const char *why)
{
    struct push *push = LOOP_OWNER(job, struct push, publish.job);
    if (status < 0)
        fail(push, status, why);
    else
        succeed(push);
}

struct gathered {
    int directory;
    char *manifest; /* as text */
    uint8_t *data;
    size_t size;
    struct swi_digest digest;
    int result;
    struct swi_error error;
};

static void gather(void *data)
{
    struct gathered *gathered = data;
    struct swi_manifest manifest;
    gathered->result = swi_manifest_parse(gathered->manifest, strlen(gathered->manifest), &manifest,
                                          &gathered->error);
    if (gathered->result < 0)
        return;
    gathered->result = gather_bundle(gathered->directory, &manifest, REMOTE_BUNDLE_MAX,
                                     &gathered->data, &gathered->size, &gathered->error);
    if (gathered->result == 0)
        gathered->digest = swi_digest_of(gathered->data, gathered->size);
    swi_manifest_fini(&manifest);
}

static void dispose(void *data)
{
    struct gathered *gathered = data;
    if (gathered->directory >= 0)
        close(gathered->directory);
    free(gathered->manifest);
    free(gathered->data);
    free(gathered);
}

static void gathered_all(void *owner, void *data)
{
    struct push *push = owner;
    struct gathered *gathered = data;
    push->gathering = NULL;
    if (gathered->result < 0) {
        struct swi_error error = gathered->error;
        dispose(gathered);
        fail(push, error.code, error.text);
        return;
    }
    push->bundle = gathered->data;
    push->publish = (struct remote_publish){.job = {.over = publish_over},
                                            .model = push->revision->name,
                                            .revision = gathered->digest,
                                            .bundle = gathered->data,
                                            .bundle_bytes = gathered->size};
    gathered->data = NULL;
    dispose(gathered);
    push->remote->ops->publish(push->remote, &push->publish);
}

static void start_gathering(struct push *push)
{
    struct gathered *gathered = calloc(1, sizeof *gathered);
    int result = -ENOMEM;
    if (gathered) {
        gathered->directory = fcntl(push->revision->directory, F_DUPFD_CLOEXEC, 0);
        result = gathered->directory < 0
                     ? -errno
                     : swi_manifest_render(&push->revision->manifest, &gathered->manifest);
    }
    const struct offload_task task = {
        .work = gather, .over = gathered_all, .dispose = dispose, .owner = push, .data = gathered};
    if (result == 0)
        result = offload_start(push->control->loop, &task, &push->gathering);
    if (result < 0) {
        if (gathered)
            dispose(gathered);
        fail(push, result, sw_strerror(result));
    }
}

/* ---- a chunk --------------------------------------------------------------------------------- */

static const struct swi_manifest_chunk *chunk_of(const struct push *push)
{
    return &push->revision->manifest.chunks[push->at];
}

static const uint8_t *bytes_at(struct remote_write *write, uint64_t offset)
{
    struct push *push = LOOP_OWNER(write, struct push, write);
    const uint8_t *bytes = push->chunk;
    if (!bytes)
        bytes = cache_peek(push->control->cache, push->revision->ids[push->at], write->digest);
    return bytes ? bytes + offset : NULL;
}

static void read_over(struct load *load)
{
    struct reading *reading = load->context;
    struct push *push = reading->push;
    struct swi_error error = load->error;
    error.code = load->status;
    uint8_t *bytes = reading->bytes;
    free(reading);
    if (!push || error.code < 0)
        free(bytes);
    if (!push)
        return;
    push->reading = NULL;
    if (error.code < 0) {
        (void)swi_fail_within(&error, error.code, "%.100s: ", chunk_of(push)->name);
        fail(push, error.code, error.text);
        return;
    }
    push->chunk = bytes;
    step(push);
}

static void read_chunk(struct push *push)
{
    uint64_t bytes = chunk_of(push)->bytes;
    struct swi_error error = {0};
    struct reading *reading = calloc(1, sizeof *reading);
    if (reading)
        reading->bytes = aligned_alloc(PAGE, (bytes + PAGE - 1) / PAGE * PAGE);
    int result = -ENOMEM;
    if (reading && reading->bytes) {
        reading->push = push;
        reading->load = (struct load){
            .fd = -1, .target = reading->bytes, .done = read_over, .context = reading};
        result = cache_read_apart(push->control->cache, push->revision->ids[push->at],
                                  &reading->load, &error);
    } else {
        (void)swi_fail(&error, result, "out of memory for a chunk of %llu bytes",
                       (unsigned long long)bytes);
    }
    if (result == 0) {
        push->reading = reading;
        return;
    }
    if (reading)
        free(reading->bytes);
    free(reading);
    fail(push, result, error.text);
}

static void chunk_over(struct remote_job *job, int status, const char *why)
{
    struct push *push = LOOP_OWNER(job, struct push, write.job);
    if (status == -ENODATA && !push->chunk) {
        read_chunk(push);
        return;
    }
    if (status < 0) {
        fail(push, status, why);
        return;
    }
    push->written++;
    push->written_bytes += chunk_of(push)->bytes;
    free(push->chunk);
    push->chunk = NULL;
    push->done_bytes += chunk_of(push)->bytes;
    push->at++;
    tell(push);
    step(push);
}

/* Writes the chunk even if all its keys exist: they may hold damaged bytes, which only a push can
 * repair for brokers without files. */
static void step(struct push *push)
{
    if (push->at == push->revision->manifest.count) {
        start_gathering(push);
        return;
    }
    const char *why = push->remote->ops->unwritable(push->remote);
    if (why) {
        fail(push, SW_ELOAD, why);
        return;
    }
    push->write = (struct remote_write){.job = {.over = chunk_over},
                                        .digest = chunk_of(push)->digest,
                                        .bytes = chunk_of(push)->bytes,
                                        .bytes_at = bytes_at};
    push->remote->ops->write(push->remote, &push->write);
}

int push_start(const struct control_call *call, struct swi_error *error)
{
    struct control *control = call->control;
    struct remote *remote = control->remote;
    if (!remote)
        return swi_fail(error, SW_EUNSUPPORTED,
                        "this broker has no Redis; start it with --redis-url");
    if (!remote->writes)
        return swi_fail(error, -EPERM, "this broker's --redis-mode is read-only");
    if (control->push)
        return swi_fail(error, SW_EQUOTA, "another push is under way; wait for it");
    remote->ops->end_pause(remote); /* the operator may have made room */
    const char *why = remote->ops->unwritable(remote);
    if (why)
        return swi_fail(error, SW_ELOAD, "%s", why);
    struct revision *revision;
    int result = catalog_acquire(control->catalog, call->model, loop_now(), &revision, error);
    if (result < 0)
        return result;
    struct push *push = NULL;
    if (revision->remote)
        result = swi_fail(error, SW_EUNSUPPORTED,
                          "model %s comes from the Redis; push it on a host that has its files",
                          call->model);
    else if (!(push = calloc(1, sizeof *push)))
        result = swi_fail(error, -ENOMEM, "out of memory");
    if (!push) {
        catalog_release(control->catalog, revision);
        return result;
    }
    push->control = control;
    push->remote = remote;
    push->revision = revision;
    push->progress = call->progress;
    session_job_begin(call->session, &push->job, SESSION_VERB, call->tag, cancel);
    control->push = push;
    step(push);
    return 0;
}
