/* SPDX-License-Identifier: MIT */
/* out[tokens, N] = activations[tokens, K] · W[N, K]^T.
 *
 * One driver serves every layout, element type and number of tokens:
 *
 *   swi_gemm_pack     activations, one block of tokens at most, into the order the tiles read
 *   swi_gemm          a range of W's rows; sums leave the cache once, with bias, activation and residual
 *                     applied, as rows or packed for the next GEMM
 *
 *   for each block of features           its sums stay in the second-level cache
 *     for each block of K                a fixed split: a sum's order depends on K alone
 *       for each panel of features       read in place, the next one being fetched meanwhile
 *         for each tile of tokens        tile.h on CPUs with AVX2 or AVX-512, else BLIS's micro-kernel
 *
 * Panels of any type are read in place by the tiles of tile.h. `rows` weights, and whatever BLIS's
 * micro-kernel cannot read (halves; its own width where that is not 16), go through a buffer of as
 * many panels as a tile takes × block of K, which stays in the first-level cache: there are no private copies of weights.
 * $BLIS_ARCH_TYPE, where it is set, asks for BLIS's micro-kernel of that architecture.
 *
 * Invariant: a token's result depends on its own row and W alone, bit for bit: not on its neighbours, their
 * number, or how the features are shared among threads.
 *
 * Knows nothing of BERT, models or leases.
 */
#ifndef SWI_KERNELS_GEMM_H
#define SWI_KERNELS_GEMM_H

#include <stdbool.h>

#include "kernels/kernels.h"

/* The tiles of this CPU, and blocks that suit its caches. Fixed for the life of the process. */
struct swi_gemm_shape {
    const char *kind;        /* "avx512", "avx2" or "blis" */
    uint32_t token_width;    /* most tokens of a tile */
    uint32_t feature_width;  /* features of a panel as the tiles read it */
    uint32_t tile_panels;    /* panels that a tile reads at once, at most */
    uint32_t k_block;        /* longest stretch of K summed in registers; a multiple of 32 */
    uint32_t token_block;    /* tokens of one packed block at most; a multiple of token_width */
    uint32_t feature_panels; /* panels of feature_width whose sums are kept at once */
    /* Packed tokens are strips [tokens, 16], as the tiles of tile.h read them. Else, for BLIS, tiles
     * that are computed whole: tokens are padded to token_width. */
    bool strips;
};
const struct swi_gemm_shape *swi_gemm_shape(void);

/* A weight matrix W[n, k], borrowed. */
struct swi_matrix {
    const void *data; /* rows [n, k], or panels [ceil(n/16), k, 16]; 64-byte aligned */
    uint32_t n, k;
    enum sw_dtype dtype;
    enum sw_layout layout;
};

/* ---- tiles of tokens -------------------------------------------------------------------------------- */

/* `tokens` rows are cut into tiles of nearly equal height. */
struct swi_tiling {
    uint32_t count;  /* tiles */
    uint32_t height; /* of the last ones; the first `taller` have one row more */
    uint32_t taller;
    uint32_t
        padded; /* rows in all: more than there are tokens only where tiles are computed whole */
};
struct swi_tiling swi_gemm_tiling(uint32_t tokens);
/* First row and height of a tile. */
static inline uint32_t swi_tile_first(const struct swi_tiling *tiling, uint32_t tile)
{
    return tile * tiling->height + (tile < tiling->taller ? tile : tiling->taller);
}
static inline uint32_t swi_tile_height(const struct swi_tiling *tiling, uint32_t tile)
{
    return tiling->height + (tile < tiling->taller);
}

/* Floats of a packed block of tokens × k. */
size_t swi_gemm_packed_floats(uint32_t tokens, uint32_t k);

/* Packs x[tokens, k] (row stride in floats), tokens > 0. [first, end) are the tiles of
 * swi_gemm_tiling(tokens) to pack, so that threads can share the work. */
struct swi_gemm_input {
    const float *x; /* [tokens, k] */
    size_t stride;
    uint32_t tokens, k;
};
void swi_gemm_pack(const struct swi_gemm_input *input, uint32_t first_tile, uint32_t end_tile,
                   float *packed);

/* ---- the product -------------------------------------------------------------------------------------- */

struct swi_gemm_job {
    const float *packed; /* from swi_gemm_pack */
    uint32_t tokens;     /* ≤ token_block */
    struct swi_matrix weight;
    const float *bias;     /* [n], or NULL */
    const float *residual; /* [tokens, n], or NULL */
    size_t residual_stride;
    enum swi_activation activation;
    float *out; /* [tokens, n]; or, when packed_out, the next GEMM's packed input with its k = n */
    size_t out_stride;
    bool packed_out;
};

/* Working memory of one thread: floats, 64-byte aligned. */
size_t swi_gemm_scratch_floats(void);

/* Panels of feature_width that n features make: what threads share. */
uint32_t swi_gemm_panels(uint32_t n);

/* Computes the panels [first, end) of the job. */
void swi_gemm(const struct swi_gemm_job *job, uint32_t first_panel, uint32_t end_panel,
              float *scratch);

/* ---- for attention, which packs its own operands -------------------------------------------------- */

/* The length of the stretches that a sum over k is split into: the first ones are that long, the last may
 * be shorter. */
uint32_t swi_gemm_k_step(uint32_t k);

/* c[rows, feature_width] = scale · tokens[k, rows]^T · features[k, feature_width], over all stretches of k. rows
 * is a tile's height; c has a row stride in floats. Operands are 64-byte aligned, and 64 bytes behind each may
 * be read. Where the shape says strips, tokens may be rows of them: of a tile's first row, in the first strip. */
struct swi_product {
    const float *tokens, *features;
    size_t strip; /* floats from a strip to the next; 0: tokens are [k, rows] */
    float *c;
    size_t stride;
    uint32_t k, rows;
    float scale;
};
void swi_gemm_product(const struct swi_product *product);

#endif
