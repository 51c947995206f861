/* SPDX-License-Identifier: MIT */
/* Reads and writes chunk_info.json. Parsing is pure; only swi_manifest_read accesses a file.
 *
 * The manifest decides which files the broker opens, so names that could leave the directory are
 * refused here.
 */
#include "core/manifest.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/wire.h" /* SWI_NAME_MAX */

#define CHUNK_BYTES_MAX (1ull << 48)

bool swi_manifest_name_ok(const char *name)
{
    size_t length = strlen(name);
    if (length == 0 || length > SWI_NAME_MAX || name[0] == '.')
        return false;
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)name[i];
        if (byte < 0x20 || byte == 0x7f || byte == '/')
            return false;
    }
    return true;
}

/* Copies the string under key, or fails with a message. */
static int read_text(const json_t *object, const char *key, char **ret, struct swi_error *error)
{
    const char *text = json_string_value(json_object_get(object, key));
    if (!text || strlen(text) > SWI_NAME_MAX)
        return swi_fail(error, SW_EFORMAT, "\"%s\" is missing, not a string, or too long", key);
    *ret = strdup(text);
    return *ret ? 0 : swi_fail(error, -ENOMEM, "out of memory");
}

static int read_count(const json_t *object, const char *key, uint64_t most, uint64_t *ret,
                      struct swi_error *error)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        (uint64_t)json_integer_value(value) > most)
        return swi_fail(error, SW_EFORMAT, "\"%s\" must be a number from 0 to %llu", key,
                        (unsigned long long)most);
    *ret = (uint64_t)json_integer_value(value);
    return 0;
}

static int check_version(const json_t *root, struct swi_error *error)
{
    const json_t *version = json_object_get(root, "format_version");
    if (!version && json_object_get(root, "chunks"))
        return swi_fail(
            error, SW_EVERSION,
            "no format_version: these are chunks of the older program; convert them with "
            "\"swchunk import\"");
    if (!json_is_integer(version))
        return swi_fail(error, SW_EFORMAT, "\"format_version\" is missing or not a number");
    if (json_integer_value(version) != SWI_MANIFEST_VERSION)
        return swi_fail(error, SW_EVERSION,
                        "format_version is %lld, but this build reads %d; import the model again",
                        (long long)json_integer_value(version), SWI_MANIFEST_VERSION);
    return 0;
}

/* Puts a chunk at its ordinal; fails if an earlier chunk has the same one. */
static int read_chunk(const char *name, const json_t *value, struct swi_manifest *manifest,
                      struct swi_error *error)
{
    if (!swi_manifest_name_ok(name))
        return swi_fail(error, SW_EFORMAT, "chunk \"%.64s\": not a plain name", name);
    uint64_t ordinal = 0;
    int result = read_count(value, "ordinal", manifest->count - 1, &ordinal, error);
    if (result < 0)
        return swi_fail_within(error, result, "chunk \"%.64s\": ", name);
    struct swi_manifest_chunk *chunk = &manifest->chunks[ordinal];
    if (chunk->name)
        return swi_fail(error, SW_EFORMAT,
                        "chunk \"%.64s\" has ordinal %llu, and so does \"%.64s\"", name,
                        (unsigned long long)ordinal, chunk->name);
    chunk->name = strdup(name);
    if (!chunk->name)
        return swi_fail(error, -ENOMEM, "out of memory");
    result = read_text(value, "file", &chunk->file, error);
    if (result == 0 && !swi_manifest_name_ok(chunk->file))
        result = swi_fail(error, SW_EFORMAT, "\"file\" is not a plain file name");
    if (result == 0)
        result = read_count(value, "bytes", CHUNK_BYTES_MAX, &chunk->bytes, error);
    if (result == 0 && chunk->bytes == 0)
        result = swi_fail(error, SW_EFORMAT, "\"bytes\" is 0");
    if (result == 0) {
        const char *digest = json_string_value(json_object_get(value, "xxh3_128"));
        if (!digest || strlen(digest) != SWI_DIGEST_HEX - 1 ||
            !swi_digest_parse(digest, &chunk->digest))
            result = swi_fail(error, SW_EFORMAT, "\"xxh3_128\" is not 32 hex digits");
    }
    return result < 0 ? swi_fail_within(error, result, "chunk \"%.64s\": ", name) : 0;
}

