/* SPDX-License-Identifier: MIT */
/* The innermost loop of the engine: one tile of a matrix product, for each of one or two panels.
 *
 *     c[rows, 16] (+)= scale · tokens[k, rows]^T · features[k, 16]
 *
 * Features are panels as stored in chunks, of any type, widened in registers without a copy. Each
 * number of rows, up to the largest for the instruction set, has its own code, so no padding is
 * computed. A sum runs over k in order, one fused multiply-add after the other; it does not depend
 * on the number of rows or panels, and on the type only through the values.
 *
 * Tokens are read in place, in strips of 16 columns, which is the order in which sums leave a
 * product, so nothing is transposed between products. Sixteen steps of k read the same cache line
 * of each row. Alternatively tokens are [k, rows], with rows side by side: then f32 and one panel.
 *
 * Two panels at once, if there are enough registers, use each loaded activation for two
 * multiplications. With one panel, a core that issues two wide multiply-adds per cycle would wait
 * for its two loads.
 *
 * BLIS's micro-kernel is not used on these CPUs because it reads only f32 (widening first costs 10
 * % at 16 tokens), computes only whole tiles, and has no AVX-512 version for AMD in BLIS 0.9.
 * Measured on one Zen 4 core (peak 118 GFLOP/s), 16 tokens, f16: 114 GFLOP/s with these tiles, 88
 * with BLIS. Other CPUs use BLIS's.
 */
#ifndef SWI_KERNELS_TILE_H
#define SWI_KERNELS_TILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sw/base.h>

#define SWI_TILE_PANELS_MAX 2u

struct swi_tile {
    const float *tokens; /* row r at k: tokens[k / 16 * strip + r * 16 + k % 16] */
    size_t strip;        /* floats from one strip to the next; 0: tokens are [k, rows] */
    const void *features[SWI_TILE_PANELS_MAX]; /* each [k, 16] of dtype */
    float *c[SWI_TILE_PANELS_MAX];             /* each [rows, 16], row stride in floats */
    size_t stride;
    const char *ahead[SWI_TILE_PANELS_MAX]; /* needed next: prefetched, */
    size_t ahead_step;                      /* this many bytes per step of k */
    uint32_t k, rows, panels;
    float scale;
    enum sw_dtype dtype;
    bool add;
};

/* The tiles of an instruction set. */
struct swi_tiler {
    uint32_t rows;    /* largest number of rows of a tile */
    uint32_t panels;  /* largest number of panels of a tile */
    uint32_t k_block; /* longest part of k that suits the caches */
    void (*run)(const struct swi_tile *tile);
};

#endif
