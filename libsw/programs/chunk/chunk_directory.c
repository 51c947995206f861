/* SPDX-License-Identifier: MIT */
/* Reading chunk directories. */
#include "programs/chunk/chunk_directory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "programs/chunk/files.h"
#include "programs/chunk/source/kinds.h"

#define HASH_BYTES (1u << 20)

int chunk_directory_open(int directory, struct chunk_directory *ret, struct swi_error *error)
{
    struct chunk_directory chunks = {.directory = fcntl(directory, F_DUPFD_CLOEXEC, 3)};
    int result = chunks.directory < 0 ? swi_fail(error, -errno, "%s", strerrordesc_np(errno)) : 0;
    if (result == 0)
        result = swi_manifest_read(directory, &chunks.manifest, error);
    if (result == 0 && strcmp(chunks.manifest.model_type, "bert") != 0)
        result = swi_fail(error, SW_EUNSUPPORTED,
                          SWI_MANIFEST_FILE ": model_type is \"%.64s\"; only bert is supported",
                          chunks.manifest.model_type);
    if (result == 0)
        result = source_read_description(directory, &chunks.description, error);
    if (result == 0) {
        chunks.files = calloc(chunks.manifest.count, sizeof *chunks.files);
        result = chunks.files ? 0 : swi_fail(error, -ENOMEM, "out of memory");
    }
    if (result < 0) {
        chunk_directory_close(&chunks);
        return result;
    }
    for (size_t i = 0; i < chunks.manifest.count; i++)
        chunks.files[i].fd = -1;
    *ret = chunks;
    return 0;
}

void chunk_directory_close(struct chunk_directory *chunks)
{
    for (size_t i = 0; chunks->files && i < chunks->manifest.count; i++) {
        swi_safetensors_fini(&chunks->files[i].header);
        if (chunks->files[i].fd >= 0)
            (void)close(chunks->files[i].fd);
    }
    free(chunks->files);
    plan_fini(&chunks->plan);
    swi_description_fini(&chunks->description);
    swi_manifest_fini(&chunks->manifest);
    if (chunks->directory >= 0)
        (void)close(chunks->directory);
    *chunks = (struct chunk_directory){.directory = -1};
}

int chunk_directory_open_file(struct chunk_directory *chunks, size_t chunk, struct swi_error *error)
{
    const struct swi_manifest_chunk *entry = &chunks->manifest.chunks[chunk];
    struct chunk_file *file = &chunks->files[chunk];
    uint64_t bytes = 0;
    int fd = files_open(chunks->directory, entry->file, &bytes, error);
    if (fd < 0)
        return fd;
    int result = 0;
    if (bytes != entry->bytes)
        result = swi_fail(error, SW_EFORMAT, "%s: %llu bytes, but " SWI_MANIFEST_FILE " says %llu",
                          entry->file, (unsigned long long)bytes, (unsigned long long)entry->bytes);
    else if ((result = source_read_header(fd, bytes, &file->header, error)) < 0)
        (void)swi_fail_within(error, result, "%s: ", entry->file);
    if (result < 0) {
        (void)close(fd);
        return result;
    }
    file->fd = fd;
    return 0;
}

int chunk_directory_hash(struct chunk_directory *chunks, size_t chunk, struct progress *progress,
                         struct swi_error *error)
{
    const struct swi_manifest_chunk *entry = &chunks->manifest.chunks[chunk];
    swi_hasher *hasher = swi_hasher_create();
    char *buffer = malloc(HASH_BYTES);
    int result = hasher && buffer ? 0 : swi_fail(error, -ENOMEM, "out of memory");
    for (uint64_t at = 0; at < entry->bytes && result == 0;) {
        size_t size = entry->bytes - at < HASH_BYTES ? (size_t)(entry->bytes - at) : HASH_BYTES;
        result = files_pread(chunks->files[chunk].fd, buffer, size, at);
        if (result < 0) {
            (void)swi_fail(error, result, "%s: %s", entry->file, sw_strerror(result));
            break;
        }
        swi_hasher_update(hasher, buffer, size);
        at += size;
        result = progress_advance(progress, size);
    }
    if (result == 0 && !swi_digest_equal(swi_hasher_digest(hasher), entry->digest))
        result = swi_fail(error, SW_EDIGEST,
                          "%s: its bytes do not match the digest in " SWI_MANIFEST_FILE
                          "; import the model again",
                          entry->file);
    free(buffer);
    swi_hasher_destroy(hasher);
    return result;
}

/* ---- against the plan ------------------------------------------------------------------------ */

static const struct swi_tensor *find(const struct chunk_directory *chunks, const char *chunk,
                                     const char *tensor)
{
    for (size_t i = 0; i < chunks->manifest.count; i++)
        if (strcmp(chunks->manifest.chunks[i].name, chunk) == 0)
            return swi_safetensors_find(&chunks->files[i].header, tensor);
    return NULL;
}

/* Rows of a weight of the head, read off its bias, which has the same length in every layout. */
static uint32_t rows_of(const struct chunk_directory *chunks, const char *bias)
{
    const struct swi_tensor *tensor = find(chunks, "head", bias);
    return tensor && tensor->rank == 1 && tensor->shape[0] <= 1u << 20 ? (uint32_t)tensor->shape[0]
                                                                       : 0;
}