static int compare_text(const void *left, const void *right)
{
    return strcmp(*(char *const *)left, *(char *const *)right);
}

/* Refuses two chunks with the same file. */
static int check_files(const struct swi_manifest *manifest, struct swi_error *error)
{
    const char **files = calloc(manifest->count, sizeof *files);
    if (!files)
        return swi_fail(error, -ENOMEM, "out of memory");
    for (size_t i = 0; i < manifest->count; i++)
        files[i] = manifest->chunks[i].file;
    qsort(files, manifest->count, sizeof *files, compare_text);
    int result = 0;
    for (size_t i = 1; i < manifest->count && result == 0; i++)
        if (strcmp(files[i - 1], files[i]) == 0)
            result = swi_fail(error, SW_EFORMAT, "two chunks name the file \"%.64s\"", files[i]);
    free(files);
    return result;
}

static int read_chunks(const json_t *root, struct swi_manifest *manifest, struct swi_error *error)
{
    json_t *chunks = json_object_get(root, "chunks");
    size_t count = json_object_size(chunks);
    if (count == 0 || count > SWI_MANIFEST_CHUNKS_MAX)
        return swi_fail(error, SW_EFORMAT,
                        "\"chunks\" is missing, empty, or holds more than %u chunks",
                        SWI_MANIFEST_CHUNKS_MAX);
    manifest->chunks = calloc(count, sizeof *manifest->chunks);
    if (!manifest->chunks)
        return swi_fail(error, -ENOMEM, "out of memory");
    manifest->count = count;
    const char *name;
    json_t *value;
    json_object_foreach(chunks, name, value)
    {
        int result = read_chunk(name, value, manifest, error);
        if (result < 0)
            return result;
    }
    for (size_t i = 0; i < count; i++)
        manifest->total_bytes += manifest->chunks[i].bytes; /* 4096 × 2^48 at most */
    return check_files(manifest, error);
}

static int read_root(const json_t *root, struct swi_manifest *manifest, struct swi_error *error)
{
    if (!json_is_object(root))
        return swi_fail(error, SW_EFORMAT, "it is not a JSON object");
    int result = check_version(root, error);
    if (result == 0)
        result = read_text(root, "model_name", &manifest->model_name, error);
    if (result == 0)
        result = read_text(root, "model_type", &manifest->model_type, error);
    if (result == 0)
        result = read_text(root, "layout", &manifest->layout, error);
    if (result == 0 && strcmp(manifest->layout, "rows") != 0 &&
        strcmp(manifest->layout, "panel") != 0)
        result = swi_fail(error, SW_EFORMAT, "\"layout\" must be rows or panel");
    if (result == 0)
        result = read_text(root, "dtype", &manifest->dtype, error);
    if (result == 0 && strcmp(manifest->dtype, "F32") != 0 && strcmp(manifest->dtype, "F16") != 0 &&
        strcmp(manifest->dtype, "BF16") != 0)
        result = swi_fail(error, SW_EFORMAT, "\"dtype\" must be F32, F16 or BF16");
    uint64_t layers = 0;
    if (result == 0)
        result = read_count(root, "num_layers", SWI_MANIFEST_LAYERS_MAX, &layers, error);
    manifest->num_layers = (uint32_t)layers;
    if (result == 0)
        result = read_chunks(root, manifest, error);
    uint64_t total = 0;
    if (result == 0)
        result = read_count(root, "total_bytes", INT64_MAX, &total, error);
    if (result == 0 && total != manifest->total_bytes)
        result = swi_fail(error, SW_EFORMAT, "\"total_bytes\" is not the sum of the chunks' bytes");
    return result;
}

int swi_manifest_parse(const void *json, size_t size, struct swi_manifest *ret,
                       struct swi_error *error)
{
    if (size > SWI_MANIFEST_MAX)
        return swi_fail(error, SW_EFORMAT, SWI_MANIFEST_FILE ": larger than %u bytes",
                        SWI_MANIFEST_MAX);
    json_error_t json_error;
    json_t *root = json_loadb(json, size, JSON_REJECT_DUPLICATES, &json_error);
    if (!root)
        return swi_fail(error, SW_EFORMAT, SWI_MANIFEST_FILE ": line %d: %s", json_error.line,
                        json_error.text);
    struct swi_manifest manifest = {0};
    int result = read_root(root, &manifest, error);
    json_decref(root);
    if (result < 0) {
        swi_manifest_fini(&manifest);
        return swi_fail_within(error, result, SWI_MANIFEST_FILE ": ");
    }
    *ret = manifest;
    return 0;
}

