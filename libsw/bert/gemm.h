/* out[tokens, N] = activations[tokens, K] · W[N, K]^T, by BLIS's micro-kernel for this CPU.
 *
 * One driver serves every layout, element type and number of tokens:
 *
 *   swi_gemm_pack     activations, one block of tokens at most, into the order the micro-kernel reads
 *   swi_gemm          a range of W's rows; sums leave the cache once, with bias, activation and residual
 *                     applied, as rows or packed for the next GEMM
 *
 *   for each block of features           its sums stay in the second-level cache
 *     for each block of K                a fixed split: a sum's order depends on K alone
 *       for each panel of features       read in place, or widened / re-panelled into a small buffer,
 *         for each tile of tokens        the next panel being fetched meanwhile
 *           micro-kernel
 *
 * A micro-kernel that prefers columns computes the transposed problem: W in the first place, tokens in
 * the second; its column-stored tile is the same row-stored tile of ours, so nothing else differs.
 *
 * Invariants: tiles are always computed whole (padding is computed and dropped), so that a token's
 * result depends on its own row and W alone, bit for bit: not on its neighbours, their number, or how
 * the features are shared among threads.
 *
 * The only user of blis.h. Knows nothing of BERT, models or leases.
 */
#ifndef SWI_GEMM_H
#define SWI_GEMM_H

#include <stdbool.h>

#include "bert/kernels.h"

/* What BLIS's single-precision micro-kernel on this CPU computes at once, and blocks that suit its
 * caches. Fixed for the life of the process. */
struct swi_gemm_shape {
    uint32_t token_width;    /* tokens of a tile */
    uint32_t feature_width;  /* features of a tile */
    uint32_t k_block;        /* longest stretch of K summed in registers; a multiple of 32 */
    uint32_t token_block;    /* tokens of one packed block at most; a multiple of token_width */
    uint32_t feature_panels; /* panels of feature_width whose sums are kept at once */
    bool transposed;         /* the micro-kernel prefers columns */
};
const struct swi_gemm_shape *swi_gemm_shape(void);

/* A weight matrix W[n, k], borrowed. */
struct swi_matrix {
    const void *data; /* rows [n, k], or panels [ceil(n/16), k, 16] */
    uint32_t n, k;
    enum sw_dtype dtype;
    enum sw_layout layout;
};

/* Floats of a packed block of tokens × k. */
size_t swi_gemm_packed_floats(uint32_t tokens, uint32_t k);

/* Packs x[tokens, k] (row stride in floats); 0 < tokens ≤ token_block. [first, end) are the tiles of
 * token_width tokens to pack, so that threads can share the work; all: 0, swi_gemm_tiles(tokens). */
uint32_t swi_gemm_tiles(uint32_t tokens);
struct swi_gemm_input {
    const float *x; /* [tokens, k] */
    size_t stride;
    uint32_t tokens, k;
};
void swi_gemm_pack(const struct swi_gemm_input *input, uint32_t first_tile, uint32_t end_tile,
                   float *packed);

struct swi_gemm_job {
    const float *packed; /* from swi_gemm_pack */
    uint32_t tokens;
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
 * be shorter. Whoever calls swi_gemm_tile for each stretch in turn gets what swi_gemm gets. */
uint32_t swi_gemm_k_step(uint32_t k);

/* One tile: c[token_width, feature_width] (+)= scale · tokens[k, token_width]^T · features[k, feature_width].
 * c has a row stride in floats, is 64-byte aligned, and is written whole. */
void swi_gemm_tile(uint32_t k, float scale, const float *tokens, const float *features, bool add,
                   float *c, size_t stride);

#endif
