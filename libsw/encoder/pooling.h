/* SPDX-License-Identifier: MIT */
/* One vector for each sequence, from the hidden states of its tokens. */
#ifndef SWI_ENCODER_POOLING_H
#define SWI_ENCODER_POOLING_H

#include <sw/encoder.h>

#include "encoder/modules.h"

/* hidden: [tokens, width] of the batch; out: [sequences, count · width], the kinds beside each
 * other. Kinds: any but DEFAULT and POOLER. Tokens that the mask hides are left out, and so are the
 * first `prompt` of each sequence; a sequence of which nothing is left gives zeros. Weights of
 * WEIGHTED_MEAN count from the sequence's first token. */
void swi_pool(const struct swi_pooling *pooling, const struct sw_encoder_batch *batch,
              const float *hidden, uint32_t width, uint32_t prompt, float *out);

/* Each row to length 1; a row of zeros stays. */
void swi_normalize_rows(float *rows, uint32_t count, uint32_t width);

#endif
