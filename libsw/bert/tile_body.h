/* The tile kernels of one instruction set: see tile.h. Included by kernels_<instruction set>.c after
 * kernels_body.h, which has the vector types; SWI_TILE_ROWS is how many rows of sums the registers hold. */
#include "bert/tile.h"

#define PARTS (16 / V) /* vector registers in a row of 16 */

#ifdef __clang__
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif

INLINE void tile_of(const struct swi_tile *tile, const size_t rows, enum sw_dtype dtype)
{
    const float *tokens = tile->tokens;
    const char *ahead = tile->ahead;
    vf sum[SWI_TILE_ROWS][PARTS];
    UNROLL for (size_t r = 0; r < rows; r++)
        UNROLL for (size_t p = 0; p < PARTS; p++)
            sum[r][p] = (vf){0};
    for (size_t k = 0; k < tile->k; k++) {
        vf features[PARTS];
        UNROLL for (size_t p = 0; p < PARTS; p++)
            features[p] = wide_v(tile->features, k * 16 + p * V, dtype);
        UNROLL for (size_t r = 0; r < rows; r++)
            UNROLL for (size_t p = 0; p < PARTS; p++)
                sum[r][p] = features[p] * tokens[r] + sum[r][p];
        tokens += rows;
        __builtin_prefetch(ahead, 0, 2);
        ahead += tile->ahead_step;
    }
    float scale = tile->scale;
    UNROLL for (size_t r = 0; r < rows; r++) {
        UNROLL for (size_t p = 0; p < PARTS; p++) {
            float *c = tile->c + r * tile->stride + p * V;
            store(c, tile->add ? sum[r][p] * scale + load(c) : sum[r][p] * scale);
        }
    }
}

#define TILE(rows)                                                                                 \
    static void tile_##rows(const struct swi_tile *tile)                                           \
    {                                                                                              \
        BY_DTYPE(tile->dtype, tile_of(tile, rows, (enum sw_dtype)D));                              \
    }
TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6)
#if SWI_TILE_ROWS == 24
TILE(7) TILE(8) TILE(9) TILE(10) TILE(11) TILE(12) TILE(13) TILE(14) TILE(15) TILE(16) TILE(17)
TILE(18) TILE(19) TILE(20) TILE(21) TILE(22) TILE(23) TILE(24)
#endif

static void run_tile(const struct swi_tile *tile)
{
    static void (*const of_rows[SWI_TILE_ROWS])(const struct swi_tile *) = {
        tile_1,  tile_2,  tile_3,  tile_4,  tile_5,  tile_6,
#if SWI_TILE_ROWS == 24
        tile_7,  tile_8,  tile_9,  tile_10, tile_11, tile_12, tile_13, tile_14, tile_15,
        tile_16, tile_17, tile_18, tile_19, tile_20, tile_21, tile_22, tile_23, tile_24,
#endif
    };
    of_rows[tile->rows - 1](tile);
}
