/* SPDX-License-Identifier: MIT */
/* Source → blocks of rows → narrowed → panelled → hashed and written. */
#include "programs/chunk/write/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/half.h"
#include "core/manifest.h"
#include "core/panel.h"
#include "programs/chunk/files.h"

#define BLOCK_BYTES (4u << 20) /* of f32 rows held at a time, unless 16 rows need more */

/* A file on its way out. */
struct output {
    const struct writer *writer;
    const char *name; /* NULL: it is writer->out itself */
    int fd;

    swi_hasher *hasher;
    uint64_t position;
    float *rows;  /* [block rows, k] as read */
    char *narrow; /* the same in the stored dtype */
    char *panels; /* the same as panels */
};

/* -errno, with the file's path in front of what happened. */
static int fail_file(const struct writer *writer, const char *name, int code, const char *what,
                     struct swi_error *error)
{
    return swi_fail(error, code, "%s%s%s: %s: %s", writer->out, name ? "/" : "", name ? name : "",
                    what, sw_strerror(code));
}

static int put(struct output *out, const void *data, size_t size, struct swi_error *error)
{
    int result = files_write(out->fd, data, size);
    if (result < 0)
        return fail_file(out->writer, out->name, result, "cannot write it", error);

    swi_hasher_update(out->hasher, data, size);
    out->position += size;
    return 0;
}

static int put_zeros(struct output *out, uint64_t until, struct swi_error *error)
{
    static const char zeros[SWI_TENSOR_ALIGN];
    return out->position < until ? put(out, zeros, (size_t)(until - out->position), error) : 0;
}

/* ---- one block ------------------------------------------------------------------------------- */

/* Rows of a block: a multiple of the panel width, so that blocks of panels follow each other in the
 * file. */
static uint64_t block_rows(const struct plan_tensor *tensor)
{
    uint64_t rows = BLOCK_BYTES / (tensor->k * sizeof(float)) / SW_PANEL_WIDTH * SW_PANEL_WIDTH;
    if (rows < SW_PANEL_WIDTH)
        rows = SW_PANEL_WIDTH;
    uint64_t all = (tensor->n + SW_PANEL_WIDTH - 1) / SW_PANEL_WIDTH * SW_PANEL_WIDTH;
    return rows < all ? rows : all;
}

/* Says where in the checkpoint the value is, not where it would have gone. */
static int fail_value(const struct source *source, const struct plan_tensor *tensor,
                      uint64_t element, float value, struct swi_error *error)
{
    uint64_t row;
    const struct source_tensor *from = source_locate(source, tensor, element / tensor->k, &row);
    char at[64];
    if (tensor->vector)
        (void)snprintf(at, sizeof at, "[%llu]", (unsigned long long)row);
    else
        (void)snprintf(at, sizeof at, "[%llu, %llu]", (unsigned long long)row,
                       (unsigned long long)(element % tensor->k));
    if (!isfinite(value))
        return source_fail(source, from, SW_EFORMAT, error,
                           ": element %s is %s; the weights are broken", at,
                           isnan(value) ? "not a number" : "infinite");
    return source_fail(source, from, SW_EFORMAT, error,
                       ": element %s is %g, which overflows %s; import with --dtype %s", at,
                       (double)value, sw_dtype_name(tensor->dtype),
                       tensor->dtype == SW_DTYPE_F16 ? "bf16 or f32" : "f32");
}

/* First element that is not finite once narrowed, or count. */
static uint64_t narrow_f16(uint16_t *out, const float *in, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        out[i] = swi_f32_to_f16(in[i]);
        if ((out[i] & 0x7c00u) == 0x7c00u)
            return i;
    }
    return count;
}

static uint64_t narrow_bf16(uint16_t *out, const float *in, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        out[i] = swi_f32_to_bf16(in[i]);
        if ((out[i] & 0x7f80u) == 0x7f80u)
            return i;
    }
    return count;
}

static uint64_t narrow_f32(char *out, const float *in, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        if (!isfinite(in[i]))
            return i;
    memcpy(out, in, count * sizeof *in);
    return count;
}

