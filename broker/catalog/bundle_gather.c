/* SPDX-License-Identifier: MIT */
/* Reads a chunk directory's small files into a bundle. */
#include "catalog/bundle_gather.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "catalog/bundle.h"
#include "catalog/open_beneath.h"

struct gathering {
    int root;
    const struct swi_manifest *manifest;
    size_t most_bytes, bytes;
    struct bundle bundle;
    struct swi_error *error;
};

static bool is_chunk(const struct gathering *gathering, const char *name)
{
    for (size_t i = 0; i < gathering->manifest->count; i++)
        if (strcmp(gathering->manifest->chunks[i].file, name) == 0)
            return true;
    return strcmp(name, SWI_MANIFEST_FILE) == 0;
}

static int add(struct gathering *gathering, const char *name, uint8_t *bytes, size_t size)
{
    struct bundle *bundle = &gathering->bundle;
    gathering->bytes += size;
    if (bundle->count == BUNDLE_FILES_MAX || gathering->bytes > gathering->most_bytes) {
        free(bytes);
        return swi_fail(gathering->error, SW_EQUOTA,
                        "its files besides the chunks exceed %zu MiB or number more than %u; "
                        "remove those that the model does not need",
                        gathering->most_bytes >> 20, BUNDLE_FILES_MAX);
    }
    struct bundle_file *file = &bundle->files[bundle->count++];
    (void)snprintf(file->name, sizeof file->name, "%s", name);
    file->bytes = bytes;
    file->size = size;
    return 0;
}

/* *ret is malloc'd. */
static int read_file(struct gathering *gathering, int fd, const char *name, size_t size,
                     uint8_t **ret)
{
    uint8_t *bytes = malloc(size + 1);
    size_t done = 0;
    if (!bytes)
        return swi_fail(gathering->error, -ENOMEM, "out of memory");
    while (done < size) {
        ssize_t got = read(fd, bytes + done, size - done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            int code = got < 0 ? -errno : -EIO;
            free(bytes);
            return swi_fail(gathering->error, code, "cannot read %s: %s", name,
                            got < 0 ? sw_strerror(code) : "it was truncated");
        }
        done += (size_t)got;
    }
    *ret = bytes;
    return 0;
}

static int visit_folder(struct gathering *gathering, const char *path, unsigned depth);

static int visit(struct gathering *gathering, const char *name, unsigned depth)
{
    int fd = open_beneath(gathering->root, name, O_NONBLOCK);
    struct stat status;
    if (fd == -EXDEV || fd == -ELOOP || fd == -ENOENT)
        return 0; /* the broker would not serve it either */
    if (fd < 0 || fstat(fd, &status) < 0) {
        int code = fd < 0 ? fd : -errno;
        if (fd >= 0)
            close(fd);
        return swi_fail(gathering->error, code, "cannot open %s: %s", name, sw_strerror(code));
    }
    int result = 0;
    uint8_t *bytes = NULL;
    if (S_ISDIR(status.st_mode) && depth < BUNDLE_DEPTH_MAX) {
        result = visit_folder(gathering, name, depth);
    } else if (S_ISREG(status.st_mode) && (uint64_t)status.st_size > gathering->most_bytes) {
        result = swi_fail(gathering->error, SW_EQUOTA, "%s is larger than %zu MiB", name,
                          gathering->most_bytes >> 20);
    } else if (S_ISREG(status.st_mode)) {
        result = read_file(gathering, fd, name, (size_t)status.st_size, &bytes);
        if (result == 0)
            result = add(gathering, name, bytes, (size_t)status.st_size);
    }
    close(fd);
    return result;
}

/* path "": the root */
static int visit_folder(struct gathering *gathering, const char *path, unsigned depth)
{
    int fd = open_beneath(gathering->root, path[0] ? path : ".", O_DIRECTORY);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (!folder) {
        int code = fd < 0 ? fd : -errno;
        if (fd >= 0)
            close(fd);
        return swi_fail(gathering->error, code, "cannot open %s: %s", path, sw_strerror(code));
    }
    int result = 0;
    for (const struct dirent *entry; result == 0 && (entry = readdir(folder));) {
        char name[SWI_NAME_MAX + 1];
        int length = snprintf(name, sizeof name, "%s%s%s", path, path[0] ? "/" : "", entry->d_name);
        if (length < 0 || (size_t)length >= sizeof name || !bundle_name_ok(name) ||
            is_chunk(gathering, name))
            continue;
        result = visit(gathering, name, depth + 1);
    }
    closedir(folder);
    return result;
}

/* Makes the bundle independent of the order in which a directory lists its files. */
static int by_name(const void *left, const void *right)
{
    return strcmp(((const struct bundle_file *)left)->name,
                  ((const struct bundle_file *)right)->name);
}

int gather_bundle(int directory, const struct swi_manifest *manifest, size_t most_bytes,
                  uint8_t **ret_data, size_t *ret_size, struct swi_error *error)
{
    struct gathering gathering = {
        .root = directory, .manifest = manifest, .most_bytes = most_bytes, .error = error};
    char *text = NULL;
    gathering.bundle.files = calloc(BUNDLE_FILES_MAX, sizeof *gathering.bundle.files);
    int result = gathering.bundle.files ? swi_manifest_render(manifest, &text) : -ENOMEM;
    if (result < 0)
        (void)swi_fail(error, result, "cannot write its manifest: %s", sw_strerror(result));
    if (result == 0)
        result = add(&gathering, SWI_MANIFEST_FILE, (uint8_t *)text, strlen(text));
    if (result == 0)
        result = visit_folder(&gathering, "", 0);
    if (result == 0) {
        qsort(gathering.bundle.files, gathering.bundle.count, sizeof *gathering.bundle.files,
              by_name);
        result = bundle_render(&gathering.bundle, ret_data, ret_size, error);
    }
    for (uint32_t i = 0; i < gathering.bundle.count; i++) {
        union {
            const uint8_t *read;
            uint8_t *own;
        } bytes = {.read = gathering.bundle.files[i].bytes};
        free(bytes.own);
    }
    bundle_fini(&gathering.bundle);
    return result;
}
