/* SPDX-License-Identifier: MIT */
/* out[tokens, N] = activations[tokens, K] · W[N, K]^T.
 *
 * One driver serves all layouts, element types and numbers of tokens:
 *
 *   swi_gemm_pack     packs at most one block of tokens of the activations for the tiles
 *   swi_gemm          computes a range of W's rows; sums leave the cache once, with bias,
 *                     activation and residual applied, as rows or packed for the next GEMM
 *
 *   for each block of features       its sums stay in the second-level cache
 *     for each block of K            a fixed split: the order of a sum depends only on K
 *       for each panel of features   read in place, while the next one is prefetched
 *         for each tile of tokens    tile.h with AVX2 or AVX-512, else BLIS's micro-kernel
 *
 * The tiles of tile.h read panels of any type in place. Weights in `rows`, and panels that BLIS's
 * micro-kernel cannot read (halves, or a width other than 16), go through a buffer of one block of
 * K for the panels of a tile, which stays in the first-level cache: weights are never copied as a
 * whole. $BLIS_ARCH_TYPE, if set, selects the architecture of BLIS's micro-kernel.
 *
 * Invariant: the result of a token depends bit for bit only on its row and W, not on the other
 * tokens, their number, or how threads share the features.
 *
 * Knows nothing about models or leases.
 */
#ifndef SWI_KERNELS_GEMM_H
#define SWI_KERNELS_GEMM_H

#include <stdbool.h>

#include "kernels/kernels.h"

/* The tiles of this CPU, and block sizes for its caches. Constant within a process. */
struct swi_gemm_shape {
    const char *kind;        /* "avx512", "avx2" or "blis" */
    uint32_t token_width;    /* largest number of tokens in a tile */
    uint32_t feature_width;  /* features of a panel, as the tiles read it */
    uint32_t tile_panels;    /* largest number of panels that a tile reads at once */
    uint32_t k_block;        /* longest stretch of K summed in registers; a multiple of 32 */
    uint32_t token_block;    /* largest packed block, in tokens; a multiple of token_width */
    uint32_t feature_panels; /* panels of feature_width whose sums are kept at once */
    /* True: packed tokens are strips [tokens, 16] for the tiles of tile.h. False: tiles for BLIS,
     * always computed whole, with tokens padded to token_width. */
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

/* ---- tiles of tokens ------------------------------------------------------------------------- */

/* `tokens` rows are cut into tiles of nearly equal height. */
struct swi_tiling {
    uint32_t count;  /* tiles */
    uint32_t height; /* of the last tiles; the first `taller` have one row more */
    uint32_t taller;
    uint32_t padded; /* total rows; more than the tokens only if tiles are computed whole */
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

/* Size of a packed block of tokens × k, in floats. */
size_t swi_gemm_packed_floats(uint32_t tokens, uint32_t k);

/* Packs x[tokens, k] (row stride in floats), tokens > 0. Packs the tiles [first, end) of
 * swi_gemm_tiling(tokens), so that threads can share the work. */
struct swi_gemm_input {
    const float *x; /* [tokens, k] */
    size_t stride;
    uint32_t tokens, k;
};
void swi_gemm_pack(const struct swi_gemm_input *input, uint32_t first_tile, uint32_t end_tile,
                   float *packed);

/* ---- the product ----------------------------------------------------------------------------- */

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

/* Size of a thread's working memory in floats; 64-byte aligned. */
size_t swi_gemm_scratch_floats(void);

/* Number of panels of feature_width for n features, which threads share. */
uint32_t swi_gemm_panels(uint32_t n);

/* Computes the panels [first, end) of the job. */
void swi_gemm(const struct swi_gemm_job *job, uint32_t first_panel, uint32_t end_panel,
              float *scratch);

/* ---- for attention, which packs its own operands --------------------------------------------- */

/* The length of the parts of a sum over k; the last part may be shorter. */
uint32_t swi_gemm_k_step(uint32_t k);

/* c[rows, feature_width] = scale · tokens[k, rows]^T · features[k, feature_width], over all parts
 * of k. rows is the height of a tile; c has a row stride in floats. Operands are 64-byte aligned,
 * and up to 64 bytes behind each may be read. With strips, tokens may point to the first row of a
 * tile in the first strip. */
struct swi_product {
    const float *tokens, *features;
    size_t strip; /* floats from one strip to the next; 0: tokens are [k, rows] */
    float *c;
    size_t stride;
    uint32_t k, rows;
    float scale;
};
void swi_gemm_product(const struct swi_product *product);

#endif
