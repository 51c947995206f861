/* SPDX-License-Identifier: MIT */
/* A BERT model's config.json, checked.
 * Keys: https://huggingface.co/docs/transformers/model_doc/bert#transformers.BertConfig; where a key
 * is absent or null its documented default applies. */
#ifndef SWI_ENCODER_CONFIG_H
#define SWI_ENCODER_CONFIG_H

#include <jansson.h>
#include <stdbool.h>

#include "core/error.h"
#include "kernels/kernels.h"

#define SWI_CONFIG_FILE "config.json"

struct swi_encoder_config {
    uint32_t layers, hidden, heads, intermediate;
    uint32_t vocab, positions, types;
    uint32_t labels; /* of id2label or num_labels; 0: neither is there */
    uint32_t widest; /* the widest input of a projection after the encoder; 0: none is wider than
                        hidden. Not of config.json: see description.h */
    float epsilon;   /* of every LayerNorm */
    enum swi_activation activation;
    bool untied;           /* "tie_word_embeddings": false */
    char architecture[64]; /* the first of "architectures"; "": not said */
};

/* Limits far above any BERT, so that products of two dimensions and a type's size fit in 64 bits. */
#define SWI_CONFIG_DIM_MAX    65536u
#define SWI_CONFIG_VOCAB_MAX  (16u << 20)
#define SWI_CONFIG_LAYERS_MAX 1024u

/* root: the parsed file (core/json.h). Errors: SW_EFORMAT (what is wrong with which key),
 * SW_EUNSUPPORTED (another architecture, activation, or kind of position embedding). */
int swi_encoder_config_take(const json_t *root, struct swi_encoder_config *ret,
                            struct swi_error *error);
/* The same from the file's bytes. */
int swi_encoder_config_parse(const void *json, size_t size, struct swi_encoder_config *ret,
                             struct swi_error *error);
/* The limits alone, for a config that comes from options. */
int swi_encoder_config_check(const struct swi_encoder_config *config, struct swi_error *error);

#endif
