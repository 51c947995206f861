/* SPDX-License-Identifier: MIT */
/* Baselines of the engine's GEMM for few tokens: the two obvious implementations. */
#ifndef SWBENCH_LIB_GEMM_PEERS_H
#define SWBENCH_LIB_GEMM_PEERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* out[tokens, n] = x[tokens, k] · weights^T, all f32 and dense. */
struct gemm_peer_job {
    const float *x;
    const float *weights;
    float *out;
    uint32_t tokens, n, k;
};

/* bli_sgemm over weights as rows [n, k]. */
void gemm_peer_sgemm(const struct gemm_peer_job *job);

/* BLIS's micro-kernel in a plain loop over panels [n/16, k, 16], which it reads in place: x is
 * packed into packed first. n is a multiple of 16, and gemm_peer_has_panels says whether the
 * kernel's panels are 16 wide. */
bool gemm_peer_has_panels(void);
/* Size of packed in floats. */
size_t gemm_peer_packed_floats(uint32_t tokens, uint32_t k);
void gemm_peer_panels(const struct gemm_peer_job *job, float *packed);

#endif
