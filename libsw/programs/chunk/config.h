/* SPDX-License-Identifier: MIT */
/* The part of a BERT config.json that fixes the shapes of the tensors. */
#ifndef SWI_PROGRAMS_CHUNK_CONFIG_H
#define SWI_PROGRAMS_CHUNK_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

#define CONFIG_FILE      "config.json"
#define CONFIG_BYTES_MAX (4u << 20)

struct model_config {
    uint32_t layers, hidden, heads, intermediate;
    uint32_t vocab, positions, types;
    uint32_t labels; /* 0: the config does not say */
    bool untied;     /* "tie_word_embeddings": false */
};

/* Parses and checks: a BERT, every number there and within limits, heads that divide the hidden
 * size. */
int model_config_parse(const char *json, size_t size, struct model_config *ret,
                       struct swi_error *error);

/* The checks alone, for a config that comes from options. */
int model_config_check(const struct model_config *config, struct swi_error *error);

#endif
