/* SPDX-License-Identifier: MIT */
/* Registering a revision's chunks, and the files of a directory. */
#include "catalog/revision.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "catalog/open_beneath.h"
#include "handover/ledger.h"

static void revision_free(struct revision *revision)
{
    for (size_t i = 0; revision->files && i < revision->manifest.count; i++)
        if (revision->files[i] >= 0)
            close(revision->files[i]);
    free(revision->files);
    free(revision->ids);
    if (revision->ops)
        revision->ops->free(revision);
    swi_manifest_fini(&revision->manifest);
    free(revision->name);
    free(revision);
}

int revision_create_of(struct cache *cache, const char *name, const struct swi_manifest *manifest,
                       uint64_t incarnation, struct revision **ret)
{
    struct revision *revision = calloc(1, sizeof *revision);
    if (!revision)
        return -ENOMEM;
    *revision = (struct revision){.cache = cache,
                                  .place = LEDGER_NOWHERE,
                                  .name = strdup(name),
                                  .directory = -1,
                                  .incarnation = incarnation,
                                  .ids = calloc(manifest->count, sizeof *revision->ids),
                                  .files = calloc(manifest->count, sizeof *revision->files)};
    if (!revision->name || !revision->ids || !revision->files) {
        revision_free(revision);
        return -ENOMEM;
    }
    for (size_t i = 0; i < manifest->count; i++)
        revision->files[i] = -1;
    revision->manifest = *manifest;
    *ret = revision;
    return 0;
}

static void unregister_chunks(struct revision *revision)
{
    if (revision->place != LEDGER_NOWHERE)
        ledger_remove_revision(cache_ledger(revision->cache), revision->place);
    revision->place = LEDGER_NOWHERE;
    for (uint32_t i = 0; i < revision->registered; i++)
        cache_unregister(revision->cache, revision->ids[i]);
    revision->registered = 0;
}

void revision_destroy(struct revision *revision)
{
    assert(revision->users == 0);
    unregister_chunks(revision);
    revision_free(revision);
}

bool revision_equal(const struct revision *a, const struct revision *b)
{
    const struct swi_manifest *x = &a->manifest, *y = &b->manifest;
    if (a->remote && b->remote)
        return swi_digest_equal(a->bundle, b->bundle);
    if (a->remote || b->remote)
        return false;
    if (a->device != b->device || a->inode != b->inode || x->count != y->count)
        return false;
    for (size_t i = 0; i < x->count; i++) {
        const struct swi_manifest_chunk *p = &x->chunks[i], *q = &y->chunks[i];
        if (strcmp(p->name, q->name) != 0 || strcmp(p->file, q->file) != 0 ||
            p->bytes != q->bytes || !swi_digest_equal(p->digest, q->digest))
            return false;
    }
    return true;
}

/* ---- files of chunks ------------------------------------------------------------------------- */

static bool directory_was_removed(const struct revision *revision)
{
    struct stat status;
    return fstat(revision->directory, &status) == 0 && status.st_nlink == 0;
}

/* Opens by name while the directory is the catalog's current one, so that a repaired file is
 * found. Once the directory was replaced or removed, the name leads nowhere or to the next
 * revision's file; then opens the file that was there at the first use. */
static int open_chunk_file(const struct revision *revision, uint32_t ordinal)
{
    int held = revision->files[ordinal];
    if (held < 0 || !(revision->superseded || directory_was_removed(revision)))
        return open_beneath(revision->directory, revision->manifest.chunks[ordinal].file, 0);
    char path[40];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", held);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    return fd < 0 ? -errno : open_settle(fd);
}

