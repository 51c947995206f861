/* SPDX-License-Identifier: MIT */
/* A Hugging Face directory: config.json and safetensors, one file or shards with an index.
 *
 * Files are read with pread, not mapped: one that shrinks meanwhile is then an error and not a
 * SIGBUS.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/half.h"
#include "core/json.h"
#include "core/manifest.h"
#include "programs/chunk/files.h"
#include "programs/chunk/source/kinds.h"

#define SHARDS_MAX      1024u
#define INDEX_BYTES_MAX (64u << 20)
#define FIRST_READ      (64u << 10) /* of a shard: most headers fit */

struct shard {
    char *file;
    int fd;
    struct swi_safetensors header;
};

struct hf_source {
    struct source base;
    int weights;          /* the directory of the shards */
    struct shard *shards; /* [shard_count] */
    size_t shard_count;
};

/* ---- elements -------------------------------------------------------------------------------- */

void *source_narrow_part(float *out, uint64_t count, enum sw_dtype dtype)
{
    return (char *)out + count * (sizeof *out - sw_dtype_size(dtype));
}

/* Front to back: element i is read from byte 2(count + i) before byte 4i is written, and 4i ≤
 * 2(count + i). */
void source_widen(float *out, uint64_t count, enum sw_dtype dtype)
{
    const char *narrow = source_narrow_part(out, count, dtype);
    if (dtype == SW_DTYPE_F32)
        return;
    for (uint64_t i = 0; i < count; i++) {
        uint16_t element;
        memcpy(&element, narrow + 2 * i, sizeof element);
        out[i] = dtype == SW_DTYPE_F16 ? swi_f16_to_f32(element) : swi_bf16_to_f32(element);
    }
}

static float f8_to_f32(uint8_t bits, enum source_element element)
{
    if (element == ELEMENT_F8_E5M2) /* the upper half of an F16 */
        return swi_f16_to_f32((uint16_t)(bits << 8));
    int exponent = bits >> 3 & 15, fraction = bits & 7;
    float value = exponent == 15 && fraction == 7 ? NAN
                  : exponent                      ? ldexpf((float)(8 + fraction), exponent - 10)
                                                  : ldexpf((float)fraction, -9);
    return bits & 0x80 ? -value : value;
}

void source_convert(float *out, const void *raw, uint64_t count, const struct source_tensor *tensor)
{
    const char *from = raw;
    for (uint64_t i = 0; i < count; i++) {
        double wide;
        uint16_t half;
        if (tensor->element == ELEMENT_F64) {
            memcpy(&wide, from + 8 * i, sizeof wide);
            out[i] = (float)wide;
        } else if (tensor->element != ELEMENT_DTYPE) {
            out[i] = f8_to_f32((uint8_t)from[i], tensor->element);
        } else if (tensor->dtype == SW_DTYPE_F32) {
            memcpy(&out[i], from + 4 * i, sizeof *out);
        } else {
            memcpy(&half, from + 2 * i, sizeof half);
            out[i] = tensor->dtype == SW_DTYPE_F16 ? swi_f16_to_f32(half) : swi_bf16_to_f32(half);
        }
    }
}

/* Only of tensors that refuse_integers has let pass. */
static size_t element_bytes(const struct source_tensor *tensor)
{
    return tensor->element == ELEMENT_DTYPE ? sw_dtype_size(tensor->dtype)
           : tensor->element == ELEMENT_F64 ? 8
                                            : 1;
}

static int hf_read(struct source *base, const struct source_tensor *tensor, uint64_t first,
                   uint64_t count, float *out, struct swi_error *error)
{
    struct hf_source *source = (struct hf_source *)base;
    size_t size = element_bytes(tensor);
    int result = 0;
    while (count > 0 && result == 0) {
        char raw[65536];
        uint64_t step = count < sizeof raw / size ? count : sizeof raw / size;
        result = files_pread(source->shards[tensor->shard].fd, raw, step * size,
                             tensor->offset + first * size);
        if (result == 0)
            source_convert(out, raw, step, tensor);
        first += step;
        count -= step;
        out += step;
    }
    return result < 0 ? source_fail(base, tensor, result, error, ": cannot read it: %s",
                                    sw_strerror(result))
                      : 0;
}

static void hf_close(struct source *base)
{
    struct hf_source *source = (struct hf_source *)base;
    for (size_t i = 0; i < source->shard_count; i++) {
        swi_safetensors_fini(&source->shards[i].header);
        free(source->shards[i].file);
        if (source->shards[i].fd >= 0)
            (void)close(source->shards[i].fd);
    }
    free(source->shards);
    if (source->weights >= 0)
        (void)close(source->weights);
    source_fini(base);
    free(source);
}

static const struct source_ops hf_ops = {.read = hf_read, .close = hf_close};

/* ---- shards ---------------------------------------------------------------------------------- */

int source_read_header(int fd, uint64_t file_bytes, struct swi_safetensors *ret,
                       struct swi_error *error)
{
    uint64_t want = file_bytes < FIRST_READ ? file_bytes : FIRST_READ;
    for (;;) {
        char *bytes = malloc((size_t)want + 1);
        if (!bytes)
            return swi_fail(error, -ENOMEM, "out of memory");
        uint64_t needed = 0;
        int result = files_pread(fd, bytes, (size_t)want, 0);
        if (result < 0)
            (void)swi_fail(error, result, "%s", sw_strerror(result));
        else
            result =
                swi_safetensors_parse_foreign(bytes, (size_t)want, file_bytes, ret, &needed, error);
        free(bytes);
        if (result != -EAGAIN || needed <= want)
            return result;
        want = needed; /* at most 8 + SWI_HEADER_MAX, and inside the file */
    }
}

