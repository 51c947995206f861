/* SPDX-License-Identifier: MIT */
/* Reads and writes safetensors headers. Pure functions on memory; jansson parses the JSON.
 *
 * Headers are untrusted: each number is checked against the file's real length and against the
 * others before it is used. This file does not read, map or write files.
 */
#include "core/safetensors.h"

#include <endian.h>
#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX_BYTES 8u /* the length before the header */
#define METADATA_KEY "__metadata__"
#define FILLER_DTYPE "U8"

/* ---- reading --------------------------------------------------------------------------------- */

static bool is_filler_name(const char *name)
{
    return strncmp(name, SWI_FILLER_PREFIX, strlen(SWI_FILLER_PREFIX)) == 0;
}

/* A tensor as the header describes it, with offsets from the start of the data. */
struct claim {
    struct swi_tensor tensor;
    bool filler;
};

static bool dtype_of(const char *name, enum sw_dtype *ret)
{
    static const enum sw_dtype known[] = {SW_DTYPE_F32, SW_DTYPE_F16, SW_DTYPE_BF16, SW_DTYPE_I64};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(name, sw_dtype_name(known[i])) == 0) {
            *ret = known[i];
            return true;
        }
    return false;
}

static bool natural(const json_t *value, uint64_t *ret)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return false;
    *ret = (uint64_t)json_integer_value(value);
    return true;
}

/* Bytes of shape × element_bytes; false on overflow. */
static bool bytes_of(const struct swi_tensor *tensor, uint64_t element_bytes, uint64_t *ret)
{
    uint64_t bytes = element_bytes;
    for (uint32_t i = 0; i < tensor->rank; i++)
        if (__builtin_mul_overflow(bytes, tensor->shape[i], &bytes))
            return false;
    *ret = bytes;
    return true;
}

static int read_shape(const char *name, const json_t *shape, struct swi_tensor *tensor,
                      struct swi_error *error)
{
    if (!json_is_array(shape))
        return swi_fail(error, SW_EFORMAT, "tensor %s: \"shape\" is missing or not an array", name);
    size_t rank = json_array_size(shape);
    if (rank > SW_RANK_MAX)
        return swi_fail(error, SW_EUNSUPPORTED, "tensor %s: rank %zu, at most %d is supported",
                        name, rank, SW_RANK_MAX);
    tensor->rank = (uint32_t)rank;
    for (size_t i = 0; i < rank; i++)
        if (!natural(json_array_get(shape, i), &tensor->shape[i]))
            return swi_fail(error, SW_EFORMAT, "tensor %s: \"shape\" must hold natural numbers",
                            name);
    return 0;
}

static int read_offsets(const char *name, const json_t *offsets, uint64_t data_bytes,
                        struct swi_tensor *tensor, struct swi_error *error)
{
    uint64_t start, end;
    if (!json_is_array(offsets) || json_array_size(offsets) != 2 ||
        !natural(json_array_get(offsets, 0), &start) || !natural(json_array_get(offsets, 1), &end))
        return swi_fail(error, SW_EFORMAT,
                        "tensor %s: \"data_offsets\" is not a pair of natural numbers", name);
    if (start > end || end > data_bytes)
        return swi_fail(error, SW_EFORMAT,
                        "tensor %s: offsets %llu … %llu are outside the file's %llu bytes of data; "
                        "the file may be truncated",
                        name, (unsigned long long)start, (unsigned long long)end,
                        (unsigned long long)data_bytes);
    tensor->offset = start;
    tensor->bytes = end - start;
    return 0;
}

/* Bytes of an element of a type that is read as a weight; 0: nobody needs to know. */
static uint64_t foreign_bytes(const char *dtype)
{
    return strcmp(dtype, "F64") == 0 ? 8 : strncmp(dtype, "F8_", 3) == 0 ? 1 : 0;
}

