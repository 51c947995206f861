/* SPDX-License-Identifier: MIT */
/* Vector maths of the engine: activations, softmax, LayerNorm, conversions, and copies into the
 * order that a micro-kernel reads.
 *
 * One source (kernels_body.h) in GNU vector types is compiled for each instruction set; the first
 * call chooses the table. The polynomials are not libmvec's, because that needs -ffast-math, whose
 * start-up code changes the floating-point mode of the host process.
 *
 * Invariants: the result of an element depends only on that element (tails use the same vector
 * code), and the order of a reduction only on the length of its row. Nothing here allocates or
 * fails.
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

#define SWI_TILE_MAX 64u /* largest micro-kernel, in tokens and in features */

/* Finished sums of a GEMM, to be written out. May be in place (out == sums, out_stride == width).
 */
struct swi_strip {
    const float *sums;                  /* [rows, width] */
    const float *bias;                  /* [columns], or NULL */
    const float *residual;              /* [rows, columns], added after the activation; or NULL */
    float *out;                         /* [rows, columns] */
    size_t residual_stride, out_stride; /* in floats */
    uint32_t rows, width;
    uint32_t columns; /* ≤ width; the rest is padding */
    enum swi_activation activation;
};

struct swi_kernels {
    const char *name; /* "portable", "avx2", "avx512" */
    /* NULL: use BLIS's micro-kernel */
    const struct swi_tiler *tiler;

    /* out[n] = f(in[n]); in place allowed. exp: x ≤ 88; below -87.3 the result is 0. */
    void (*exp)(float *out, const float *in, size_t n);
    void (*erf)(float *out, const float *in, size_t n);
    void (*tanh)(float *out, const float *in, size_t n);
    void (*activate)(float *out, const float *in, size_t n, enum swi_activation activation);

    /* out[n] = (in - mean) / sqrt(variance + epsilon) · gamma + beta; in place allowed. */
    void (*layer_norm)(float *out, const float *in, const float *gamma, const float *beta, size_t n,
                       float epsilon);

    /* Softmax of each column of s[rows, width], with scores in units of ln 2 (multiplied by log2
     * e): each element becomes 2^(element - column maximum), and sums[width] the sums of columns.
     * The caller divides later, when fewer numbers are left. Rows whose mask is 0 become 0 and do
     * not count; mask NULL hides none; if all rows are hidden, all count equally. rows > 0. */
    void (*softmax)(float *s, size_t rows, size_t width, const uint8_t *mask, float *sums);

    /* out[n] = in[n], widened from any float dtype; widen_add adds to out. */
    void (*widen)(float *out, const void *in, size_t n, enum sw_dtype dtype);
    void (*widen_add)(float *out, const void *in, size_t n, enum sw_dtype dtype);

    void (*finish)(const struct swi_strip *strip);

    /* out[k, width] (row stride out_stride) = transpose of in[rows, k] (row stride in_stride),
     * strides in floats or in elements of dtype. 0 < rows ≤ width; lanes past rows repeat the last
     * row, which keeps them finite; their results are not used. */
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

/* The fastest table for this CPU, or the one that $SW_CPU names if the CPU can run it. Constant
 * within a process. Thread-safe. */
const struct swi_kernels *swi_kernels(void);
/* The tables that this CPU can run, slowest first, by index; NULL past the last. For tests. */
const struct swi_kernels *swi_kernels_at(unsigned index);

#endif
