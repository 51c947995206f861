/* SPDX-License-Identifier: MIT */
/* Vector maths of the engine: activations, softmax, LayerNorm, conversions and the copies that put
 * operands into the order a micro-kernel reads.
 *
 * One source (kernels_body.h) in GNU vector types is compiled once for each instruction set; the table
 * to use is chosen when the process asks first. Our own polynomials instead of libmvec's: that one needs
 * -ffast-math, whose start-up code changes the floating-point mode of the host process.
 *
 * Invariants: an element's result depends on that element alone (tails run through the same vector
 * code), a reduction's order on the length of its row alone. Nothing here allocates or fails.
 */
#ifndef SWI_KERNELS_KERNELS_H
#define SWI_KERNELS_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include <sw/base.h>

#include "kernels/tile.h"

enum swi_activation {
    SWI_ACT_NONE = 0,
    SWI_ACT_GELU = 1,      /* x/2 · (1 + erf(x/√2)) */
    SWI_ACT_GELU_TANH = 2, /* x/2 · (1 + tanh(√(2/π)·(x + 0.044715·x³))) */
    SWI_ACT_RELU = 3,
    SWI_ACT_TANH = 4,
};

#define SWI_TILE_MAX 64u /* no micro-kernel is wider, in tokens or in features */

/* Finished sums of a GEMM, on their way out. May work in place (out == sums, out_stride == width). */
struct swi_strip {
    const float *sums;                  /* [rows, width] */
    const float *bias;                  /* [columns], or NULL */
    const float *residual;              /* [rows, columns], added after the activation; or NULL */
    float *out;                         /* [rows, columns] */
    size_t residual_stride, out_stride; /* in floats */
    uint32_t rows, width;
    uint32_t columns; /* ≤ width: the ones past it are padding */
    enum swi_activation activation;
};

struct swi_kernels {
    const char *name; /* "portable", "avx2", "avx512" */
    /* NULL: none of its own, BLIS's micro-kernel is used */
    const struct swi_tiler *tiler;

    /* out[n] = f(in[n]); in place allowed. exp: x ≤ 88; below -87.3 the result is 0. */
    void (*exp)(float *out, const float *in, size_t n);
    void (*erf)(float *out, const float *in, size_t n);
    void (*tanh)(float *out, const float *in, size_t n);
    void (*activate)(float *out, const float *in, size_t n, enum swi_activation activation);

    /* out[n] = (in - mean) / sqrt(variance + epsilon) · gamma + beta; in place allowed. */
    void (*layer_norm)(float *out, const float *in, const float *gamma, const float *beta, size_t n,
                       float epsilon);

    /* Softmax down each column of s[rows, width], scores in units of ln 2 (that is, times log2 e): an
     * element becomes 2^(itself - the column's largest), and sums[width] the column's sum: the caller
     * divides later, where fewer numbers are left to divide. Rows whose mask is 0 become 0 and count for
     * nothing; mask NULL hides none; when all are hidden, all count alike. rows > 0. */
    void (*softmax)(float *s, size_t rows, size_t width, const uint8_t *mask, float *sums);

    /* out[n] = in[n] of any float dtype, widened; and the same, added to what is there. */
    void (*widen)(float *out, const void *in, size_t n, enum sw_dtype dtype);
    void (*widen_add)(float *out, const void *in, size_t n, enum sw_dtype dtype);

    void (*finish)(const struct swi_strip *strip);

    /* out[k, width] (row stride out_stride) = the transpose of in[rows, k] (row stride in_stride), all in
     * floats or in elements of dtype. rows ≤ width; lanes past rows repeat the last row: they are finite
     * and nobody reads what comes of them. rows > 0. */
    void (*interleave)(float *out, size_t out_stride, const float *in, size_t in_stride,
                       size_t rows, size_t k, size_t width);
    /* The same from any dtype, packed: out_stride is width. */
    void (*interleave_any)(float *out, const void *in, size_t in_stride, size_t rows, size_t k,
                           size_t width, enum sw_dtype dtype);
    /* row[i] *= by[i] for each of rows, row stride in floats. */
    void (*scale_columns)(float *rows, size_t stride, size_t count, const float *by, size_t n);
    /* out[k, out_width] columns [0, n) = in[k, in_width] columns [0, n), widened. */
    void (*copy_columns)(float *out, size_t out_width, const void *in, size_t in_width, size_t n,
                         size_t k, enum sw_dtype dtype);
};

/* The fastest table that this CPU can run, or the one that $SW_CPU names, where it can run that. Fixed
 * for the life of the process. Thread-safe. */
const struct swi_kernels *swi_kernels(void);
/* Every table that this CPU can run, slowest first: index 0, 1, …; NULL past the last. For tests. */
const struct swi_kernels *swi_kernels_at(unsigned index);

#endif