/* The name is set last: a claim without a name owns nothing. */
static int read_claim(const char *name, const json_t *value, uint64_t data_bytes, bool foreign,
                      struct claim *ret, struct swi_error *error)
{
    struct claim claim = {0};
    if (!json_is_object(value))
        return swi_fail(error, SW_EFORMAT, "tensor %s: its entry is not an object", name);
    const char *dtype = json_string_value(json_object_get(value, "dtype"));
    if (!dtype)
        return swi_fail(error, SW_EFORMAT, "tensor %s: \"dtype\" is missing or not a string", name);
    uint64_t element_bytes = 1;
    claim.filler = is_filler_name(name) && strcmp(dtype, FILLER_DTYPE) == 0;
    if (!claim.filler) {
        if (!dtype_of(dtype, &claim.tensor.dtype) && foreign) {
            claim.tensor.dtype = SW_DTYPE_I64;
            (void)snprintf(claim.tensor.foreign_dtype, sizeof claim.tensor.foreign_dtype, "%.11s",
                           dtype);
        } else if (!dtype_of(dtype, &claim.tensor.dtype))
            return swi_fail(error, SW_EUNSUPPORTED,
                            "tensor %s: dtype %.32s is not one of F32, F16, BF16, I64", name,
                            dtype);
        element_bytes =
            *claim.tensor.foreign_dtype ? foreign_bytes(dtype) : sw_dtype_size(claim.tensor.dtype);
    }
    int result = read_shape(name, json_object_get(value, "shape"), &claim.tensor, error);
    if (result == 0)
        result = read_offsets(name, json_object_get(value, "data_offsets"), data_bytes,
                              &claim.tensor, error);
    if (result < 0)
        return result;
    uint64_t expected;
    if (element_bytes > 0 &&
        (!bytes_of(&claim.tensor, element_bytes, &expected) || expected != claim.tensor.bytes))
        return swi_fail(error, SW_EFORMAT,
                        "tensor %s: %llu bytes of data do not match its shape and dtype", name,
                        (unsigned long long)claim.tensor.bytes);
    claim.tensor.name = strdup(name);
    if (!claim.tensor.name)
        return swi_fail(error, -ENOMEM, "out of memory");
    *ret = claim;
    return 0;
}

/* By offset; an empty tensor comes before one with the same offset. */
static int by_offset(const void *left, const void *right)
{
    const struct swi_tensor *a = &((const struct claim *)left)->tensor;
    const struct swi_tensor *b = &((const struct claim *)right)->tensor;
    if (a->offset != b->offset)
        return a->offset < b->offset ? -1 : 1;
    return (a->bytes > b->bytes) - (a->bytes < b->bytes);
}

static int check_cover(const struct claim *claims, size_t count, uint64_t data_bytes,
                       struct swi_error *error)
{
    uint64_t end = 0;
    for (size_t i = 0; i < count; i++) {
        const struct swi_tensor *tensor = &claims[i].tensor;
        if (tensor->offset < end)
            return swi_fail(error, SW_EFORMAT, "tensor %s overlaps tensor %s", tensor->name,
                            claims[i - 1].tensor.name);
        if (tensor->offset > end)
            return swi_fail(error, SW_EFORMAT, "a gap of %llu bytes before tensor %s",
                            (unsigned long long)(tensor->offset - end), tensor->name);
        end = tensor->offset + tensor->bytes;
    }
    if (end != data_bytes)
        return swi_fail(error, SW_EFORMAT, "%llu bytes after the last tensor belong to no tensor",
                        (unsigned long long)(data_bytes - end));
    return 0;
}

static int read_metadata(json_t *metadata, struct swi_safetensors *file, struct swi_error *error)
{
    if (!metadata)
        return 0;
    if (!json_is_object(metadata))
        return swi_fail(error, SW_EFORMAT, METADATA_KEY " is not an object");
    size_t size = json_object_size(metadata);
    file->metadata = calloc(size ? size : 1, sizeof *file->metadata);
    if (!file->metadata)
        return swi_fail(error, -ENOMEM, "out of memory");
    const char *key;
    json_t *value;
    json_object_foreach(metadata, key, value)
    {
        if (!json_is_string(value))
            return swi_fail(error, SW_EFORMAT,
                            METADATA_KEY ": the value of \"%.64s\" is not a string", key);
        struct swi_metadata *entry = &file->metadata[file->metadata_count++];
        entry->key = strdup(key);
        entry->value = strdup(json_string_value(value));
        if (!entry->key || !entry->value)
            return swi_fail(error, -ENOMEM, "out of memory");
    }
    return 0;
}