/* For struct cache_source. */
static int open_chunk(void *context, uint32_t ordinal, struct swi_error *error)
{
    const struct revision *revision = context;
    const char *file = revision->manifest.chunks[ordinal].file;
    int fd = open_chunk_file(revision, ordinal);
    if (fd == -ENOENT && revision->superseded)
        return swi_fail(error, SW_ESTALE,
                        "%s/%s: this revision of the model was replaced and its files are gone; "
                        "open the model again",
                        revision->name, file);
    if (fd == -ENOENT && directory_was_removed(revision))
        return swi_fail(error, SW_ELOAD,
                        "%s/%s: the model's directory was removed or replaced; run swctl reload",
                        revision->name, file);
    if (fd == -EXDEV || fd == -ELOOP)
        return swi_fail(error, SW_ELOAD,
                        "%s/%s: a link leads outside of the model's directory; put the file itself "
                        "there",
                        revision->name, file);
    if (fd < 0)
        return swi_fail(error, SW_ELOAD, "%s/%s: %s; import the model again, or restore the file",
                        revision->name, file, sw_strerror(fd));
    struct stat status;
    if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode)) {
        close(fd);
        return swi_fail(error, SW_ELOAD, "%s/%s: not a regular file", revision->name, file);
    }
    return fd;
}

/* Best effort: without these, users of a deleted directory receive SW_ESTALE at their next miss.
 * Uses only the lower half of the descriptors that the process may have; sessions and reads need
 * the rest. */
static void hold_files(struct revision *revision)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    for (size_t i = 0; i < revision->manifest.count; i++) {
        if (revision->files[i] >= 0)
            continue;
        int fd = open_beneath(revision->directory, revision->manifest.chunks[i].file, O_PATH);
        if (fd >= 0 &&
            (rlim_t)fd >= limit.rlim_cur / 2) { /* the kernel gives the lowest free one */
            close(fd);
            return;
        }
        revision->files[i] = fd;
    }
}

/* ---- users ----------------------------------------------------------------------------------- */

static struct cache_chunk describe_chunk(const struct revision *revision, uint32_t ordinal)
{
    const struct swi_manifest_chunk *chunk = &revision->manifest.chunks[ordinal];
    return (struct cache_chunk){
        .model = revision->name,
        .name = chunk->name,
        .ordinal = ordinal,
        .model_size = (uint32_t)revision->manifest.count,
        .incarnation = revision->incarnation,
        .bytes = chunk->bytes,
        .digest = chunk->digest,
        .source = {.open = revision->remote ? NULL : open_chunk,
                   .context = (void *)(uintptr_t)revision},
    };
}

static int register_chunks(struct revision *revision, struct swi_error *error)
{
    const struct swi_manifest *manifest = &revision->manifest;
    for (uint32_t i = 0; i < manifest->count; i++) {
        const struct cache_chunk chunk = describe_chunk(revision, i);
        int result = cache_register(revision->cache, &chunk, &revision->ids[i]);
        if (result < 0) {
            unregister_chunks(revision);
            return swi_fail(
                error, result,
                "%s: cannot register its %zu chunks: %s; the broker can serve at most %u "
                "chunks",
                revision->name, manifest->count, sw_strerror(result), SWI_CHUNKS);
        }
        revision->registered = i + 1;
    }
    if (cache_ledger(revision->cache))
        revision->place =
            ledger_add_revision(cache_ledger(revision->cache), revision->name,
                                revision->incarnation, revision->ids, (uint32_t)manifest->count);
    if (!revision->remote)
        hold_files(revision);
    return 0;
}

/* True if each entry is that of the revision's chunk. */
static bool same_chunks(const struct revision *revision, uint64_t incarnation, const uint32_t *ids)
{
    for (uint32_t i = 0; i < revision->manifest.count; i++) {
        const struct swi_manifest_chunk *chunk = &revision->manifest.chunks[i];
        struct swi_entry_value entry = swi_entry_get(cache_index(revision->cache), ids[i]);
        if (entry.incarnation != incarnation || entry.bytes != chunk->bytes ||
            entry.digest_low != chunk->digest.low || entry.digest_high != chunk->digest.high)
            return false;
    }
    return true;
}

