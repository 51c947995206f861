/* SPDX-License-Identifier: MIT */
/* One vector for each sequence, from the hidden states of its tokens. */
#ifndef SWI_ENCODER_POOLING_H
#define SWI_ENCODER_POOLING_H

#include <stdbool.h>

#include <sw/encoder.h>

#include "core/error.h"

/* hidden: [tokens, width] of the batch; out: [sequences, width]. pooling: CLS, MEAN or MAX. Mean and max pass
 * over hidden tokens (mask 0); a sequence whose tokens are all hidden gives zeros. */
void swi_pool(enum sw_pooling pooling, const struct sw_encoder_batch *batch, const float *hidden,
              uint32_t width, float *out);

/* Each row to length 1; a row of zeros stays. */
void swi_normalize_rows(float *rows, uint32_t count, uint32_t width);

/* What sentence-transformers' 1_Pooling/config.json asks for. Errors: SW_EFORMAT, SW_EUNSUPPORTED (a kind of
 * pooling, or several at once), -ENOMEM. */
int swi_pooling_parse(const void *json, size_t size, enum sw_pooling *ret, struct swi_error *error);

#endif