void swi_manifest_fini(struct swi_manifest *manifest)
{
    for (size_t i = 0; i < manifest->count; i++) {
        free(manifest->chunks[i].name);
        free(manifest->chunks[i].file);
    }
    free(manifest->chunks);
    free(manifest->model_name);
    free(manifest->model_type);
    free(manifest->layout);
    free(manifest->dtype);
    *manifest = (struct swi_manifest){0};
}

static double megabytes(uint64_t bytes)
{
    return (double)bytes / 0x1p20;
}

static json_t *render_chunk(const struct swi_manifest_chunk *chunk, size_t ordinal)
{
    char digest[SWI_DIGEST_HEX];
    swi_digest_format(chunk->digest, digest);
    return json_pack("{s:I, s:s, s:I, s:f, s:s}", "ordinal", (json_int_t)ordinal, "file",
                     chunk->file, "bytes", (json_int_t)chunk->bytes, "size_mb",
                     megabytes(chunk->bytes), "xxh3_128", digest);
}

int swi_manifest_render(const struct swi_manifest *manifest, char **ret_text)
{
    json_t *chunks = json_object();
    for (size_t i = 0; i < manifest->count; i++)
        if (json_object_set_new(chunks, manifest->chunks[i].name,
                                render_chunk(&manifest->chunks[i], i)) < 0) {
            json_decref(chunks);
            return SW_EFORMAT;
        }
    json_t *root = json_pack("{s:i, s:s, s:s, s:s, s:s, s:I, s:o, s:I, s:f}", "format_version",
                             SWI_MANIFEST_VERSION, "model_name", manifest->model_name, "model_type",
                             manifest->model_type, "layout", manifest->layout, "dtype",
                             manifest->dtype, "num_layers", (json_int_t)manifest->num_layers,
                             "chunks", chunks, "total_bytes", (json_int_t)manifest->total_bytes,
                             "total_size_mb", megabytes(manifest->total_bytes));
    if (!root)
        return SW_EFORMAT; /* json_pack has released chunks */
    char *text = json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(12));
    json_decref(root);
    if (!text)
        return -ENOMEM;
    *ret_text = text;
    return 0;
}

/* Reads from the start to the end or to `capacity`; -errno. */
static ssize_t read_all(int fd, char *bytes, size_t capacity)
{
    size_t size = 0;
    while (size < capacity) {
        ssize_t got = read(fd, bytes + size, capacity - size);
        if (got == 0)
            break;
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        size += (size_t)got;
    }
    return (ssize_t)size;
}

int swi_manifest_read(int directory, struct swi_manifest *ret, struct swi_error *error)
{
    /* O_NONBLOCK: opening a FIFO of that name must not hang */
    int fd = openat(directory, SWI_MANIFEST_FILE, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) {
        int code = -errno;
        return swi_fail(error, code, SWI_MANIFEST_FILE ": %s%s", sw_strerror(code),
                        code == -ENOENT ? "; is this a chunk directory?" : "");
    }
    struct stat status;
    char *bytes = NULL;
    int result = 0;
    if (fstat(fd, &status) < 0)
        result = swi_fail(error, -errno, SWI_MANIFEST_FILE ": %s", strerrordesc_np(errno));
    else if (!S_ISREG(status.st_mode))
        result = swi_fail(error, SW_EFORMAT, SWI_MANIFEST_FILE ": not a regular file");
    else if (status.st_size > (off_t)SWI_MANIFEST_MAX)
        result = swi_fail(error, SW_EFORMAT, SWI_MANIFEST_FILE ": larger than %u bytes",
                          SWI_MANIFEST_MAX);
    else if (!(bytes = malloc((size_t)status.st_size + 1)))
        result = swi_fail(error, -ENOMEM, "out of memory");
    if (result == 0) {
        ssize_t size = read_all(fd, bytes, (size_t)status.st_size + 1);
        result = size < 0
                     ? swi_fail(error, (int)size, SWI_MANIFEST_FILE ": %s", sw_strerror((int)size))
                     : swi_manifest_parse(bytes, (size_t)size, ret, error);
    }
    free(bytes);
    (void)close(fd);
    return result;
}