static enum source_element element_of(const char *dtype)
{
    return !*dtype                         ? ELEMENT_DTYPE
           : strcmp(dtype, "F64") == 0     ? ELEMENT_F64
           : strcmp(dtype, "F8_E4M3") == 0 ? ELEMENT_F8_E4M3
           : strcmp(dtype, "F8_E5M2") == 0 ? ELEMENT_F8_E5M2
                                           : ELEMENT_OTHER;
}

static int open_shard(struct hf_source *source, const char *file, struct swi_error *error)
{
    struct shard *shard = &source->shards[source->shard_count];
    uint64_t bytes = 0;
    shard->fd = files_open(source->weights, file, &bytes, error);
    if (shard->fd < 0)
        return shard->fd;
    shard->file = strdup(file);
    source->shard_count++;
    if (!shard->file)
        return swi_fail(error, -ENOMEM, "out of memory");
    int result = files_check(shard->fd, file, error);
    if (result < 0)
        return result;
    result = source_read_header(shard->fd, bytes, &shard->header, error);
    if (result < 0)
        return swi_fail_within(error, result, "%s: ", file);
    for (size_t i = 0; i < shard->header.count; i++) {
        const struct swi_tensor *from = &shard->header.tensors[i];
        struct source_tensor tensor = {.file = shard->file,
                                       .dtype = from->dtype,
                                       .element = element_of(from->foreign_dtype),
                                       .type = *from->foreign_dtype ? from->foreign_dtype : NULL,
                                       .rank = from->rank,
                                       .shard = source->shard_count - 1,
                                       .offset = from->offset};
        memcpy(tensor.shape, from->shape, sizeof tensor.shape);
        result = source_add(&source->base, &tensor, from->name, error);
        if (result < 0)
            return result;
    }
    return 0;
}

static struct shard *find_shard(struct hf_source *source, const char *file)
{
    for (size_t i = 0; i < source->shard_count; i++)
        if (strcmp(source->shards[i].file, file) == 0)
            return &source->shards[i];
    return NULL;
}

/* One line of the index's map: opens the shard when it is new, and checks that the tensor is in it.
 */
static int open_mapped(struct hf_source *source, const char *name, const char *file,
                       struct swi_error *error)
{
    if (!file || !swi_manifest_name_ok(file))
        return swi_fail(error, SW_EFORMAT, HF_INDEX_FILE ": tensor %.200s: not a plain file name",
                        name);
    struct shard *shard = find_shard(source, file);
    if (!shard) {
        if (source->shard_count == SHARDS_MAX)
            return swi_fail(error, SW_EFORMAT, HF_INDEX_FILE ": more than %u shards", SHARDS_MAX);
        int result = open_shard(source, file, error);
        if (result < 0)
            return result;
        shard = &source->shards[source->shard_count - 1];
    }
    if (!swi_safetensors_find(&shard->header, name))
        return swi_fail(error, SW_EFORMAT,
                        "%s: tensor %.200s is missing; " HF_INDEX_FILE " lists it", file, name);
    return 0;
}

static int open_index(struct hf_source *source, struct swi_error *error)
{
    char *text;
    size_t size;
    int result = files_read(source->weights, HF_INDEX_FILE, INDEX_BYTES_MAX, &text, &size, error);
    if (result < 0)
        return result;
    json_t *root;
    result = swi_json_read_object(HF_INDEX_FILE, text, size, &root, error);
    free(text);
    if (result < 0)
        return result;
    json_t *map = json_object_get(root, "weight_map");
    if (json_object_size(map) == 0 || json_object_size(map) > SWI_TENSORS_MAX)
        result = swi_fail(error, SW_EFORMAT,
                          HF_INDEX_FILE ": \"weight_map\" is missing, empty or too long");
    const char *name;
    json_t *file;
    if (result == 0)
        json_object_foreach(map, name, file)
        {
            result = open_mapped(source, name, json_string_value(file), error);
            if (result < 0)
                break;
        }
    json_decref(root);
    return result;
}

static int open_all(struct hf_source *source, struct swi_error *error)
{
    source->shards = calloc(SHARDS_MAX, sizeof *source->shards);
    if (!source->shards)
        return swi_fail(error, -ENOMEM, "out of memory");
    /* where both are there, the one file is what Hugging Face's loader takes */
    if (faccessat(source->weights, HF_WEIGHTS_FILE, F_OK, 0) == 0)
        return open_shard(source, HF_WEIGHTS_FILE, error);
    return open_index(source, error);
}

int source_hf_open(int directory, struct source **ret, struct swi_error *error)
{
    struct hf_source *source = calloc(1, sizeof *source);
    if (!source)
        return swi_fail(error, -ENOMEM, "out of memory");
    source->base.ops = &hf_ops;
    source->base.directory = -1;
    source->weights = fcntl(directory, F_DUPFD_CLOEXEC, 3);
    int result = source->weights < 0 ? swi_fail(error, -errno, "%s", strerrordesc_np(errno))
                                     : open_all(source, error);
    if (result < 0) {
        hf_close(&source->base);
        return result;
    }
    *ret = &source->base;
    return 0;
}