static void find_features(struct chunk_directory *chunks)
{
    chunks->features = (struct model_features){
        .pooler = find(chunks, "pooler", "dense.weight") != NULL,
        .mlm = find(chunks, "head", "cls.predictions.bias") != NULL,
        .mlm_decoder = find(chunks, "head", "cls.predictions.decoder.weight") != NULL,
        .next_sentence = find(chunks, "head", "cls.seq_relationship.bias") != NULL,
        .labels = rows_of(chunks, "classifier.bias"),
        .spans = rows_of(chunks, "qa_outputs.bias"),
        .modules = &chunks->description.modules,
    };
}

static enum sw_dtype dtype_named(const char *name)
{
    return strcmp(name, "F32") == 0   ? SW_DTYPE_F32
           : strcmp(name, "F16") == 0 ? SW_DTYPE_F16
                                      : SW_DTYPE_BF16;
}

int chunk_directory_plan(struct chunk_directory *chunks, struct swi_error *error)
{
    const struct swi_manifest *manifest = &chunks->manifest;
    /* the manifest's parser has seen to it that both are known names */
    struct chunk_format format = {
        .layout = strcmp(manifest->layout, "panel") == 0 ? SW_LAYOUT_PANEL : SW_LAYOUT_ROWS,
        .dtype = dtype_named(manifest->dtype),
    };
    find_features(chunks);
    int result =
        plan_make(&chunks->description.config, &chunks->features, format, &chunks->plan, error);
    if (result < 0)
        return result;
    if (manifest->num_layers != chunks->description.config.layers)
        return swi_fail(error, SW_EFORMAT,
                        SWI_MANIFEST_FILE ": %u layers, but " SWI_CONFIG_FILE " has %u",
                        manifest->num_layers, chunks->description.config.layers);
    for (size_t i = 0; i < manifest->count || i < chunks->plan.count; i++) {
        const char *has = i < manifest->count ? manifest->chunks[i].name : "nothing";
        const char *wants = i < chunks->plan.count ? chunks->plan.chunks[i].name : "nothing";
        if (strcmp(has, wants) != 0)
            return swi_fail(error, SW_EFORMAT,
                            SWI_MANIFEST_FILE ": chunk %zu is %s, but " SWI_CONFIG_FILE
                                              " requires %s there",
                            i, has, wants);
    }
    return 0;
}

static int check_tensor(const struct swi_tensor *has, const struct plan_tensor *wants,
                        struct swi_error *error)
{
    if (!has)
        return swi_fail(error, SW_EFORMAT, "tensor %s is missing", wants->name);
    if (has->dtype != wants->dtype)
        return swi_fail(error, SW_EFORMAT, "tensor %s is %s, expected %s", wants->name,
                        sw_dtype_name(has->dtype), sw_dtype_name(wants->dtype));
    if (has->rank != wants->rank ||
        memcmp(has->shape, wants->shape, has->rank * sizeof has->shape[0]) != 0)
        return swi_fail(error, SW_EFORMAT,
                        "tensor %s has another shape than " SWI_CONFIG_FILE " requires",
                        wants->name);
    if (has->offset % SWI_TENSOR_ALIGN != 0)
        return swi_fail(error, SW_EFORMAT, "tensor %s does not start on a %u-byte boundary",
                        wants->name, SWI_TENSOR_ALIGN);
    return 0;
}

static int check_metadata(const struct swi_safetensors *header, const char *key, const char *wants,
                          struct swi_error *error)
{
    const char *has = swi_safetensors_metadata(header, key);
    if (!has || strcmp(has, wants) != 0)
        return swi_fail(error, SW_EFORMAT, "its %s is %.64s, expected %.64s", key,
                        has ? has : "missing", wants);
    return 0;
}

static int check_chunk(const struct chunk_directory *chunks, const struct plan_chunk *wants,
                       const struct swi_safetensors *has, struct swi_error *error)
{
    if (has->data_offset % SWI_DATA_ALIGN != 0)
        return swi_fail(error, SW_EFORMAT, "its data does not start on a %u-byte boundary",
                        SWI_DATA_ALIGN);
    if (has->count != wants->count)
        return swi_fail(error, SW_EFORMAT, "%zu tensors, expected %zu", has->count, wants->count);
    int result = check_metadata(has, "component", wants->name, error);
    if (result == 0)
        result = check_metadata(has, "layout", chunks->manifest.layout, error);
    if (result == 0)
        result = check_metadata(has, "dtype", chunks->manifest.dtype, error);
    char first[24], rows[24];
    (void)snprintf(first, sizeof first, "%llu", (unsigned long long)wants->first_row);
    (void)snprintf(rows, sizeof rows, "%llu", (unsigned long long)wants->rows);
    if (result == 0 && wants->block)
        result = check_metadata(has, "first_row", first, error);
    if (result == 0 && wants->block)
        result = check_metadata(has, "rows", rows, error);
    for (size_t i = 0; i < wants->count && result == 0; i++)
        result = check_tensor(swi_safetensors_find(has, wants->tensors[i].name), &wants->tensors[i],
                              error);
    return result;
}

int chunk_directory_check(const struct chunk_directory *chunks, size_t chunk,
                          struct swi_error *error)
{
    int result =
        check_chunk(chunks, &chunks->plan.chunks[chunk], &chunks->files[chunk].header, error);
    if (result < 0)
        (void)swi_fail_within(error, result, "%s: ", chunks->manifest.chunks[chunk].file);
    return result;
}

const struct swi_tensor *chunk_directory_tensor(const struct chunk_directory *chunks, size_t chunk,
                                                size_t tensor)
{
    return swi_safetensors_find(&chunks->files[chunk].header,
                                chunks->plan.chunks[chunk].tensors[tensor].name);
}
