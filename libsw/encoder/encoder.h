/* SPDX-License-Identifier: MIT */
/* BERT's encoder: embeddings, layers, projections, on a ragged batch.
 *
 * The tokens of all sequences lie one after the other; nothing is padded. Every step of a layer but attention
 * works token by token and runs over blocks of tokens that fit the cache. The encoder does not know
 * where weights come from: its caller binds them (weights.h), keeps them in place while a call uses
 * them, and calls in the order of a pass:
 *
 *   swi_encoder_begin
 *   swi_encoder_add_words …      once for each part of the word table
 *   swi_encoder_embed
 *   swi_encoder_layer …
 *   swi_encoder_hidden, swi_encoder_project …
 *
 * Memory is kept between passes and grows only when a batch is larger than every one before.
 */
#ifndef SWI_ENCODER_ENCODER_H
#define SWI_ENCODER_ENCODER_H

#include <sw/bert.h>

#include "encoder/weights.h"

typedef struct swi_encoder swi_encoder;

/* Errors: -ENOMEM, -EAGAIN (threads). */
int swi_encoder_create(const struct swi_bert_config *config, unsigned threads,
                       swi_encoder **ret_encoder);
void swi_encoder_destroy(swi_encoder *encoder);

/* Starts a pass. batch is borrowed until the pass is over, and has been checked: swi_batch_check.
 * Errors: -ENOMEM. */
int swi_encoder_begin(swi_encoder *encoder, const struct sw_bert_batch *batch);

/* Puts in the words of the batch that are in this part of the table. */
void swi_encoder_add_words(swi_encoder *encoder, const struct swi_table *words);
/* Whether the batch has a word in [first, first + rows). */
bool swi_encoder_uses_words(const swi_encoder *encoder, uint32_t first, uint32_t rows);
/* Adds positions and types, and normalises. */
void swi_encoder_embed(swi_encoder *encoder, const struct swi_embedding_weights *weights);

/* One layer. Errors: -EAGAIN, only in a child after fork that cannot start threads. */
int swi_encoder_layer(swi_encoder *encoder, const struct swi_layer_weights *weights);

/* [tokens, hidden] as it is now; valid until the next pass begins. */
const float *swi_encoder_hidden(const swi_encoder *encoder);

/* [tokens, 3 · hidden] of memory that nobody uses between the last layer and the next pass. */
float *swi_encoder_spare(swi_encoder *encoder);

/* out[rows, n] = activation(x[rows, k] · W^T + bias), for any number of rows; k is hidden or
 * intermediate. By the calling thread alone. */
struct swi_projection {
    const float *x; /* [rows, k] */
    size_t stride;  /* of x, in floats */
    uint32_t rows;
    const struct swi_linear *linear;
    enum swi_activation activation;
    float *out;        /* [rows, n] */
    size_t out_stride; /* in floats */
};
void swi_encoder_project(swi_encoder *encoder, const struct swi_projection *projection);

unsigned swi_encoder_threads(const swi_encoder *encoder);

/* Private working memory, in bytes. */
uint64_t swi_encoder_scratch_bytes(const swi_encoder *encoder);

/* ids, types and lengths in range, at least one sequence. *ret_tokens is their sum.
 * Errors: -EINVAL with a message that says which. */
int swi_batch_check(const struct sw_bert_batch *batch, const struct swi_bert_config *config,
                    uint32_t *ret_tokens, struct swi_error *error);

#endif
