/* SPDX-License-Identifier: MIT */
/* A whole BERT model in the memory of a test: from a Hugging Face directory or from the seeded generator,
 * stored in any layout and type as chunks store it, run by the real encoder or by a plain reference in
 * double. A helper that cannot do its work ends the test.
 */
#ifndef SWT_ENCODER_MODEL_H
#define SWT_ENCODER_MODEL_H

#include "core/safetensors.h"
#include "encoder/engine.h"

/* ---- safetensors files --------------------------------------------------------------------------- */

struct tensor_file {
    char *bytes;
    struct swi_safetensors header;
};
struct tensor_file tensor_file_read(const char *path);
void tensor_file_free(struct tensor_file *file);
/* Its data, checked to be of that type; *ret_count elements. NULL when there is none of that name. */
const void *tensor_file_data(const struct tensor_file *file, const char *name, enum sw_dtype dtype,
                             size_t *ret_count);

/* ---- models --------------------------------------------------------------------------------------- */

struct bert_model;

/* Weights from model.safetensors of a Hugging Face directory, names without "bert.". */
struct bert_model *bert_model_read(const char *directory);
/* Weights from the generator of swchunk synth. */
struct bert_model *bert_model_synth(const char *config_json, bool pooler, uint64_t seed);
void bert_model_free(struct bert_model *model);
const struct swi_encoder_config *bert_model_config(const struct bert_model *model);

/* Rounds matrices and tables to dtype, for good, and stores them in that layout. */
void bert_model_store(struct bert_model *model, enum sw_layout layout, enum sw_dtype dtype);

/* Through the encoder, on the stored weights. hidden [tokens, hidden]; pooled [sequences, hidden] or NULL. */
void bert_model_forward(const struct bert_model *model, swi_engine *engine,
                        const struct sw_encoder_batch *batch, float *hidden, float *pooled);
/* The same by the definition, in double, on the rounded weights. */
void bert_model_reference(const struct bert_model *model, const struct sw_encoder_batch *batch,
                          double *hidden, double *pooled);

#endif