int revision_restore(struct revision *revision, uint64_t incarnation, const uint32_t *ids,
                     uint32_t place)
{
    assert(revision->users == 0 && revision->registered == 0);
    if (!same_chunks(revision, incarnation, ids))
        return 1;
    revision->incarnation = incarnation;
    for (uint32_t i = 0; i < revision->manifest.count; i++) {
        const struct cache_chunk chunk = describe_chunk(revision, i);
        int result = cache_restore(revision->cache, ids[i], &chunk);
        if (result < 0)
            return result; /* and the broker does not start */
        revision->ids[i] = ids[i];
        revision->registered = i + 1;
    }
    revision->place = place;
    if (!revision->remote)
        hold_files(revision);
    return 0;
}

void revision_leave(struct revision *revision)
{
    revision->users = revision->registered = 0;
    revision->place = LEDGER_NOWHERE;
}

int revision_acquire(struct revision *revision, struct swi_error *error)
{
    int result = revision->registered ? 0 : register_chunks(revision, error);
    if (result == 0)
        revision->users++;
    return result;
}

bool revision_release(struct revision *revision)
{
    assert(revision->users > 0);
    revision->users--;
    return revision->users == 0 && revision->superseded;
}

int revision_find(const struct revision *revision, const char *component)
{
    for (size_t i = 0; i < revision->manifest.count; i++)
        if (strcmp(revision->manifest.chunks[i].name, component) == 0)
            return (int)i;
    return SW_ENOCOMPONENT;
}

int revision_open_file(const struct revision *revision, const char *path, uint64_t *ret_bytes,
                       struct swi_error *error)
{
    return revision->ops->open_file(revision, path, ret_bytes, error);
}

/* ---- a revision with a directory ------------------------------------------------------------- */

static void close_directory(struct revision *revision)
{
    close(revision->directory);
}

static int open_file(const struct revision *revision, const char *path, uint64_t *ret_bytes,
                     struct swi_error *error)
{
    int fd = open_beneath(revision->directory, path, 0);
    if (fd == -EXDEV || fd == -ELOOP)
        return swi_fail(error, SW_ENOCOMPONENT,
                        "%s: the path %s leads outside of the model's directory", revision->name,
                        path);
    if (fd == -ENOENT || fd == -ENOTDIR)
        return swi_fail(error, SW_ENOCOMPONENT, "%s has no file %s", revision->name, path);
    if (fd < 0)
        return swi_fail(error, fd, "%s: cannot open the file %s: %s", revision->name, path,
                        sw_strerror(fd));
    struct stat status;
    int result = 0;
    if (fstat(fd, &status) < 0)
        result = swi_fail(error, -errno, "%s: %s: %s", revision->name, path, sw_strerror(-errno));
    else if (!S_ISREG(status.st_mode))
        result =
            swi_fail(error, SW_ENOCOMPONENT, "%s: %s is not a regular file", revision->name, path);
    else if (status.st_size > (off_t)REVISION_FILE_MAX_BYTES)
        result = swi_fail(error, SW_EQUOTA,
                          "%s: %s is larger than %u MiB; the broker serves only small files",
                          revision->name, path, REVISION_FILE_MAX_BYTES >> 20);
    if (result < 0) {
        close(fd);
        return result;
    }
    *ret_bytes = (uint64_t)status.st_size;
    return fd;
}

static const struct revision_ops directory_ops = {.open_file = open_file, .free = close_directory};

int revision_create(struct cache *cache, const char *name, int directory, uint64_t incarnation,
                    struct revision **ret, struct swi_error *error)
{
    struct swi_manifest manifest;
    struct stat status;
    int result = swi_manifest_read(directory, &manifest, error);
    if (result < 0)
        return result;
    struct revision *revision = NULL;
    if (fstat(directory, &status) < 0)
        result = swi_fail(error, -errno, "%s", sw_strerror(-errno));
    else if (revision_create_of(cache, name, &manifest, incarnation, &revision) < 0)
        result = swi_fail(error, -ENOMEM, "out of memory");
    if (result < 0) {
        swi_manifest_fini(&manifest);
        return result;
    }
    revision->ops = &directory_ops;
    revision->directory = directory;
    revision->device = status.st_dev;
    revision->inode = status.st_ino;
    *ret = revision;
    return 0;
}
