/* Keys and values are packed once for a head; then, a few tiles of queries at a time:
 *
 *   scores[queries, tokens]  = scale · queries · keys^T      micro-kernel, one tile a panel of keys
 *   weights                  = exp(scores - max)             softmax without its division
 *   out[queries, size]       = weights · values / sum        micro-kernel, then one division a row
 *
 * so that the scores never leave the second-level cache.
 */
#include "bert/attention.h"

#include <float.h>
#include <math.h>

enum { QUERY_TILES = 4 };

/* Where things lie in the scratch. */
struct room {
    float *keys;    /* [key_panels][size, feature_width] */
    float *values;  /* [value_panels][tokens, feature_width] */
    float *query;   /* [QUERY_TILES][size, token_width] */
    float *scores;  /* [QUERY_TILES · token_width, padded] */
    float *weights; /* [tokens, token_width] */
    float *tile;    /* [token_width, feature_width] */
    float *sums;    /* [token_width] */
    uint32_t key_panels, value_panels;
    size_t padded; /* tokens, up to whole panels */
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
    const struct swi_gemm_shape *shape = swi_gemm_shape();
    size_t tw = shape->token_width, fw = shape->feature_width, used = 0;
    struct room room = {.key_panels = swi_gemm_panels(tokens),
                        .value_panels = swi_gemm_panels(size)};
    room.padded = room.key_panels * fw;
    room.keys = take(base, &used, room.padded * size);
    room.values = take(base, &used, room.value_panels * fw * tokens);
    room.query = take(base, &used, QUERY_TILES * size * tw);
    room.scores = take(base, &used, QUERY_TILES * tw * room.padded);
    room.weights = take(base, &used, tokens * tw);
    room.tile = take(base, &used, tw * fw);
    room.sums = take(base, &used, tw);
    room.floats = used;
    return room;
}

size_t swi_attention_scratch_floats(uint32_t tokens, uint32_t size)
{
    return lay_out(NULL, tokens, size).floats;
}

static void pack_keys_and_values(const struct swi_attention *a, const struct room *room)
{
    const struct swi_kernels *maths = swi_kernels();
    uint32_t fw = swi_gemm_shape()->feature_width;
    for (uint32_t panel = 0; panel < room->key_panels; panel++) {
        uint32_t first = panel * fw, rows = a->tokens - first < fw ? a->tokens - first : fw;
        maths->interleave(room->keys + (size_t)first * a->size, a->k + first * a->stride, a->stride,
                          rows, a->size, fw);
    }
    for (uint32_t panel = 0; panel < room->value_panels; panel++) {
        uint32_t first = panel * fw, columns = a->size - first < fw ? a->size - first : fw;
        maths->copy_columns(room->values + (size_t)first * a->tokens, fw, a->v + first, a->stride,
                            columns, a->tokens, SW_DTYPE_F32);
    }
}

/* scores of `tiles` tiles of queries from token `first` on, against every key */
static void score(const struct swi_attention *a, const struct room *room, uint32_t first,
                  uint32_t tiles, float scale)
{
    const struct swi_kernels *maths = swi_kernels();
    uint32_t tw = swi_gemm_shape()->token_width, fw = swi_gemm_shape()->feature_width;
    uint32_t step = swi_gemm_k_step(a->size);
    for (uint32_t tile = 0; tile < tiles; tile++) {
        uint32_t token = first + tile * tw, rows = a->tokens - token;
        maths->interleave(room->query + (size_t)tile * a->size * tw, a->q + token * a->stride,
                          a->stride, rows < tw ? rows : tw, a->size, tw);
    }
    for (uint32_t panel = 0; panel < room->key_panels; panel++)
        for (uint32_t tile = 0; tile < tiles; tile++)
            for (uint32_t k0 = 0; k0 < a->size; k0 += step)
                swi_gemm_tile(a->size - k0 < step ? a->size - k0 : step, scale,
                              room->query + ((size_t)tile * a->size + k0) * tw,
                              room->keys + ((size_t)panel * a->size + k0) * fw, k0 > 0,
                              room->scores + tile * tw * room->padded + panel * fw, room->padded);
}

/* scores of one tile → weights, their sums in room->sums */
static void weigh(const struct swi_attention *a, const struct room *room, uint32_t tile,
                  uint32_t rows)
{
    const struct swi_kernels *maths = swi_kernels();
    uint32_t tw = swi_gemm_shape()->token_width;
    float *scores = room->scores + tile * tw * room->padded;
    for (uint32_t row = 0; row < rows; row++) {
        float *line = scores + row * room->padded;
        if (a->mask)
            for (uint32_t key = 0; key < a->tokens; key++)
                line[key] = a->mask[key] ? line[key] : -FLT_MAX;
        room->sums[row] = maths->softmax(line, a->tokens);
    }
    maths->interleave(room->weights, scores, room->padded, rows, a->tokens, tw);
}

/* weights · values / sum, into out from token `first` on */
static void gather(const struct swi_attention *a, const struct room *room, uint32_t first,
                   uint32_t rows)
{
    uint32_t tw = swi_gemm_shape()->token_width, fw = swi_gemm_shape()->feature_width;
    uint32_t step = swi_gemm_k_step(a->tokens);
    for (uint32_t panel = 0; panel < room->value_panels; panel++) {
        const float *values = room->values + (size_t)panel * fw * a->tokens;
        for (uint32_t k0 = 0; k0 < a->tokens; k0 += step)
            swi_gemm_tile(a->tokens - k0 < step ? a->tokens - k0 : step, 1.0f,
                          room->weights + (size_t)k0 * tw, values + (size_t)k0 * fw, k0 > 0,
                          room->tile, fw);
        uint32_t columns = a->size - panel * fw < fw ? a->size - panel * fw : fw;
        for (uint32_t row = 0; row < rows; row++) {
            float *out = a->out + (first + row) * a->out_stride + panel * fw;
            float inverse = 1.0f / room->sums[row];
            for (uint32_t i = 0; i < columns; i++)
                out[i] = room->tile[row * fw + i] * inverse;
        }
    }
}

void swi_attend(const struct swi_attention *a, float *scratch)
{
    uint32_t tw = swi_gemm_shape()->token_width, all = swi_gemm_tiles(a->tokens);
    struct room room = lay_out(scratch, a->tokens, a->size);
    float scale = 1.0f / sqrtf((float)a->size);
    pack_keys_and_values(a, &room);
    for (uint32_t done = 0; done < all; done += QUERY_TILES) {
        uint32_t tiles = all - done < QUERY_TILES ? all - done : QUERY_TILES;
        score(a, &room, done * tw, tiles, scale);
        for (uint32_t tile = 0; tile < tiles; tile++) {
            uint32_t first = (done + tile) * tw;
            uint32_t rows = a->tokens - first < tw ? a->tokens - first : tw;
            weigh(a, &room, tile, rows);
            gather(a, &room, first, rows);
        }
    }
}
