/* SPDX-License-Identifier: MIT */
/* A BERT model's config.json, parsed and checked.
 * Keys: https://huggingface.co/docs/transformers/model_doc/bert#transformers.BertConfig; where a key is
 * absent its documented default applies. */
#ifndef SWI_ENCODER_CONFIG_H
#define SWI_ENCODER_CONFIG_H

#include "core/error.h"
#include "kernels/kernels.h"

struct swi_encoder_config {
    uint32_t layers, hidden, heads, intermediate;
    uint32_t vocab, positions, types;
    uint32_t labels; /* of id2label or num_labels; 0: neither is there */
    float epsilon;   /* of every LayerNorm */
    enum swi_activation activation;
};

/* Limits far above any BERT, so that products of two dimensions and a type's size fit in 64 bits. */
#define SWI_CONFIG_DIM_MAX    65536u
#define SWI_CONFIG_VOCAB_MAX  (16u << 20)
#define SWI_CONFIG_LAYERS_MAX 1024u

/* json is borrowed for the call. Errors: SW_EFORMAT (what is wrong with which key), SW_EUNSUPPORTED
 * (another architecture, activation, or kind of position embedding), -ENOMEM. */
int swi_encoder_config_parse(const void *json, size_t size, struct swi_encoder_config *ret,
                             struct swi_error *error);

#endif
