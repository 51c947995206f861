/* SPDX-License-Identifier: MIT */
/* BERT's encoder: embeddings, layers, projections, on a ragged batch.
 *
 * The tokens of all sequences lie one after the other; nothing is padded. Every step of a layer but attention
 * works token by token and runs over blocks of tokens that fit the cache. The encoder does not know
 * where weights come from: its caller binds them (weights.h), keeps them in place while a call uses
 * them, and calls in the order of a pass:
 *
 *   swi_engine_begin
 *   swi_engine_add_words …      once for each part of the word table
 *   swi_engine_embed
 *   swi_engine_layer …
 *   swi_engine_hidden, swi_engine_project …
 *
 * Memory is kept between passes and grows only when a batch is larger than every one before.
 */
#ifndef SWI_ENCODER_ENGINE_H
#define SWI_ENCODER_ENGINE_H

#include <sw/encoder.h>

#include "encoder/weights.h"

typedef struct swi_engine swi_engine;

/* Errors: -ENOMEM, -EAGAIN (threads). */
int swi_engine_create(const struct swi_encoder_config *config, unsigned threads,
                      swi_engine **ret_engine);
void swi_engine_destroy(swi_engine *engine);

/* Starts a pass. batch is borrowed until the pass is over, and has been checked: swi_batch_check.
 * Errors: -ENOMEM. */
int swi_engine_begin(swi_engine *engine, const struct sw_encoder_batch *batch);

/* Puts in the words of the batch that are in this part of the table. */
void swi_engine_add_words(swi_engine *engine, const struct swi_table *words);
/* Whether the batch has a word in [first, first + rows). */
bool swi_engine_uses_words(const swi_engine *engine, uint32_t first, uint32_t rows);
/* Adds positions and types, and normalises. */
void swi_engine_embed(swi_engine *engine, const struct swi_embedding_weights *weights);

/* One layer. Errors: -EAGAIN, only in a child after fork that cannot start threads. */
int swi_engine_layer(swi_engine *engine, const struct swi_layer_weights *weights);

/* [tokens, hidden] as it is now; valid until the next pass begins. */
const float *swi_engine_hidden(const swi_engine *engine);

/* [tokens, 3 · hidden] of memory that nobody uses between the last layer and the next pass. */
float *swi_engine_spare(swi_engine *engine);

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
void swi_engine_project(swi_engine *engine, const struct swi_projection *projection);

unsigned swi_engine_threads(const swi_engine *engine);

/* Private working memory, in bytes. */
uint64_t swi_engine_scratch_bytes(const swi_engine *engine);

/* ids, types and lengths in range, at least one sequence. *ret_tokens is their sum.
 * Errors: -EINVAL with a message that says which. */
int swi_batch_check(const struct sw_encoder_batch *batch, const struct swi_encoder_config *config,
                    uint32_t *ret_tokens, struct swi_error *error);

#endif
