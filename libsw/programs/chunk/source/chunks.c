/* SPDX-License-Identifier: MIT */
/* A chunk directory as a source: the word table's blocks joined, panels and fused tensors undone,
 * so that a model can be exported, or imported again in another layout or dtype. Digests are
 * checked first. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/panel.h"
#include "programs/chunk/chunk_directory.h"
#include "programs/chunk/files.h"
#include "programs/chunk/source/kinds.h"

/* A run of rows of a checkpoint's tensor, and where it is stored. */
struct piece {
    uint64_t first, rows;  /* in the checkpoint's tensor */
    uint64_t stored_first; /* row in the stored tensor */
    uint64_t k;
    const struct swi_tensor *stored;
    int fd;
    bool panel;
};

struct chunks_source {
    struct source base;
    struct chunk_directory chunks;
    struct piece *pieces; /* [piece_count]; a tensor's own are consecutive */
    size_t piece_count, piece_capacity;
    char *scratch; /* a panel */
    size_t scratch_bytes;
};

static void chunks_close(struct source *base)
{
    struct chunks_source *source = (struct chunks_source *)base;
    chunk_directory_close(&source->chunks);
    free(source->pieces);
    free(source->scratch);
    source_fini(base);
    free(source);
}

/* ---- reading --------------------------------------------------------------------------------- */

static int read_stored_rows(const struct piece *piece, uint64_t first, uint64_t count, float *out)
{
    enum sw_dtype dtype = piece->stored->dtype;
    size_t size = sw_dtype_size(dtype);
    int result = files_pread(piece->fd, source_narrow_part(out, count, dtype), count * size,
                             piece->stored->offset + first * size);
    if (result == 0)
        source_widen(out, count, dtype);
    return result;
}

/* Elements of rows that lie in one panel: `first` and `count` count elements of the panel's rows
 * joined. */
static int read_one_panel(struct chunks_source *source, const struct piece *piece, uint64_t panel,
                          uint64_t first, uint64_t count, float *out)
{
    enum sw_dtype dtype = piece->stored->dtype;
    size_t size = sw_dtype_size(dtype);
    size_t panel_elements = (size_t)piece->k * SW_PANEL_WIDTH;
    if (source->scratch_bytes < panel_elements * sizeof(float)) {
        char *grown = realloc(source->scratch, panel_elements * sizeof(float));
        if (!grown)
            return -ENOMEM;
        source->scratch = grown;
        source->scratch_bytes = panel_elements * sizeof(float);
    }
    float *wide = (float *)(void *)source->scratch;
    int result =
        files_pread(piece->fd, source_narrow_part(wide, panel_elements, dtype),
                    panel_elements * size, piece->stored->offset + panel * panel_elements * size);
    if (result < 0)
        return result;
    source_widen(wide, panel_elements, dtype);
    uint64_t lane = first / piece->k, column = first % piece->k;
    for (uint64_t i = 0; i < count; i++) {
        out[i] = wide[column * SW_PANEL_WIDTH + lane];
        if (++column == piece->k) {
            column = 0;
            lane++;
        }
    }
    return 0;
}

static int read_panels(struct chunks_source *source, const struct piece *piece, uint64_t first,
                       uint64_t count, float *out)
{
    uint64_t per_panel = piece->k * SW_PANEL_WIDTH;
    while (count > 0) {
        uint64_t inside = first % per_panel;
        uint64_t run = per_panel - inside < count ? per_panel - inside : count;
        int result = read_one_panel(source, piece, first / per_panel, inside, run, out);
        if (result < 0)
            return result;
        first += run;
        count -= run;
        out += run;
    }
    return 0;
}

