/* SPDX-License-Identifier: MIT */
/* Segments, verification and error handling. The engines only move bytes. */
#include "loader/loader.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loader/engine.h"

#define RETRIES_MAX 100u /* of one read without progress: EINTR, EAGAIN */
#define ALIGNMENT   4096u

TAILQ_HEAD(load_list, load);

struct loader {
    const struct loader_engine_ops *ops;
    void *engine;
    struct loader_read slot[LOADER_DEPTH];
    struct loader_reads free_slots;
    struct load_list loads; /* in order of arrival */
    struct load *hash_next; /* the next to be hashed; NULL: the first */
    unsigned active;
};

int loader_create_on(const struct loader_engine_ops *ops, struct loader **ret,
                     struct swi_error *error)
{
    struct loader *loader = calloc(1, sizeof *loader);
    if (!loader)
        return swi_fail(error, -ENOMEM, "out of memory");
    loader->ops = ops;
    int result = ops->create(LOADER_DEPTH, &loader->engine, error);
    if (result < 0) {
        free(loader);
        return result;
    }
    STAILQ_INIT(&loader->free_slots);
    TAILQ_INIT(&loader->loads);
    for (unsigned i = 0; i < LOADER_DEPTH; i++)
        STAILQ_INSERT_TAIL(&loader->free_slots, &loader->slot[i], link);
    *ret = loader;
    return 0;
}

int loader_create(enum loader_engine engine, struct loader **ret, struct swi_error *error)
{
    if (engine == LOADER_THREADS)
        return loader_create_on(&loader_threads_ops, ret, error);
    int result = loader_create_on(&loader_uring_ops, ret, error);
    if (result < 0 && engine == LOADER_AUTO)
        result = loader_create_on(&loader_threads_ops, ret, error);
    return result;
}

const char *loader_engine_name(const struct loader *loader)
{
    return loader->ops->name;
}

int loader_poll_fd(const struct loader *loader)
{
    return loader->ops->poll_fd(loader->engine);
}

unsigned loader_active(const struct loader *loader)
{
    return loader->active;
}

/* ---- one load -------------------------------------------------------------------------------- */

static void fail_load(struct load *load, int code)
{
    if (load->status == 0)
        load->status = code; /* the first failure is reported */
}

static int64_t timespec_ns(const struct timespec *time)
{
    return (int64_t)time->tv_sec * 1000000000 + time->tv_nsec;
}

int loader_check_file(int fd, uint64_t bytes, struct load_identity *ret_identity,
                      struct swi_error *error)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return swi_fail(error, SW_ELOAD, "cannot stat: %s", strerror(errno));
    *ret_identity = (struct load_identity){
        .device = st.st_dev,
        .inode = st.st_ino,
        .size = (uint64_t)st.st_size,
        .modified_ns = timespec_ns(&st.st_mtim),
        .changed_ns = timespec_ns(&st.st_ctim),
    };
    if (!S_ISREG(st.st_mode))
        return swi_fail(error, SW_ELOAD, "not a regular file; import the model again");
    if ((uint64_t)st.st_size != bytes)
        return swi_fail(
            error, SW_ELOAD,
            "the file has %llu bytes, but its manifest says %llu; import the model again",
            (unsigned long long)st.st_size, (unsigned long long)bytes);
    return 0;
}

static bool set_direct(int fd, bool direct)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0)
        return false;
    flags = direct ? flags | O_DIRECT : flags & ~O_DIRECT;
    return fcntl(fd, F_SETFL, flags) == 0;
}

static void begin(struct loader *loader, struct load *load)
{
    assert(load->bytes > 0 && (uintptr_t)load->target % ALIGNMENT == 0);
    load->status = 0;
    load->issued = load->hashed = 0;
    load->outstanding = 0;
    load->direct = false;
    memset(load->arrived, 0, sizeof load->arrived);
    load->hasher = swi_hasher_create();
    if (!load->hasher)
        fail_load(load, swi_fail(&load->error, -ENOMEM, "out of memory"));
    TAILQ_INSERT_TAIL(&loader->loads, load, link);
    loader->active++;
}

void loader_start(struct loader *loader, struct load *load)
{
    assert(load->fd >= 0);
    begin(loader, load);
    load->direct = set_direct(load->fd, true);
}

void loader_start_brought(struct loader *loader, struct load *load)
{
    load->fd = -1;
    begin(loader, load);
}

void loader_cancel(struct loader *loader, struct load *load)
{
    (void)loader;
    fail_load(load, swi_fail(&load->error, -ECANCELED, "cancelled"));
}

