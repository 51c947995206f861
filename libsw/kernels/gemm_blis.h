/* SPDX-License-Identifier: MIT */
/* BLIS's single-precision micro-kernel for this CPU, for the GEMM driver. Only gemm_blis.c uses
 * blis.h.
 *
 * A micro-kernel that prefers rows computes c[tokens, features] with tokens as its first operand.
 * One that prefers columns computes the transposed problem, with W as the first operand; its
 * column-major tile is the same memory as the row-major tile, so nothing else differs.
 */
#ifndef SWI_KERNELS_GEMM_BLIS_H
#define SWI_KERNELS_GEMM_BLIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct swi_blis {
    uint32_t token_width, feature_width; /* of a tile, always computed whole */
    uint32_t kc, mc;                     /* BLIS's block sizes for K and for its first operand */
    bool transposed;                     /* the micro-kernel prefers columns */
};
/* Queries BLIS. Thread-safe; always returns the same. */
const struct swi_blis *swi_blis(void);

/* c[token_width, feature_width] (+)= scale · tokens[k, token_width]^T · features[k, feature_width];
 * row stride of c in floats. Operands are 64-byte aligned at k = 0 of a panel; up to 64 bytes
 * behind each are read but not used. */
void swi_blis_tile(uint32_t k, float scale, const float *tokens, const float *features, bool add,
                   float *c, size_t stride);

#endif
