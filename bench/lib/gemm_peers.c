/* SPDX-License-Identifier: MIT */
/* See gemm_peers.h. */
#include "lib/gemm_peers.h"

#include <blis.h>
#include <sw/base.h>

#include "kernels/gemm_blis.h"

/* BLIS's prototypes lack const; it only reads these. */
static float *mutable(const float *operand)
{
    return (float *)(uintptr_t)operand;
}

void gemm_peer_sgemm(const struct gemm_peer_job *job)
{
    float one = 1.0f, zero = 0.0f;
    bli_sgemm(BLIS_NO_TRANSPOSE, BLIS_TRANSPOSE, (dim_t)job->tokens, (dim_t)job->n, (dim_t)job->k,
              &one, mutable(job->x), (inc_t)job->k, 1, mutable(job->weights), (inc_t)job->k, 1,
              &zero, job->out, (inc_t)job->n, 1);
}

bool gemm_peer_has_panels(void)
{
    return swi_blis()->feature_width == SW_PANEL_WIDTH;
}

static uint32_t whole_tiles(uint32_t tokens)
{
    uint32_t width = swi_blis()->token_width;
    return (tokens + width - 1) / width * width;
}

/* The tokens, and the sums of one tile. */
size_t gemm_peer_packed_floats(uint32_t tokens, uint32_t k)
{
    return (size_t)whole_tiles(tokens) * k + swi_blis()->token_width * SW_PANEL_WIDTH;
}

void gemm_peer_panels(const struct gemm_peer_job *job, float *packed)
{
    uint32_t width = swi_blis()->token_width, all = whole_tiles(job->tokens);
    float *tile = packed + (size_t)all * job->k;
    for (uint32_t t = 0; t < all; t++) {
        float *to = packed + (size_t)(t / width * width) * job->k + t % width;
        for (uint32_t k = 0; k < job->k; k++)
            to[(size_t)k * width] = t < job->tokens ? job->x[(size_t)t * job->k + k] : 0.0f;
    }
    for (uint32_t n = 0; n < job->n; n += SW_PANEL_WIDTH) {
        for (uint32_t t = 0; t < job->tokens; t += width) {
            swi_blis_tile(job->k, 1.0f, packed + (size_t)t * job->k,
                          job->weights + (size_t)n * job->k, false, tile, SW_PANEL_WIDTH);
            for (uint32_t row = t; row < job->tokens && row < t + width; row++)
                for (uint32_t i = 0; i < SW_PANEL_WIDTH; i++)
                    job->out[(size_t)row * job->n + n + i] = tile[(row - t) * SW_PANEL_WIDTH + i];
        }
    }
}