static int chunks_read(struct source *base, const struct source_tensor *tensor, uint64_t first,
                       uint64_t count, float *out, struct swi_error *error)
{
    struct chunks_source *source = (struct chunks_source *)base;
    const struct piece *piece = &source->pieces[tensor->shard];
    for (; count > 0; piece++) {
        uint64_t begin = piece->first * piece->k, end = begin + piece->rows * piece->k;
        if (first >= end)
            continue;
        uint64_t run = end - first < count ? end - first : count;
        uint64_t at = first - begin + piece->stored_first * piece->k;
        int result = piece->panel ? read_panels(source, piece, at, run, out)
                                  : read_stored_rows(piece, at, run, out);
        if (result < 0)
            return source_fail(base, tensor, result, error, ": cannot read it: %s",
                               sw_strerror(result));
        first += run;
        count -= run;
        out += run;
    }
    return 0;
}

static const struct source_ops chunks_ops = {.read = chunks_read, .close = chunks_close};

/* ---- opening --------------------------------------------------------------------------------- */

static int add_piece(struct chunks_source *source, const struct piece *piece,
                     struct swi_error *error)
{
    if (source->piece_count == source->piece_capacity) {
        size_t capacity = source->piece_capacity ? source->piece_capacity * 2 : 256;
        struct piece *grown = reallocarray(source->pieces, capacity, sizeof *grown);
        if (!grown)
            return swi_fail(error, -ENOMEM, "out of memory");
        source->pieces = grown;
        source->piece_capacity = capacity;
    }
    source->pieces[source->piece_count++] = *piece;
    return 0;
}

static int add_tensor(struct chunks_source *source, size_t chunk, size_t index,
                      struct swi_error *error)
{
    const struct plan_chunk *planned = &source->chunks.plan.chunks[chunk];
    const struct plan_tensor *tensor = &planned->tensors[index];
    struct piece piece = {.k = tensor->k,
                          .stored = chunk_directory_tensor(&source->chunks, chunk, index),
                          .fd = source->chunks.files[chunk].fd,
                          .panel = tensor->rank == 3};
    for (uint32_t p = 0; p < tensor->part_count; p++) {
        const struct plan_part *part = &tensor->parts[p];
        piece.first = part->first;
        piece.rows = part->rows;
        int result = add_piece(source, &piece, error);
        piece.stored_first += part->rows;
        /* the blocks of the word table follow each other: the first of them stands for all */
        if (result == 0 && part->first == 0) {
            struct source_tensor found = {
                .file = planned->file,
                .dtype = piece.stored->dtype,
                .rank = tensor->vector ? 1 : 2,
                .shape = {planned->block ? source->chunks.description.config.vocab : part->rows,
                          tensor->k},
                .shard = source->piece_count - 1};
            result = source_add(&source->base, &found, part->name, error);
        }
        if (result < 0)
            return result;
    }
    return 0;
}

static int open_all(struct chunks_source *source, int directory, struct swi_error *error)
{
    struct progress quiet = {0};
    int result = chunk_directory_open(directory, &source->chunks, error);
    if (result < 0)
        return result;
    size_t count = source->chunks.manifest.count;
    for (size_t i = 0; i < count && result == 0; i++) {
        result = chunk_directory_open_file(&source->chunks, i, error);
        if (result == 0)
            result = chunk_directory_hash(&source->chunks, i, &quiet, error);
    }
    if (result == 0)
        result = chunk_directory_plan(&source->chunks, error);
    for (size_t i = 0; i < count && result == 0; i++)
        result = chunk_directory_check(&source->chunks, i, error);
    for (size_t i = 0; i < count && result == 0; i++)
        for (size_t j = 0; j < source->chunks.plan.chunks[i].count && result == 0; j++)
            result = add_tensor(source, i, j, error);
    return result;
}

int source_chunks_open(int directory, struct source **ret, struct swi_error *error)
{
    struct chunks_source *source = calloc(1, sizeof *source);
    if (!source)
        return swi_fail(error, -ENOMEM, "out of memory");
    source->base.ops = &chunks_ops;
    source->base.directory = -1;
    source->chunks.directory = -1;
    int result = open_all(source, directory, error);
    if (result < 0) {
        chunks_close(&source->base);
        return result;
    }
    *ret = &source->base;
    return 0;
}

enum sw_dtype source_chunks_dtype(const struct source *source)
{
    return ((const struct chunks_source *)source)->chunks.plan.format.dtype;
}
