/* SPDX-License-Identifier: MIT */
/* A model's manifest and small files in one piece. */
#include "catalog/bundle.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/manifest.h"

static const char magic[8] = {'S', 'W', 'B', 'U', 'N', 'D', '1', '\n'};
#define HEAD_BYTES  (sizeof magic + sizeof(uint32_t))
#define ENTRY_BYTES (sizeof(uint32_t) + sizeof(uint64_t))

bool bundle_name_ok(const char *name)
{
    char part[SWI_NAME_MAX + 1];
    if (strlen(name) > SWI_NAME_MAX)
        return false;
    for (unsigned depth = 0; depth < BUNDLE_DEPTH_MAX; depth++) {
        size_t length = strcspn(name, "/");
        memcpy(part, name, length);
        part[length] = 0;
        if (!swi_manifest_name_ok(part))
            return false;
        if (!name[length])
            return true;
        name += length + 1;
    }
    return false;
}

const struct bundle_file *bundle_find(const struct bundle *bundle, const char *name)
{
    for (uint32_t i = 0; i < bundle->count; i++)
        if (strcmp(bundle->files[i].name, name) == 0)
            return &bundle->files[i];
    return NULL;
}

void bundle_fini(struct bundle *bundle)
{
    free(bundle->files);
    *bundle = (struct bundle){.count = 0};
}

static int bad(struct swi_error *error, const char *what)
{
    return swi_fail(error, SW_EFORMAT, "the model's bundle is damaged: %s", what);
}

/* Takes the next size bytes. */
static bool take(const uint8_t **at, size_t *left, void *ret, size_t size)
{
    if (size > *left)
        return false;
    memcpy(ret, *at, size);
    *at += size;
    *left -= size;
    return true;
}

static int parse_entry(const uint8_t **at, size_t *left, struct bundle *bundle,
                       struct swi_error *error)
{
    struct bundle_file *file = &bundle->files[bundle->count];
    uint32_t length;
    if (!take(at, left, &length, sizeof length) ||
        !take(at, left, &file->size, sizeof file->size) || length > SWI_NAME_MAX ||
        !take(at, left, file->name, length))
        return bad(error, "its list of files is truncated");
    file->name[length] = 0;
    if (strlen(file->name) != length || !bundle_name_ok(file->name))
        return bad(error, "a file name is not plain");
    if (bundle_find(bundle, file->name))
        return bad(error, "it contains a file twice");
    bundle->count++;
    return 0;
}

int bundle_parse(const void *data, size_t size, struct bundle *ret, struct swi_error *error)
{
    const uint8_t *at = data;
    size_t left = size;
    char head[sizeof magic];
    uint32_t count;
    if (!take(&at, &left, head, sizeof head) || memcmp(head, magic, sizeof magic) != 0 ||
        !take(&at, &left, &count, sizeof count) || count > BUNDLE_FILES_MAX)
        return bad(error, "it does not start with the header of a bundle");
    struct bundle bundle = {.files = calloc(count + 1, sizeof *bundle.files)};
    if (!bundle.files)
        return swi_fail(error, -ENOMEM, "out of memory");
    int result = 0;
    for (uint32_t i = 0; result == 0 && i < count; i++)
        result = parse_entry(&at, &left, &bundle, error);
    for (uint32_t i = 0; result == 0 && i < count; i++) {
        struct bundle_file *file = &bundle.files[i];
        if (file->size > left) {
            result = bad(error, "its files are truncated");
            break;
        }
        file->bytes = at;
        at += file->size;
        left -= file->size;
    }
    if (result == 0 && left > 0)
        result = bad(error, "it has bytes after its last file");
    if (result == 0 && !bundle_find(&bundle, SWI_MANIFEST_FILE))
        result = bad(error, "it has no " SWI_MANIFEST_FILE);
    if (result < 0) {
        bundle_fini(&bundle);
        return result;
    }
    *ret = bundle;
    return 0;
}

static uint8_t *put(uint8_t *at, const void *data, size_t size)
{
    if (size > 0)
        memcpy(at, data, size);
    return at + size;
}

int bundle_render(const struct bundle *bundle, uint8_t **ret_data, size_t *ret_size,
                  struct swi_error *error)
{
    size_t size = HEAD_BYTES;
    if (bundle->count > BUNDLE_FILES_MAX)
        return swi_fail(error, SW_EFORMAT, "it has more than %u small files", BUNDLE_FILES_MAX);
    if (!bundle_find(bundle, SWI_MANIFEST_FILE))
        return swi_fail(error, SW_EFORMAT, "it has no " SWI_MANIFEST_FILE);
    for (uint32_t i = 0; i < bundle->count; i++) {
        const struct bundle_file *file = &bundle->files[i];
        if (!bundle_name_ok(file->name) || bundle_find(bundle, file->name) != file)
            return swi_fail(error, SW_EFORMAT, "%.64s: the name is not plain, or not unique",
                            file->name);
        if (__builtin_add_overflow(size, ENTRY_BYTES + strlen(file->name), &size) ||
            __builtin_add_overflow(size, file->size, &size))
            return swi_fail(error, -ENOMEM, "its small files are too large");
    }
    uint8_t *data = malloc(size);
    if (!data)
        return swi_fail(error, -ENOMEM, "out of memory");
    uint8_t *at = put(data, magic, sizeof magic);
    at = put(at, &bundle->count, sizeof bundle->count);
    for (uint32_t i = 0; i < bundle->count; i++) {
        const struct bundle_file *file = &bundle->files[i];
        uint32_t length = (uint32_t)strlen(file->name);
        at = put(at, &length, sizeof length);
        at = put(at, &file->size, sizeof file->size);
        at = put(at, file->name, length);
    }
    for (uint32_t i = 0; i < bundle->count; i++)
        at = put(at, bundle->files[i].bytes, bundle->files[i].size);
    *ret_data = data;
    *ret_size = size;
    return 0;
}
