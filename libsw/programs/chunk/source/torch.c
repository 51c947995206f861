/* SPDX-License-Identifier: MIT */
/* Models saved by torch: pytorch_model.bin (or shards with an index) of Hugging Face, and the older
 * program's chunk directories, one .pt file for each component. Weights only, through a reader that
 * executes nothing. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/json.h"
#include "core/manifest.h"
#include "programs/chunk/files.h"
#include "programs/chunk/source/kinds.h"
#include "programs/chunk/source/torch_archive.h"

#define INDEX_BYTES_MAX (64u << 20)
#define ARCHIVES_MAX    4096u

struct archive {
    char *file;
    struct torch_archive *torch;
};

struct torch_source {
    struct source base;
    int weights;              /* the directory of the archives */
    struct archive *archives; /* [archive_count] */
    size_t archive_count;
    char *strided; /* of the tensor below */
    const struct pickle_tensor *strided_of;
};

/* The elements from a strided tensor's first to its last, read whole and kept: they are needed in
 * another order than they lie in. */
static int load_strided(struct torch_source *source, const struct source_tensor *tensor,
                        const struct pickle_tensor *from, struct swi_error *error)
{
    if (source->strided_of == from)
        return 0;
    uint64_t bytes = from->extent * from->element_bytes;
    free(source->strided);
    source->strided_of = NULL;
    source->strided = bytes <= SIZE_MAX ? malloc((size_t)bytes) : NULL;
    if (!source->strided)
        return swi_fail(error, -ENOMEM, "out of memory");
    int result = torch_archive_read(source->archives[tensor->shard].torch, from, 0, bytes,
                                    source->strided, error);
    if (result == 0)
        source->strided_of = from;
    return result;
}

/* Gathers elements first … of a strided tensor, row-major, each element_bytes wide. */
static void gather(const char *strided, const struct pickle_tensor *from, uint64_t first,
                   uint64_t count, char *out)
{
    for (uint64_t i = 0; i < count; i++) {
        uint64_t rest = first + i, at = 0;
        for (uint32_t axis = from->rank; axis-- > 0;) {
            at += rest % from->shape[axis] * from->stride[axis];
            rest /= from->shape[axis];
        }
        memcpy(out + i * from->element_bytes, strided + at * from->element_bytes,
               from->element_bytes);
    }
}

static int torch_read(struct source *base, const struct source_tensor *tensor, uint64_t first,
                      uint64_t count, float *out, struct swi_error *error)
{
    struct torch_source *source = (struct torch_source *)base;
    struct torch_archive *torch = source->archives[tensor->shard].torch;
    const struct pickle_tensor *from = &torch_archive_tensors(torch)->tensors[tensor->offset];
    struct swi_error inner = {0};
    int result = from->strided ? load_strided(source, tensor, from, &inner) : 0;
    while (count > 0 && result == 0) {
        char raw[16384];
        uint64_t most = sizeof raw / from->element_bytes, step = count < most ? count : most;
        if (from->strided)
            gather(source->strided, from, first, step, raw);
        else
            result = torch_archive_read(torch, from, first * from->element_bytes,
                                        step * from->element_bytes, raw, &inner);
        source_convert(out, raw, step, tensor);
        first += step;
        count -= step;
        out += step;
    }
    return result < 0 ? source_fail(base, tensor, result, error, ": %s", inner.text) : 0;
}

static void torch_close(struct source *base)
{
    struct torch_source *source = (struct torch_source *)base;
    for (size_t i = 0; i < source->archive_count; i++) {
        torch_archive_close(source->archives[i].torch);
        free(source->archives[i].file);
    }
    free(source->archives);
    free(source->strided);
    if (source->weights >= 0)
        (void)close(source->weights);
    source_fini(base);
    free(source);
}

static const struct source_ops torch_ops = {.read = torch_read, .close = torch_close};

/* ---- archives -------------------------------------------------------------------------------- */

/* Adds the tensors of one more file; prefix goes in front of their names. */
static int add_archive(struct torch_source *source, const char *file, const char *prefix,
                       struct swi_error *error)
{
    if (source->archive_count == ARCHIVES_MAX)
        return swi_fail(error, SW_EFORMAT, "more than %u files", ARCHIVES_MAX);
    struct archive *archive = &source->archives[source->archive_count];
    int result = torch_archive_open(source->weights, file, &archive->torch, error);
    if (result < 0)
        return result;
    archive->file = strdup(file);
    source->archive_count++;
    if (!archive->file)
        return swi_fail(error, -ENOMEM, "out of memory");
    const struct pickle *pickle = torch_archive_tensors(archive->torch);
    for (size_t i = 0; i < pickle->count && result == 0; i++) {
        const struct pickle_tensor *from = &pickle->tensors[i];
        struct source_tensor tensor = {.file = archive->file,
                                       .dtype = from->dtype,
                                       .element = from->element,
                                       .type = from->element == ELEMENT_OTHER ? "integers" : NULL,
                                       .rank = from->rank,
                                       .shard = source->archive_count - 1,
                                       .offset = i};
        memcpy(tensor.shape, from->shape, sizeof tensor.shape);
        char *name = NULL;
        if (asprintf(&name, "%s%.*s", prefix, (int)from->name_length, from->name) < 0)
            return swi_fail(error, -ENOMEM, "out of memory");
        result = source_add(&source->base, &tensor, name, error);
        free(name);
    }
    return result;
}