static uint64_t segment_of(uint64_t offset)
{
    return offset / LOADER_SEGMENT_BYTES;
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* ---- reads ----------------------------------------------------------------------------------- */

/* Passes a slot's remaining range to the engine. With O_DIRECT the length is rounded up, which
 * stays inside the target's last page. */
static void submit(struct loader *loader, struct loader_read *read)
{
    struct load *load = read->load;
    uint64_t end = min_u64((segment_of(read->offset) + 1) * LOADER_SEGMENT_BYTES, load->bytes);
    uint64_t length = end - read->offset;
    if (load->direct)
        length = (length + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    read->fd = load->fd;
    read->direct = load->direct;
    read->length = (uint32_t)length;
    read->buffer = load->target + read->offset;
    load->outstanding++;
    loader->ops->submit(loader->engine, read);
}

/* True if another segment should be read or supplied. */
static bool wants(const struct load *load)
{
    return load->status == 0 && load->issued < load->bytes &&
           segment_of(load->issued) < segment_of(load->hashed) + LOADER_WINDOW;
}

static bool can_issue(const struct load *load)
{
    return load->fd >= 0 && wants(load);
}

static bool goes_before(const struct load *a, const struct load *b)
{
    return a->priority < b->priority || (a->priority == b->priority && a->order < b->order);
}

/* The load whose next segment is read next. */
static struct load *next_to_issue(struct loader *loader)
{
    struct load *best = NULL;
    struct load *load;
    TAILQ_FOREACH(load, &loader->loads, link)
    {
        if (can_issue(load) && (!best || goes_before(load, best)))
            best = load;
    }
    return best;
}

static void issue_reads(struct loader *loader)
{
    struct loader_read *read;
    while ((read = STAILQ_FIRST(&loader->free_slots))) {
        struct load *load = next_to_issue(loader);
        if (!load)
            break;
        STAILQ_REMOVE_HEAD(&loader->free_slots, link);
        read->load = load;
        read->offset = load->issued;
        read->retries = 0;
        load->issued = min_u64((segment_of(load->issued) + 1) * LOADER_SEGMENT_BYTES, load->bytes);
        submit(loader, read);
    }
}

/* Reads this file through the page cache from now on. Reads under way may still be refused. */
static bool stop_direct(struct load *load)
{
    if (load->direct)
        load->direct = !set_direct(load->fd, false);
    return !load->direct;
}

/* Handles a completed read. Returns true if the rest of its segment must be read. */
static bool wants_more(struct load *load, struct loader_read *read)
{
    uint64_t end = min_u64((segment_of(read->offset) + 1) * LOADER_SEGMENT_BYTES, load->bytes);
    int64_t result = read->result;
    /* some file systems accept O_DIRECT at open and refuse the read */
    if (result == -EINVAL && read->direct && stop_direct(load))
        return true;
    if ((result == -EINTR || result == -EAGAIN) && read->retries++ < RETRIES_MAX)
        return true;
    if (result < 0) {
        fail_load(load, swi_fail(&load->error, SW_ELOAD, "cannot read at byte %llu: %s",
                                 (unsigned long long)read->offset, strerror((int)-result)));
        return false;
    }
    if (result == 0) {
        fail_load(load,
                  swi_fail(&load->error, SW_ELOAD,
                           "the file ends at byte %llu of %llu: it was truncated while it was read",
                           (unsigned long long)read->offset, (unsigned long long)load->bytes));
        return false;
    }
    if ((uint64_t)result > end - read->offset && end == load->bytes) {
        fail_load(load, swi_fail(&load->error, SW_ELOAD,
                                 "the file grew past %llu bytes while it was read",
                                 (unsigned long long)load->bytes));
        return false;
    }
    read->retries = 0;
    read->offset += (uint64_t)result;
    if (read->offset >= end)
        return false;
    /* the next direct read can only start on an aligned boundary */
    if (load->direct && read->offset % ALIGNMENT != 0 && !stop_direct(load)) {
        fail_load(load, swi_fail(&load->error, SW_ELOAD, "a read stopped at byte %llu",
                                 (unsigned long long)read->offset));
        return false;
    }
    return true;
}

static void take_completed(struct loader *loader, bool wait)
{
    struct loader_reads completed = STAILQ_HEAD_INITIALIZER(completed);
    loader->ops->reap(loader->engine, &completed, wait);
    struct loader_read *read;
    while ((read = STAILQ_FIRST(&completed))) {
        STAILQ_REMOVE_HEAD(&completed, link);
        struct load *load = read->load;
        uint64_t segment = segment_of(read->offset);
        load->outstanding--;
        if (wants_more(load, read) && load->status == 0) {
            submit(loader, read);
            continue;
        }
        load->arrived[segment % LOADER_WINDOW] = 1;
        STAILQ_INSERT_HEAD(&loader->free_slots, read, link);
    }
}

/* ---- supplied segments ----------------------------------------------------------------------- */

bool loader_want(struct load *load, uint64_t *ret_offset, uint32_t *ret_bytes)
{
    assert(load->fd < 0);
    if (!wants(load))
        return false;
    *ret_offset = load->issued;
    load->issued = min_u64(load->issued + LOADER_SEGMENT_BYTES, load->bytes);
    *ret_bytes = (uint32_t)(load->issued - *ret_offset);
    load->outstanding++;
    return true;
}

void loader_brought(struct load *load, uint64_t offset)
{
    assert(load->fd < 0 && load->outstanding > 0);
    load->outstanding--;
    load->arrived[segment_of(offset) % LOADER_WINDOW] = 1;
}

void loader_refuse(struct load *load, const struct swi_error *error)
{
    if (load->status != 0)
        return;
    load->error = *error;
    fail_load(load, error->code);
}

void loader_not_brought(struct load *load, const struct swi_error *error)
{
    assert(load->fd < 0 && load->outstanding > 0);
    load->outstanding--;
    loader_refuse(load, error);
}

/* ---- hashing and finishing ------------------------------------------------------------------- */

static bool can_hash(const struct load *load)
{
    return load->status == 0 && load->hashed < load->bytes &&
           load->arrived[segment_of(load->hashed) % LOADER_WINDOW];
}

static bool is_over(const struct load *load)
{
    return load->outstanding == 0 && (load->status != 0 || load->hashed == load->bytes);
}

static void hash_segment(struct load *load)
{
    uint64_t length = min_u64(LOADER_SEGMENT_BYTES, load->bytes - load->hashed);
    swi_hasher_update(load->hasher, load->target + load->hashed, length);
    load->arrived[segment_of(load->hashed) % LOADER_WINDOW] = 0;
    load->hashed += length;
    if (load->hashed < load->bytes)
        return;
    struct swi_digest digest = swi_hasher_digest(load->hasher);
    if (swi_digest_equal(digest, load->digest))
        return;
    char found[SWI_DIGEST_HEX], wanted[SWI_DIGEST_HEX];
    swi_digest_format(digest, found);
    swi_digest_format(load->digest, wanted);
    fail_load(load, swi_fail(&load->error, SW_EDIGEST,
                             "its bytes hash to %s, but its manifest says %s; the file is damaged: "
                             "import the model again",
                             found, wanted));
}

/* Hashes one segment of the next load that has one ready. */
static void hash_some(struct loader *loader)
{
    struct load *start = loader->hash_next ? loader->hash_next : TAILQ_FIRST(&loader->loads);
    struct load *load = start;
    while (load) {
        struct load *next = TAILQ_NEXT(load, link);
        if (!next)
            next = TAILQ_FIRST(&loader->loads);
        if (can_hash(load)) {
            hash_segment(load);
            loader->hash_next = next;
            return;
        }
        if (next == start)
            return;
        load = next;
    }
}

static void finish(struct loader *loader, struct load *load)
{
    if (loader->hash_next == load)
        loader->hash_next = TAILQ_NEXT(load, link);
    TAILQ_REMOVE(&loader->loads, load, link);
    loader->active--;
    if (load->fd >= 0)
        (void)close(load->fd);
    load->fd = -1;
    swi_hasher_destroy(load->hasher);
    load->hasher = NULL;
    uint64_t rest = load->bytes % ALIGNMENT;
    if (load->status == 0 && rest != 0) /* leave no bytes of an earlier chunk behind the last one */
        memset(load->target + load->bytes, 0, ALIGNMENT - rest);
    load->done(load);
}

/* done may start another load, so the walk starts from the front again after each. */
static void finish_all(struct loader *loader)
{
    struct load *load = TAILQ_FIRST(&loader->loads);
    while (load) {
        if (is_over(load)) {
            finish(loader, load);
            load = TAILQ_FIRST(&loader->loads);
        } else {
            load = TAILQ_NEXT(load, link);
        }
    }
}

bool loader_turn(struct loader *loader)
{
    take_completed(loader, false);
    issue_reads(loader);
    bool more = loader->ops->flush(loader->engine);
    hash_some(loader);
    finish_all(loader);
    struct load *load;
    TAILQ_FOREACH(load, &loader->loads, link)
    more = more || can_hash(load) || is_over(load) ||
           (can_issue(load) && !STAILQ_EMPTY(&loader->free_slots));
    return more;
}

void loader_destroy(struct loader *loader)
{
    if (!loader)
        return;
    struct load *load;
    TAILQ_FOREACH(load, &loader->loads, link)
    loader_cancel(loader, load);
    for (;;) {
        unsigned outstanding = 0;
        TAILQ_FOREACH(load, &loader->loads, link)
        outstanding += load->outstanding;
        if (outstanding == 0)
            break;
        (void)loader->ops->flush(loader->engine);
        take_completed(loader, true);
    }
    finish_all(loader);
    loader->ops->destroy(loader->engine);
    free(loader);
}
