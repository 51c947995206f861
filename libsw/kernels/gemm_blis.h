/* SPDX-License-Identifier: MIT */
/* BLIS's single-precision micro-kernel for this CPU, as the GEMM driver sees it. Its implementation is the
 * only user of blis.h.
 *
 * A micro-kernel that prefers rows computes c[tokens, features] with tokens first; one that prefers
 * columns computes the transposed problem, W in the first place, and its column-stored tile is the same
 * row-stored tile of ours, so that nothing else differs.
 */
#ifndef SWI_KERNELS_GEMM_BLIS_H
#define SWI_KERNELS_GEMM_BLIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct swi_blis {
    uint32_t token_width, feature_width; /* of a tile, always computed whole */
    uint32_t kc, mc;                     /* BLIS's own blocks of K and of its first operand */
    bool transposed;                     /* it prefers columns */
};
/* Asks BLIS. Thread-safe; the answer is the same every time. */
const struct swi_blis *swi_blis(void);

/* c[token_width, feature_width] (+)= scale · tokens[k, token_width]^T · features[k, feature_width]; row stride of c
 * in floats. Operands are 64-byte aligned at k = 0 of a panel; up to 64 bytes behind each are read, and not used. */
void swi_blis_tile(uint32_t k, float scale, const float *tokens, const float *features, bool add,
                   float *c, size_t stride);

#endif