static int compare_names(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

/* Each file that the index names, once. Whether all tensors are there is found out later, by the
 * plan. */
static int add_mapped(struct torch_source *source, const json_t *map, struct swi_error *error)
{
    size_t count = json_object_size(map);
    const char **files = calloc(count + 1, sizeof *files);
    if (!files)
        return swi_fail(error, -ENOMEM, "out of memory");
    int result = 0;
    size_t at = 0;
    const char *name;
    json_t *file;
    json_object_foreach((json_t *)(uintptr_t)map, name, file)
    {
        files[at] = json_string_value(file);
        if (!files[at] || !swi_manifest_name_ok(files[at])) {
            result = swi_fail(error, SW_EFORMAT,
                              TORCH_INDEX_FILE ": tensor %.200s: not a plain file name", name);
            break;
        }
        at++;
    }
    qsort(files, at, sizeof *files, compare_names);
    for (size_t i = 0; i < at && result == 0; i++)
        if (i == 0 || strcmp(files[i - 1], files[i]) != 0)
            result = add_archive(source, files[i], "", error);
    free(files);
    return result;
}

static int load_json(int directory, const char *file, json_t **ret, struct swi_error *error)
{
    char *text;
    size_t size;
    int result = files_read(directory, file, INDEX_BYTES_MAX, &text, &size, error);
    if (result < 0)
        return result;
    result = swi_json_read_object(file, text, size, ret, error);
    free(text);
    return result;
}

static int add_hugging_face(struct torch_source *source, struct swi_error *error)
{
    if (faccessat(source->weights, TORCH_WEIGHTS_FILE, F_OK, 0) == 0)
        return add_archive(source, TORCH_WEIGHTS_FILE, "", error);
    json_t *root;
    int result = load_json(source->weights, TORCH_INDEX_FILE, &root, error);
    if (result < 0)
        return result;
    const json_t *map = json_object_get(root, "weight_map");
    if (json_object_size(map) == 0 || json_object_size(map) > SWI_TENSORS_MAX)
        result = swi_fail(error, SW_EFORMAT,
                          TORCH_INDEX_FILE ": \"weight_map\" is missing, empty or too long");
    else
        result = add_mapped(source, map, error);
    json_decref(root);
    return result;
}

/* ---- the older program's chunks -------------------------------------------------------------- */

/* What a component's tensor names begin with in a checkpoint; false for a name that is none. */
static bool prefix_of(const char *component, char *ret, size_t size)
{
    unsigned layer;
    int end = 0;
    if (strcmp(component, "embeddings") == 0 || strcmp(component, "pooler") == 0)
        (void)snprintf(ret, size, "%s.", component);
    else if (sscanf(component, "layer_%4u%n", &layer, &end) == 1 && component[end] == 0)
        (void)snprintf(ret, size, "encoder.layer.%u.", layer);
    else
        return false;
    return true;
}

static int add_component(struct torch_source *source, const char *name, const json_t *value,
                         struct swi_error *error)
{
    char prefix[64];
    const char *file = json_string_value(json_object_get(value, "file"));
    if (!prefix_of(name, prefix, sizeof prefix))
        return swi_fail(error, SW_EUNSUPPORTED,
                        SWI_MANIFEST_FILE ": chunk %.64s is neither embeddings, layer_N nor pooler",
                        name);
    if (!file || !swi_manifest_name_ok(file))
        return swi_fail(error, SW_EFORMAT, SWI_MANIFEST_FILE ": chunk %.64s: not a plain file name",
                        name);
    return add_archive(source, file, prefix, error);
}

static int add_older_chunks(struct torch_source *source, struct swi_error *error)
{
    json_t *root;
    int result = load_json(source->weights, SWI_MANIFEST_FILE, &root, error);
    if (result < 0)
        return result;
    json_t *chunks = json_object_get(root, "chunks"), *value;
    const char *name;
    if (json_object_size(chunks) == 0)
        result = swi_fail(error, SW_EFORMAT, SWI_MANIFEST_FILE ": \"chunks\" is missing or empty");
    json_object_foreach(chunks, name, value)
    {
        result = add_component(source, name, value, error);
        if (result < 0)
            break;
    }
    json_decref(root);
    return result;
}

/* ---- opening --------------------------------------------------------------------------------- */

static int open_all(struct torch_source *source, bool older_chunks, struct swi_error *error)
{
    source->archives = calloc(ARCHIVES_MAX, sizeof *source->archives);
    if (!source->archives)
        return swi_fail(error, -ENOMEM, "out of memory");
    return older_chunks ? add_older_chunks(source, error) : add_hugging_face(source, error);
}

int source_torch_open(int directory, bool older_chunks, struct source **ret,
                      struct swi_error *error)
{
    struct torch_source *source = calloc(1, sizeof *source);
    if (!source)
        return swi_fail(error, -ENOMEM, "out of memory");
    source->base.ops = &torch_ops;
    source->base.directory = -1;
    source->weights = fcntl(directory, F_DUPFD_CLOEXEC, 3);
    int result = source->weights < 0 ? swi_fail(error, -errno, "%s", strerrordesc_np(errno))
                                     : open_all(source, older_chunks, error);
    if (result < 0) {
        torch_close(&source->base);
        return result;
    }
    *ret = &source->base;
    return 0;
}
