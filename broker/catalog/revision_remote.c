/* SPDX-License-Identifier: MIT */
/* The small files of revisions without a directory. */
#include "catalog/revision_remote.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "catalog/bundle.h"
#include "core/memfd.h"
#include "core/size.h"

#define SEALS (F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)

struct remote_file {
    char *name;
    int fd; /* a sealed memfd */
    uint64_t bytes;
};

struct revision_remote {
    uint32_t count;
    struct remote_file files[];
};

/* Of all revisions; used by the loop's thread only. */
static struct remote_usage usage;

int revision_remote_check(const struct remote_usage *now, const struct remote_usage *more,
                          uint64_t descriptors, struct swi_error *error)
{
    if (now->files + more->files > descriptors / 2)
        return swi_fail(
            error, SW_EQUOTA,
            "its %llu small files in Redis need a descriptor each, and %llu of at most "
            "%llu are taken by other models; name fewer in --models, or raise the limit "
            "of open files",
            (unsigned long long)more->files, (unsigned long long)now->files,
            (unsigned long long)(descriptors / 2));
    if (now->bytes + more->bytes <= REVISION_REMOTE_BYTES_MAX)
        return 0;
    char need[32], have[32], most[32];
    swi_size_format(more->bytes, need, sizeof need);
    swi_size_format(now->bytes, have, sizeof have);
    swi_size_format(REVISION_REMOTE_BYTES_MAX, most, sizeof most);
    return swi_fail(error, SW_EQUOTA,
                    "its small files in Redis take %s, and those of other models %s of at most %s; "
                    "name fewer in --models",
                    need, have, most);
}

static int check_room(const struct bundle *bundle, uint64_t descriptors, struct swi_error *error)
{
    struct remote_usage more = {.files = bundle->count};
    for (uint32_t i = 0; i < bundle->count; i++)
        more.bytes += bundle->files[i].size;
    return revision_remote_check(&usage, &more, descriptors, error);
}

static void free_files(struct revision_remote *remote)
{
    if (!remote)
        return;
    for (uint32_t i = 0; i < remote->count; i++) {
        if (remote->files[i].fd >= 0)
            close(remote->files[i].fd);
        usage.files--;
        usage.bytes -= remote->files[i].bytes;
        free(remote->files[i].name);
    }
    free(remote);
}

static int fill(int fd, const struct bundle_file *file)
{
    for (uint64_t done = 0; done < file->size;) {
        ssize_t count = write(fd, file->bytes + done, file->size - done);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return count < 0 ? -errno : -EIO;
        done += (uint64_t)count;
    }
    if (fchmod(fd, 0400) < 0 || fcntl(fd, F_ADD_SEALS, SEALS) < 0)
        return -errno;
    return 0;
}

/* Sessions take descriptors too, so fewer than half may be left. The kernel assigns the lowest free
 * number: a high one means that the sessions need the rest. */
static int keep_file(struct remote_file *ret, const struct bundle_file *file, uint64_t descriptors,
                     struct swi_error *error)
{
    ret->bytes = file->size;
    usage.files++;
    usage.bytes += file->size;
    ret->name = strdup(file->name);
    ret->fd = swi_memfd_create("sw-model-file");
    int result = !ret->name ? -ENOMEM : ret->fd < 0 ? ret->fd : 0;
    if (result == 0 && (uint64_t)ret->fd >= descriptors / 4 * 3)
        return swi_fail(error, SW_EQUOTA,
                        "its small files in Redis need a descriptor each, and too few of %llu are "
                        "free; raise the limit of open files, or close connections (swctl clients "
                        "lists them)",
                        (unsigned long long)descriptors);
    if (result == 0)
        result = fill(ret->fd, file);
    return result == 0
               ? 0
               : swi_fail(error, result, "cannot keep its small files: %s", sw_strerror(result));
}

static int keep_files(const struct bundle *bundle, struct revision_remote **ret,
                      struct swi_error *error)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return swi_fail(error, -errno, "getrlimit: %s", sw_strerror(-errno));
    int result = check_room(bundle, limit.rlim_cur, error);
    if (result < 0)
        return result;
    struct revision_remote *remote =
        calloc(1, sizeof *remote + bundle->count * sizeof remote->files[0]);
    if (!remote)
        return swi_fail(error, -ENOMEM, "out of memory for its small files");
    for (uint32_t i = 0; result == 0 && i < bundle->count; i++)
        result =
            keep_file(&remote->files[remote->count++], &bundle->files[i], limit.rlim_cur, error);
    if (result < 0) {
        free_files(remote);
        return result;
    }
    *ret = remote;
    return 0;
}

static int open_file(const struct revision *revision, const char *path, uint64_t *ret_bytes,
                     struct swi_error *error)
{
    const struct revision_remote *remote = revision->remote;
    for (uint32_t i = 0; i < remote->count; i++) {
        const struct remote_file *file = &remote->files[i];
        if (strcmp(file->name, path) != 0)
            continue;
        char link[40]; /* opens the file again, read-only, for the client alone */
        (void)snprintf(link, sizeof link, "/proc/self/fd/%d", file->fd);
        int fd = open(link, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            return swi_fail(error, -errno, "%s: cannot open the file %s: %s", revision->name, path,
                            sw_strerror(-errno));
        *ret_bytes = file->bytes;
        return fd;
    }
    return swi_fail(error, SW_ENOCOMPONENT, "%s has no file %s", revision->name, path);
}

static void free_own_files(struct revision *revision)
{
    free_files(revision->remote);
}

static const struct revision_ops remote_ops = {.open_file = open_file, .free = free_own_files};

int revision_create_remote(struct cache *cache, const char *name, const void *data, size_t size,
                           struct swi_digest digest, uint64_t incarnation, struct revision **ret,
                           struct swi_error *error)
{
    struct bundle bundle;
    struct swi_manifest manifest;
    struct revision_remote *remote = NULL;
    int result = bundle_parse(data, size, &bundle, error);
    if (result < 0)
        return result;
    const struct bundle_file *text = bundle_find(&bundle, SWI_MANIFEST_FILE);
    result = swi_manifest_parse(text->bytes, text->size, &manifest, error);
    if (result == 0) {
        result = keep_files(&bundle, &remote, error);
        if (result == 0) {
            result = revision_create_of(cache, name, &manifest, incarnation, ret);
            if (result < 0)
                (void)swi_fail(error, result, "cannot keep it: %s", sw_strerror(result));
        }
        if (result < 0) {
            free_files(remote);
            swi_manifest_fini(&manifest);
        } else {
            (*ret)->ops = &remote_ops;
            (*ret)->remote = remote;
            (*ret)->bundle = digest;
        }
    }
    bundle_fini(&bundle);
    return result;
}