/* Moves the claims, in order of offset, to the file's tensors; a moved claim has no name. */
static int take_tensors(struct claim *claims, size_t count, struct swi_safetensors *file,
                        struct swi_error *error)
{
    file->tensors = calloc(count ? count : 1, sizeof *file->tensors);
    if (!file->tensors)
        return swi_fail(error, -ENOMEM, "out of memory");
    for (size_t i = 0; i < count; i++) {
        if (claims[i].filler)
            continue;
        struct swi_tensor *tensor = &file->tensors[file->count++];
        *tensor = claims[i].tensor;
        tensor->offset += file->data_offset;
        claims[i].tensor.name = NULL;
    }
    return 0;
}

static int read_header(json_t *header, uint64_t data_bytes, struct swi_safetensors *file,
                       struct swi_error *error)
{
    json_t *metadata = json_object_get(header, METADATA_KEY);
    size_t expected = json_object_size(header) - (metadata ? 1 : 0);
    if (expected > SWI_TENSORS_MAX)
        return swi_fail(error, SW_EFORMAT, "%zu tensors; at most %u are supported", expected,
                        SWI_TENSORS_MAX);
    struct claim *claims = calloc(expected ? expected : 1, sizeof *claims);
    if (!claims)
        return swi_fail(error, -ENOMEM, "out of memory");
    int result = 0;
    size_t count = 0;
    const char *name;
    json_t *value;
    json_object_foreach(header, name, value)
    {
        if (value == metadata)
            continue;
        result = read_claim(name, value, data_bytes, file->foreign, &claims[count], error);
        if (result < 0)
            break;
        count++;
    }
    if (result == 0) {
        qsort(claims, count, sizeof *claims, by_offset);
        result = check_cover(claims, count, data_bytes, error);
    }
    if (result == 0)
        result = take_tensors(claims, count, file, error);
    if (result == 0)
        result = read_metadata(metadata, file, error);
    for (size_t i = 0; i < count; i++)
        free(claims[i].tensor.name);
    free(claims);
    return result;
}

static int parse(const void *data, size_t available, uint64_t file_bytes, bool foreign,
                 struct swi_safetensors *ret, uint64_t *ret_needed, struct swi_error *error)
{
    uint64_t header_bytes;
    if (file_bytes < PREFIX_BYTES)
        return swi_fail(error, SW_EFORMAT, "%llu bytes are too few for a safetensors file",
                        (unsigned long long)file_bytes);
    if (available < PREFIX_BYTES) {
        if (ret_needed)
            *ret_needed = PREFIX_BYTES;
        return swi_fail(error, -EAGAIN, "the length of the header is missing");
    }
    memcpy(&header_bytes, data, sizeof header_bytes);
    header_bytes = le64toh(header_bytes);
    if (header_bytes > SWI_HEADER_MAX)
        return swi_fail(
            error, SW_EFORMAT,
            "a header of %llu bytes; at most %u are supported; is this a safetensors file?",
            (unsigned long long)header_bytes, SWI_HEADER_MAX);
    if (header_bytes > file_bytes - PREFIX_BYTES)
        return swi_fail(
            error, SW_EFORMAT,
            "a header of %llu bytes does not fit the file's %llu bytes; the file may be "
            "truncated",
            (unsigned long long)header_bytes, (unsigned long long)file_bytes);
    if (header_bytes > available - PREFIX_BYTES) {
        if (ret_needed)
            *ret_needed = PREFIX_BYTES + header_bytes;
        return swi_fail(error, -EAGAIN, "the header is incomplete");
    }
    json_error_t json_error;
    json_t *header = json_loadb((const char *)data + PREFIX_BYTES, (size_t)header_bytes,
                                JSON_REJECT_DUPLICATES, &json_error);
    if (!header)
        return swi_fail(error, SW_EFORMAT, "the header is not valid JSON: %s", json_error.text);
    struct swi_safetensors file = {.data_offset = PREFIX_BYTES + header_bytes, .foreign = foreign};
    int result = json_is_object(header)
                     ? read_header(header, file_bytes - file.data_offset, &file, error)
                     : swi_fail(error, SW_EFORMAT, "the header is not a JSON object");
    json_decref(header);
    if (result < 0) {
        swi_safetensors_fini(&file);
        return result;
    }
    *ret = file;
    return 0;
}

