/* SPDX-License-Identifier: MIT */
/* The tile kernels of one instruction set: see tile.h. Included by kernels_<instruction set>.c
 * after kernels_body.h, which has the vector types; SWI_TILE_ROWS × SWI_TILE_PANELS is how many
 * sums of 16 its registers hold. */
#include "kernels/tile.h"

#define PARTS (16 / V) /* vector registers in a row of 16 */

/* before the sums are given registers: what is unrolled later lives on the stack */
#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif

/* Steps of k that read the same lines of the tokens; with `strips` 16 at most. */
INLINE void steps_of(const struct swi_tile *tile, size_t k, size_t end, const size_t rows,
                     const size_t panels, enum sw_dtype dtype, const bool strips,
                     vf sum[SWI_TILE_ROWS][SWI_TILE_PANELS * PARTS], const char *ahead[2])
{
    const float *tokens = tile->tokens + (strips ? k / 16 * tile->strip : k * rows);
    for (; k < end; k++) {
        vf features[SWI_TILE_PANELS * PARTS];
        UNROLL for (size_t p = 0; p < panels * PARTS; p++) features[p] =
            wide_v(tile->features[p / PARTS], k * 16 + p % PARTS * V, dtype);
        UNROLL for (size_t r = 0; r < rows; r++)
        {
            vf token = splat(tokens[strips ? r * 16 : r]);
            UNROLL for (size_t p = 0; p < panels * PARTS; p++) sum[r][p] =
                features[p] * token + sum[r][p];
        }
        tokens += strips ? 1 : rows;
        UNROLL for (size_t p = 0; p < panels; p++)
        {
            __builtin_prefetch(ahead[p], 0, 2);
            ahead[p] += tile->ahead_step;
        }
    }
}

INLINE void tile_of(const struct swi_tile *tile, const size_t rows, const size_t panels,
                    enum sw_dtype dtype, const bool strips)
{
    const char *ahead[2] = {tile->ahead[0], tile->ahead[panels - 1]};
    vf sum[SWI_TILE_ROWS][SWI_TILE_PANELS * PARTS];
    UNROLL for (size_t r = 0; r < rows; r++) UNROLL for (size_t p = 0; p < panels * PARTS; p++)
        sum[r][p] = (vf){0};
    for (size_t k = 0; k < tile->k;) {
        size_t left = tile->k - k, steps = strips && left > 16 ? 16 : left;
        steps_of(tile, k, k + steps, rows, panels, dtype, strips, sum, ahead);
        k += steps;
    }
    float scale = tile->scale;
    UNROLL for (size_t p = 0; p < panels * PARTS; p++)
    {
        float *c = tile->c[p / PARTS] + p % PARTS * V;
        UNROLL for (size_t r = 0; r < rows; r++, c += tile->stride)
            store(c, tile->add ? sum[r][p] * scale + load(c) : sum[r][p] * scale);
    }
}

#define TILE(rows, panels)                                                                         \
    static void tile_##rows##_##panels(const struct swi_tile *tile)                                \
    {                                                                                              \
        BY_DTYPE(tile->dtype, tile_of(tile, rows, panels, (enum sw_dtype)D, true));                \
    }
#define COLUMN_TILE(rows, panels)                                                                  \
    static void column_tile_##rows(const struct swi_tile *tile)                                    \
    {                                                                                              \
        tile_of(tile, rows, panels, SW_DTYPE_F32, false);                                          \
    }
#define ROWS_1_TO_6(with, panels)                                                                  \
    with(1, panels) with(2, panels) with(3, panels) with(4, panels) with(5, panels) with(6, panels)
#define ROWS_7_TO_12(with, panels)                                                                 \
    with(7, panels) with(8, panels) with(9, panels) with(10, panels) with(11, panels)              \
        with(12, panels)
#if SWI_TILE_ROWS == 12
#define ALL_ROWS(with, panels) ROWS_1_TO_6(with, panels) ROWS_7_TO_12(with, panels)
#else
#define ALL_ROWS(with, panels) ROWS_1_TO_6(with, panels)
#endif

ALL_ROWS(COLUMN_TILE, 1)
ALL_ROWS(TILE, 1)
#if SWI_TILE_PANELS == 2
ALL_ROWS(TILE, 2)
#endif

#define NAME(rows, panels)        tile_##rows##_##panels,
#define COLUMN_NAME(rows, panels) column_tile_##rows,
static void run_tile(const struct swi_tile *tile)
{
    static void (*const of[SWI_TILE_PANELS][SWI_TILE_ROWS])(const struct swi_tile *) = {
        {ALL_ROWS(NAME, 1)},
#if SWI_TILE_PANELS == 2
        {ALL_ROWS(NAME, 2)},
#endif
    };
    static void (*const of_columns[SWI_TILE_ROWS])(const struct swi_tile *) = {
        ALL_ROWS(COLUMN_NAME, 1)};
    if (tile->strip > 0)
        of[tile->panels - 1][tile->rows - 1](tile);
    else
        of_columns[tile->rows - 1](tile);
}
