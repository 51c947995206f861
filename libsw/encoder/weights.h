/* SPDX-License-Identifier: MIT */
/* A component's tensors, found by name, checked against the config, and put where the encoder wants
 * them. Where they come from does not matter: a leased component, or a file in a test.
 * Names are Hugging Face's without the component's prefix; Q, K and V are one fused matrix in layout
 * panel and three in layout rows.
 */
#ifndef SWI_ENCODER_WEIGHTS_H
#define SWI_ENCODER_WEIGHTS_H

#include <sw/client.h>

#include "encoder/config.h"
#include "kernels/gemm.h"

/* Finds a tensor by name. Returns 0, or SW_ENOCOMPONENT. The tensor's size member is set already. */
struct swi_tensor_source {
    int (*find)(const void *context, const char *name, struct sw_tensor *ret_tensor);
    const void *context;
    const char *component; /* for messages */
};

struct swi_linear {
    struct swi_matrix weight; /* [n, k] */
    const float *bias;        /* [n], or NULL */
};

struct swi_norm {
    const float *gamma, *beta; /* [hidden] */
};

struct swi_layer_weights {
    struct swi_linear qkv[3]; /* one [3·hidden, hidden], or Q, K, V of [hidden, hidden] each */
    unsigned qkv_count;       /* 1 or 3 */
    struct swi_linear attention_output; /* [hidden, hidden] */
    struct swi_norm attention_norm;
    struct swi_linear intermediate; /* [intermediate, hidden] */
    struct swi_linear output;       /* [hidden, intermediate] */
    struct swi_norm output_norm;
};

/* A lookup table of rows; may be a part of one, from first_row. */
struct swi_table {
    const void *data; /* [rows, hidden] */
    uint32_t first_row, rows;
    enum sw_dtype dtype;
};

struct swi_embedding_weights {
    struct swi_table positions, types;
    struct swi_norm norm;
};

/* All return 0, or SW_EFORMAT with a message that names component and tensor. What they fill in borrows
 * from the source. */
int swi_bind_layer(const struct swi_tensor_source *source, const struct swi_encoder_config *config,
                   struct swi_layer_weights *ret, struct swi_error *error);
int swi_bind_embeddings(const struct swi_tensor_source *source,
                        const struct swi_encoder_config *config, struct swi_embedding_weights *ret,
                        struct swi_error *error);
/* rows: how many the table must have; 0: at least one. first_row is left at 0. */
int swi_bind_table(const struct swi_tensor_source *source, const char *name, uint32_t rows,
                   uint32_t hidden, struct swi_table *ret, struct swi_error *error);
/* Binds prefix.weight [n, k] and prefix.bias [n]. */
int swi_bind_norm(const struct swi_tensor_source *source, const char *prefix, uint32_t hidden,
                  struct swi_norm *ret, struct swi_error *error);
int swi_bind_vector(const struct swi_tensor_source *source, const char *name, uint32_t n,
                    const float **ret, struct swi_error *error);
int swi_bind_matrix(const struct swi_tensor_source *source, const char *name, uint32_t n,
                    uint32_t k, struct swi_matrix *ret, struct swi_error *error);
int swi_bind_linear(const struct swi_tensor_source *source, const char *prefix, uint32_t n,
                    uint32_t k, struct swi_linear *ret, struct swi_error *error);

#endif