int swi_safetensors_parse(const void *data, size_t available, uint64_t file_bytes,
                          struct swi_safetensors *ret, uint64_t *ret_needed,
                          struct swi_error *error)
{
    return parse(data, available, file_bytes, false, ret, ret_needed, error);
}

int swi_safetensors_parse_foreign(const void *data, size_t available, uint64_t file_bytes,
                                  struct swi_safetensors *ret, uint64_t *ret_needed,
                                  struct swi_error *error)
{
    return parse(data, available, file_bytes, true, ret, ret_needed, error);
}

void swi_safetensors_fini(struct swi_safetensors *file)
{
    for (size_t i = 0; i < file->count; i++)
        free(file->tensors[i].name);
    for (size_t i = 0; i < file->metadata_count; i++) {
        free(file->metadata[i].key);
        free(file->metadata[i].value);
    }
    free(file->tensors);
    free(file->metadata);
    *file = (struct swi_safetensors){0};
}

const struct swi_tensor *swi_safetensors_find(const struct swi_safetensors *file, const char *name)
{
    for (size_t i = 0; i < file->count; i++)
        if (strcmp(file->tensors[i].name, name) == 0)
            return &file->tensors[i];
    return NULL;
}

const char *swi_safetensors_metadata(const struct swi_safetensors *file, const char *key)
{
    for (size_t i = 0; i < file->metadata_count; i++)
        if (strcmp(file->metadata[i].key, key) == 0)
            return file->metadata[i].value;
    return NULL;
}

/* ---- writing --------------------------------------------------------------------------------- */

/* Takes over `value`, also on failure. Fails if the name exists, which would lose a tensor. */
static int add_entry(json_t *header, const char *name, json_t *value, struct swi_error *error)
{
    if (!value)
        return swi_fail(error, -ENOMEM, "out of memory");
    if (json_object_get(header, name)) {
        json_decref(value);
        return swi_fail(error, SW_EFORMAT, "tensor %s appears twice", name);
    }
    if (json_object_set_new(header, name, value) < 0)
        return swi_fail(error, SW_EFORMAT, "tensor name %s is not valid UTF-8", name);
    return 0;
}

static json_t *entry_of(const char *dtype, const uint64_t *shape, uint32_t rank, uint64_t start,
                        uint64_t bytes)
{
    json_t *array = json_array();
    for (uint32_t i = 0; i < rank; i++)
        (void)json_array_append_new(array, json_integer((json_int_t)shape[i]));
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", dtype, "shape", array, "data_offsets",
                     (json_int_t)start, (json_int_t)(start + bytes));
}

