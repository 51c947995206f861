/* SPDX-License-Identifier: MIT */
/* Attention of one head over one sequence: softmax(Q·K^T / √size) · V, on rows of packed Q, K and V. */
#ifndef SWI_ENCODER_ATTENTION_H
#define SWI_ENCODER_ATTENTION_H

#include "kernels/gemm.h"

struct swi_attention {
    const float *q, *k, *v; /* [tokens, size] of the sequence and head, row stride in floats */
    size_t stride;
    uint32_t tokens, size;
    const uint8_t
        *mask;  /* [tokens]: 0 hides that token as a key; NULL: none is hidden. With all hidden, all
                            count alike */
    float *out; /* [tokens, size] */
    size_t out_stride;
};

/* Working memory: floats, 64-byte aligned. Grows with tokens. */
size_t swi_attention_scratch_floats(uint32_t tokens, uint32_t size);

/* The result for a sequence depends on that sequence alone. */
void swi_attend(const struct swi_attention *attention, float *scratch);

#endif
