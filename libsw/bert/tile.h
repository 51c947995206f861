/* The innermost loop of the engine: one tile of a matrix product.
 *
 *     c[rows, 16] (+)= scale · tokens[k, rows]^T · features[k, 16]
 *
 * The features are a panel as chunks store it, of any type, widened in registers: nothing is copied. Any
 * number of rows up to the instruction set's most has its own code, so that no padding is computed. A sum
 * runs over k in order, one fused multiply-add after the other: it does not depend on the number of rows,
 * nor on the type beyond the values.
 *
 * Why not BLIS's micro-kernel on these CPUs: it reads f32 only (widening first costs a tenth at 16 tokens),
 * computes whole tiles only, and BLIS 0.9 has none in AVX-512 for AMD. Measured on one Zen 4 core
 * (peak 118 GFLOP/s), 16 tokens, f16: 114 here, 88 there. Everywhere else BLIS's is the one.
 */
#ifndef SWI_TILE_H
#define SWI_TILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sw/base.h>

struct swi_tile {
    const float *tokens;  /* [k, rows] */
    const void *features; /* [k, 16] of dtype */
    float *c;             /* [rows, 16], row stride in floats */
    size_t stride;
    const char *ahead; /* what will be needed next: fetched meanwhile, ahead_step bytes for each k */
    size_t ahead_step;
    uint32_t k, rows;
    float scale;
    enum sw_dtype dtype;
    bool add;
};

/* What an instruction set offers. */
struct swi_tiler {
    uint32_t rows;    /* of a tile, at most */
    uint32_t k_block; /* longest stretch of k that suits its caches */
    void (*run)(const struct swi_tile *tile);
};

#endif