static int narrow(struct output *out, const struct plan_tensor *tensor, uint64_t first,
                  uint64_t count, struct swi_error *error)
{
    uint64_t good;
    if (tensor->dtype == SW_DTYPE_F16)
        good = narrow_f16((uint16_t *)(void *)out->narrow, out->rows, count);
    else if (tensor->dtype == SW_DTYPE_BF16)
        good = narrow_bf16((uint16_t *)(void *)out->narrow, out->rows, count);
    else
        good = narrow_f32(out->narrow, out->rows, count);
    return good == count
               ? 0
               : fail_value(out->writer->source, tensor, first + good, out->rows[good], error);
}

static int put_block(struct output *out, const struct plan_tensor *tensor, uint64_t first,
                     uint64_t rows, struct swi_error *error)
{
    size_t size = sw_dtype_size(tensor->dtype);
    int result = source_read_rows(out->writer->source, tensor, first, rows, out->rows, error);
    if (result == 0)
        result = narrow(out, tensor, first * tensor->k, rows * tensor->k, error);
    if (result < 0)
        return result;
    const char *data = out->narrow;
    uint64_t bytes = rows * tensor->k * size;
    if (tensor->rank == 3) {
        swi_panel_from_rows(out->panels, out->narrow, rows, tensor->k, size);
        data = out->panels;
        bytes = swi_panel_elements(rows, tensor->k) * size;
    }
    result = put(out, data, (size_t)bytes, error);
    return result == 0 ? progress_advance(out->writer->progress, bytes) : result;
}

static int put_tensor(struct output *out, const struct plan_tensor *tensor, struct swi_error *error)
{
    uint64_t step = block_rows(tensor);
    for (uint64_t first = 0; first < tensor->n; first += step) {
        uint64_t rows = tensor->n - first < step ? tensor->n - first : step;
        int result = put_block(out, tensor, first, rows, error);
        if (result < 0)
            return result;
    }
    return 0;
}

/* ---- one file -------------------------------------------------------------------------------- */

/* The planned tensors as a header to be rendered; names are borrowed from the plan. */
static int header_of(const struct plan_tensor *tensors, size_t count,
                     const struct swi_metadata *metadata, size_t metadata_count,
                     struct swi_safetensors *ret, struct swi_error *error)
{
    struct swi_tensor *list = calloc(count, sizeof *list);
    if (!list)
        return swi_fail(error, -ENOMEM, "out of memory");
    for (size_t i = 0; i < count; i++) {
        list[i].name = (char *)(uintptr_t)tensors[i].name;
        list[i].dtype = tensors[i].dtype;
        list[i].rank = tensors[i].rank;
        memcpy(list[i].shape, tensors[i].shape, sizeof list[i].shape);
    }
    *ret = (struct swi_safetensors){.tensors = list,
                                    .count = count,
                                    .metadata = (struct swi_metadata *)(uintptr_t)metadata,
                                    .metadata_count = metadata_count};
    return 0;
}

static int allocate(struct output *out, const struct plan_tensor *tensors, size_t count,
                    struct swi_error *error)
{
    uint64_t most = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t elements = block_rows(&tensors[i]) * tensors[i].k;
        most = elements > most ? elements : most;
    }
    out->rows = malloc(most * sizeof *out->rows);
    out->narrow = malloc(most * sizeof *out->rows);
    out->panels = malloc(most * sizeof *out->rows);
    out->hasher = swi_hasher_create();
    return out->rows && out->narrow && out->panels && out->hasher
               ? 0
               : swi_fail(error, -ENOMEM, "out of memory");
}

static int put_all(struct output *out, const struct plan_tensor *tensors, size_t count,
                   const struct swi_safetensors *header, const char *text, size_t text_size,
                   struct swi_error *error)
{
    int result = put(out, text, text_size, error);
    for (size_t i = 0; i < count && result == 0; i++) {
        result = put_zeros(out, header->tensors[i].offset, error);
        if (result == 0)
            result = put_tensor(out, &tensors[i], error);
    }
    if (result == 0 && fsync(out->fd) < 0)
        result = fail_file(out->writer, out->name, -errno, "cannot sync it", error);

    return result;
}

