/* SPDX-License-Identifier: MIT */
/* Keys and values are packed once for a head; then, one panel of queries at a time, all transposed, so
 * that what the softmax writes is at once what the second product reads, and its vectors run over queries:
 *
 *   scores[keys, queries] = scale · keys · queries^T     a tile of keys at a time
 *   scores                = 2^(scores - max)             down the columns; softmax without its division
 *   result[size, queries] = values^T · scores            a tile of the head's columns at a time
 *   out[queries, size]    = result^T / sum
 *
 * Scores of one panel stay in the first- or second-level cache; nothing of size tokens² exists.
 */
#include "encoder/attention.h"

#include <math.h>

/* Where things lie in the scratch. */
struct room {
    float *keys;   /* strips of keys [tokens, 16], or for BLIS tiles of keys [size, height] */
    size_t strip;  /* of keys, in floats; 0: tiles */
    float *values; /* tiles of columns [tokens, height] */
    float *query;  /* [size, feature_width] */
    float *scores; /* [tokens up to whole tiles, feature_width] */
    float *result; /* [size up to whole tiles, feature_width] */
    float *sums;   /* [feature_width] */
    struct swi_tiling key_tiles, column_tiles;
    size_t floats; /* of all */
};

static float *take(float *base, size_t *used, size_t floats)
{
    float *start = base ? base + *used : NULL;
    *used += (floats + 15) / 16 * 16;
    return start;
}

static struct room lay_out(float *base, uint32_t tokens, uint32_t size)
{
    size_t width = swi_gemm_shape()->feature_width, used = 0;
    struct room room = {.key_tiles = swi_gemm_tiling(tokens),
                        .column_tiles = swi_gemm_tiling(size)};
    room.keys = take(base, &used, swi_gemm_packed_floats(tokens, size));
    room.strip = swi_gemm_shape()->strips ? (size_t)tokens * SW_PANEL_WIDTH : 0;
    room.values = take(base, &used, (size_t)room.column_tiles.padded * tokens);
    room.query = take(base, &used, size * width);
    room.scores = take(base, &used, room.key_tiles.padded * width);
    room.result = take(base, &used, room.column_tiles.padded * width);
    room.sums = take(base, &used, width);
    room.floats = used;
    return room;
}

size_t swi_attention_scratch_floats(uint32_t tokens, uint32_t size)
{
    return lay_out(NULL, tokens, size).floats;
}

static void pack_keys(const struct swi_attention *a, const struct room *room)
{
    if (room->strip > 0) {
        struct swi_gemm_input keys = {
            .x = a->k, .stride = a->stride, .tokens = a->tokens, .k = a->size};
        swi_gemm_pack(&keys, 0, room->key_tiles.count, room->keys);
        return;
    }
    for (uint32_t tile = 0; tile < room->key_tiles.count; tile++) {
        uint32_t first = swi_tile_first(&room->key_tiles, tile);
        uint32_t height = swi_tile_height(&room->key_tiles, tile), rows = a->tokens - first;
        swi_kernels()->interleave(room->keys + (size_t)first * a->size, height,
                                  a->k + first * a->stride, a->stride,
                                  rows < height ? rows : height, a->size, height);
    }
}

static void pack_values(const struct swi_attention *a, const struct room *room)
{
    const struct swi_kernels *maths = swi_kernels();
    for (uint32_t tile = 0; tile < room->column_tiles.count; tile++) {
        uint32_t first = swi_tile_first(&room->column_tiles, tile);
        uint32_t height = swi_tile_height(&room->column_tiles, tile), columns = a->size - first;
        maths->copy_columns(room->values + (size_t)first * a->tokens, height, a->v + first,
                            a->stride, columns < height ? columns : height, a->tokens,
                            SW_DTYPE_F32);
    }
}

/* Queries from token `first` on, `count` of them at most a panel. */
static void attend_panel(const struct swi_attention *a, const struct room *room, uint32_t first,
                         uint32_t count)
{
    const struct swi_kernels *maths = swi_kernels();
    uint32_t width = swi_gemm_shape()->feature_width;
    /* softmax works in powers of two */
    struct swi_product product = {.features = room->query,
                                  .strip = room->strip,
                                  .stride = width,
                                  .k = a->size,
                                  .scale = 1.44269504f / sqrtf((float)a->size)};
    maths->interleave(room->query, width, a->q + first * a->stride, a->stride, count, a->size,
                      width);
    for (uint32_t tile = 0; tile < room->key_tiles.count; tile++) {
        size_t key = swi_tile_first(&room->key_tiles, tile);
        product.tokens = room->keys + key * (room->strip > 0 ? SW_PANEL_WIDTH : a->size);
        product.rows = swi_tile_height(&room->key_tiles, tile);
        product.c = room->scores + key * width;
        swi_gemm_product(&product);
    }
    maths->softmax(room->scores, a->tokens, width, a->mask, room->sums);
    product.strip = 0;
    product.features = room->scores;
    product.k = a->tokens;
    product.scale = 1.0f;
    for (uint32_t tile = 0; tile < room->column_tiles.count; tile++) {
        size_t column = swi_tile_first(&room->column_tiles, tile);
        product.tokens = room->values + column * a->tokens;
        product.rows = swi_tile_height(&room->column_tiles, tile);
        product.c = room->result + column * width;
        swi_gemm_product(&product);
    }
    for (uint32_t i = 0; i < width; i++)
        room->sums[i] = 1.0f / room->sums[i];
    maths->scale_columns(room->result, width, a->size, room->sums, width);
    maths->interleave(a->out + first * a->out_stride, a->out_stride, room->result, width, a->size,
                      count, a->size);
}

void swi_attend(const struct swi_attention *a, float *scratch)
{
    uint32_t width = swi_gemm_shape()->feature_width;
    struct room room = lay_out(scratch, a->tokens, a->size);
    pack_keys(a, &room);
    pack_values(a, &room);
    for (uint32_t first = 0; first < a->tokens; first += width)
        attend_panel(a, &room, first, a->tokens - first < width ? a->tokens - first : width);
}
