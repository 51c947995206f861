/* SPDX-License-Identifier: MIT */
/* The innermost loop of the engine: one tile of a matrix product, for each of one or two panels.
 *
 *     c[rows, 16] (+)= scale · tokens[k, rows]^T · features[k, 16]
 *
 * The features are panels as chunks store them, of any type, widened in registers: nothing is
 * copied. Any number of rows up to the instruction set's most has its own code, so that no padding
 * is computed. A sum runs over k in order, one fused multiply-add after the other: it does not
 * depend on the number of rows or panels, nor on the type beyond the values.
 *
 * Tokens are read where they lie, in strips of 16 columns, the very order in which sums leave a
 * product: nothing is transposed between one and the next. Sixteen steps of k read the same line of
 * each row. Or, for operands whose rows lie side by side, [k, rows]: f32, one panel.
 *
 * Two panels at once where the registers allow it: each activation is then loaded once for two
 * multiplications. With one, a core that does two wide multiply-adds a cycle waits for its two
 * loads.
 *
 * Why not BLIS's micro-kernel on these CPUs: it reads f32 only (widening first costs a tenth at 16
 * tokens), computes whole tiles only, and BLIS 0.9 has none in AVX-512 for AMD. Measured on one Zen
 * 4 core (peak 118 GFLOP/s), 16 tokens, f16: 114 here, 88 there. Everywhere else BLIS's is the one.
 */
#ifndef SWI_KERNELS_TILE_H
#define SWI_KERNELS_TILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sw/base.h>

#define SWI_TILE_PANELS_MAX 2u

struct swi_tile {
    const float *tokens; /* of row r at k: tokens[k / 16 * strip + r * 16 + k % 16] */
    size_t strip;        /* floats from a strip to the next; 0: tokens are [k, rows] */
    const void *features[SWI_TILE_PANELS_MAX]; /* each [k, 16] of dtype */
    float *c[SWI_TILE_PANELS_MAX];             /* each [rows, 16], row stride in floats */
    size_t stride;
    const char *ahead[SWI_TILE_PANELS_MAX]; /* what will be needed next: fetched meanwhile, */
    size_t ahead_step;                      /* that many bytes for each k */
    uint32_t k, rows, panels;
    float scale;
    enum sw_dtype dtype;
    bool add;
};

/* What an instruction set offers. */
struct swi_tiler {
    uint32_t rows;    /* of a tile, at most */
    uint32_t panels;  /* of a tile, at most */
    uint32_t k_block; /* longest stretch of k that suits its caches */
    void (*run)(const struct swi_tile *tile);
};

#endif