int writer_file(const struct writer *writer, int fd, const char *name,
                const struct plan_tensor *tensors, size_t count,
                const struct swi_metadata *metadata, size_t metadata_count, struct written *ret,
                struct swi_error *error)
{
    struct output out = {.writer = writer, .name = name, .fd = fd};
    struct swi_safetensors header = {0};
    char *text = NULL;
    size_t text_size = 0;
    uint64_t file_bytes = 0;
    int result = header_of(tensors, count, metadata, metadata_count, &header, error);
    if (result == 0)
        result = swi_safetensors_render(&header, writer->align_bytes, &text, &text_size,
                                        &file_bytes, error);
    if (result == 0)
        result = allocate(&out, tensors, count, error);
    if (result == 0)
        result = put_all(&out, tensors, count, &header, text, text_size, error);
    if (result == 0)
        *ret = (struct written){.bytes = out.position, .digest = swi_hasher_digest(out.hasher)};
    free(header.tensors);
    free(text);
    free(out.rows);
    free(out.narrow);
    free(out.panels);
    swi_hasher_destroy(out.hasher);
    return result;
}

/* ---- a directory ----------------------------------------------------------------------------- */

static int write_chunk(const struct writer *writer, const struct staging *staging,
                       const struct plan *plan, const struct plan_chunk *chunk, struct written *ret,
                       struct swi_error *error)
{
    char first[24], rows[24];
    (void)snprintf(first, sizeof first, "%llu", (unsigned long long)chunk->first_row);
    (void)snprintf(rows, sizeof rows, "%llu", (unsigned long long)chunk->rows);
#define TEXT(text) ((char *)(uintptr_t)(text))
    const struct swi_metadata metadata[] = {
        {TEXT("format"), TEXT("pt")}, /* without it Hugging Face's loaders refuse the file */
        {TEXT("model"), TEXT(staging->name)},
        {TEXT("component"), TEXT(chunk->name)},
        {TEXT("layout"), TEXT(sw_layout_name(plan->format.layout))},
        {TEXT("dtype"), TEXT(sw_dtype_name(plan->format.dtype))},
        {TEXT("first_row"), first},
        {TEXT("rows"), rows},
    };
#undef TEXT
    size_t count = sizeof metadata / sizeof metadata[0] - (chunk->block ? 0 : 2);
    progress_item(writer->progress, chunk->name);
    int fd = openat(staging->directory, chunk->file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0)
        return fail_file(writer, chunk->file, -errno, "cannot create it", error);
    int result = writer_file(writer, fd, chunk->file, chunk->tensors, chunk->count, metadata, count,
                             ret, error);
    if (close(fd) < 0 && result == 0)
        result = fail_file(writer, chunk->file, -errno, "cannot close it", error);
    return result;
}

static int write_manifest(const struct writer *writer, const struct staging *staging,
                          const struct swi_manifest *manifest, struct swi_error *error)
{
    char *text;
    int result = swi_manifest_render(manifest, &text);
    if (result < 0)
        return swi_fail(error, result, "%s: %s", writer->out,
                        result == SW_EFORMAT ? "the name is not valid UTF-8; choose another"
                                             : sw_strerror(result));
    result = files_create(staging->directory, SWI_MANIFEST_FILE, text, strlen(text), error);
    free(text);
    return result < 0 ? swi_fail_within(error, result, "%s: ", writer->out) : 0;
}

int writer_directory(const struct writer *writer, const struct staging *staging,
                     const struct plan *plan, struct swi_error *error)
{
    struct swi_manifest_chunk *chunks = calloc(plan->count, sizeof *chunks);
    if (!chunks)
        return swi_fail(error, -ENOMEM, "out of memory");
    struct swi_manifest manifest = {
        .model_name = (char *)(uintptr_t)staging->name,
        .model_type = (char *)(uintptr_t) "bert",
        .layout = (char *)(uintptr_t)sw_layout_name(plan->format.layout),
        .dtype = (char *)(uintptr_t)sw_dtype_name(plan->format.dtype),
        .num_layers = writer->source->description.config.layers,
        .chunks = chunks,
        .count = plan->count,
    };
    int result = source_copy_files(writer->source, staging->directory, writer->out, error);
    for (size_t i = 0; i < plan->count && result == 0; i++) {
        struct written written = {0};
        result = write_chunk(writer, staging, plan, &plan->chunks[i], &written, error);
        chunks[i] = (struct swi_manifest_chunk){.name = plan->chunks[i].name,
                                                .file = plan->chunks[i].file,
                                                .bytes = written.bytes,
                                                .digest = written.digest};
        manifest.total_bytes += written.bytes;
    }
    if (result == 0)
        result = write_manifest(writer, staging, &manifest, error);
    free(chunks);
    return result;
}
