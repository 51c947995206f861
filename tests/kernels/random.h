/* SPDX-License-Identifier: MIT */
/* Random numbers and weights for the engine's tests: seeded, so that a failure comes back. */
#ifndef SWT_KERNELS_RANDOM_H
#define SWT_KERNELS_RANDOM_H

#include "kernels/gemm.h"

/* Uniform in [-scale, scale). Advances *state. */
float random_float(uint64_t *state, float scale);

/* 64-byte aligned, freed by free(). */
void *aligned_bytes(size_t bytes);
float *random_floats(uint64_t *state, size_t count, float scale);

/* W[n, k] in the layout and type asked for; *ret_exact, [n, k], holds the values that the stored ones
 * stand for. Free weight.data (through free_matrix) and *ret_exact. */
struct swi_matrix random_matrix(uint64_t *state, uint32_t n, uint32_t k, enum sw_layout layout,
                                enum sw_dtype dtype, float **ret_exact);
void free_matrix(struct swi_matrix *matrix);

#endif