/* Sets each tensor's offset from the start of the data, and adds its entry and fillers. */
static int lay_out(struct swi_safetensors *file, uint32_t align_bytes, json_t *header,
                   uint64_t *ret_data_bytes, struct swi_error *error)
{
    uint64_t end = 0;
    unsigned fillers = 0;
    for (size_t i = 0; i < file->count; i++) {
        struct swi_tensor *tensor = &file->tensors[i];
        uint64_t gap = (align_bytes - end % align_bytes) % align_bytes;
        uint64_t after;
        if (is_filler_name(tensor->name) || strcmp(tensor->name, METADATA_KEY) == 0)
            return swi_fail(error, SW_EFORMAT, "tensor name %s is reserved", tensor->name);
        if (!bytes_of(tensor, sw_dtype_size(tensor->dtype), &tensor->bytes) ||
            __builtin_add_overflow(end + gap, tensor->bytes, &after) || after > INT64_MAX - 4096)
            return swi_fail(error, SW_EFORMAT, "tensor %s: its size overflows", tensor->name);
        int result = 0;
        if (gap) {
            char name[32];
            (void)snprintf(name, sizeof name, SWI_FILLER_PREFIX "%u__", fillers++);
            result = add_entry(header, name, entry_of(FILLER_DTYPE, &gap, 1, end, gap), error);
        }
        tensor->offset = end + gap;
        if (result == 0)
            result = add_entry(header, tensor->name,
                               entry_of(sw_dtype_name(tensor->dtype), tensor->shape, tensor->rank,
                                        tensor->offset, tensor->bytes),
                               error);
        if (result < 0)
            return result;
        end = after;
    }
    *ret_data_bytes = end;
    return 0;
}

static int add_metadata(const struct swi_safetensors *file, json_t *header, struct swi_error *error)
{
    if (file->metadata_count == 0)
        return 0;
    json_t *metadata = json_object();
    for (size_t i = 0; i < file->metadata_count; i++)
        if (json_object_set_new(metadata, file->metadata[i].key,
                                json_string(file->metadata[i].value)) < 0) {
            json_decref(metadata);
            return swi_fail(error, SW_EFORMAT, METADATA_KEY ": %.64s is not valid UTF-8",
                            file->metadata[i].key);
        }
    return add_entry(header, METADATA_KEY, metadata, error);
}

/* Length prefix, JSON, and spaces up to the alignment of the data. */
static int pad_header(const json_t *header, char **ret_header, size_t *ret_size,
                      struct swi_error *error)
{
    char *text = json_dumps(header, JSON_COMPACT);
    if (!text)
        return swi_fail(error, -ENOMEM, "out of memory");
    size_t length = strlen(text);
    size_t size = (PREFIX_BYTES + length + SWI_DATA_ALIGN - 1) / SWI_DATA_ALIGN * SWI_DATA_ALIGN;
    char *bytes = size - PREFIX_BYTES <= SWI_HEADER_MAX ? malloc(size) : NULL;
    if (!bytes) {
        free(text);
        return size - PREFIX_BYTES > SWI_HEADER_MAX
                   ? swi_fail(error, SW_EFORMAT, "a header of %zu bytes; at most %u are supported",
                              size, SWI_HEADER_MAX)
                   : swi_fail(error, -ENOMEM, "out of memory");
    }
    uint64_t prefix = htole64(size - PREFIX_BYTES);
    memcpy(bytes, &prefix, sizeof prefix);
    memcpy(bytes + PREFIX_BYTES, text, length);
    memset(bytes + PREFIX_BYTES + length, ' ', size - PREFIX_BYTES - length);
    free(text);
    *ret_header = bytes;
    *ret_size = size;
    return 0;
}

int swi_safetensors_render(struct swi_safetensors *file, uint32_t align_bytes, char **ret_header,
                           size_t *ret_size, uint64_t *ret_file_bytes, struct swi_error *error)
{
    json_t *header = json_object();
    if (!header)
        return swi_fail(error, -ENOMEM, "out of memory");
    uint64_t data_bytes = 0;
    int result = add_metadata(file, header, error);
    if (result == 0)
        result = lay_out(file, align_bytes, header, &data_bytes, error);
    if (result == 0)
        result = pad_header(header, ret_header, ret_size, error);
    json_decref(header);
    if (result < 0)
        return result;
    file->data_offset = *ret_size;
    for (size_t i = 0; i < file->count; i++)
        file->tensors[i].offset += file->data_offset;
    *ret_file_bytes = file->data_offset + data_bytes;
    return 0;
}
