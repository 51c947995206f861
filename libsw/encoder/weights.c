/* SPDX-License-Identifier: MIT */
/* From names to matrices. A wrong shape or type is an error here, so that the kernels need not check. */
#include "encoder/weights.h"

#include <stdio.h>
#include <string.h>

enum { NAME_MAX_BYTES = 96 };

static int find(const struct swi_tensor_source *source, const char *name, struct sw_tensor *tensor,
                struct swi_error *error)
{
    memset(tensor, 0, sizeof *tensor);
    tensor->size = sizeof *tensor;
    if (source->find(source->context, name, tensor) < 0)
        return swi_fail(error, SW_EFORMAT, "%s: tensor %s is missing; import the model again",
                        source->component, name);
    if ((uintptr_t)tensor->data % 64)
        return swi_fail(
            error, SW_EFORMAT,
            "%s: tensor %s does not start on a 64-byte boundary; import the model again",
            source->component, name);
    return 0;
}

static int wrong_shape(const struct swi_tensor_source *source, const char *name, const char *want,
                       struct swi_error *error)
{
    return swi_fail(error, SW_EFORMAT, "%s: tensor %s is not %s, which config.json requires",
                    source->component, name, want);
}

static bool is_float(enum sw_dtype dtype)
{
    return dtype == SW_DTYPE_F32 || dtype == SW_DTYPE_F16 || dtype == SW_DTYPE_BF16;
}

int swi_bind_vector(const struct swi_tensor_source *source, const char *name, uint32_t n,
                    const float **ret, struct swi_error *error)
{
    struct sw_tensor tensor;
    int r = find(source, name, &tensor, error);
    if (r < 0)
        return r;
    if (tensor.rank != 1 || tensor.shape[0] != n || tensor.dtype != SW_DTYPE_F32) {
        char want[48];
        (void)snprintf(want, sizeof want, "F32 [%u]", n);
        return wrong_shape(source, name, want, error);
    }
    *ret = tensor.data;
    return 0;
}

int swi_bind_matrix(const struct swi_tensor_source *source, const char *name, uint32_t n,
                    uint32_t k, struct swi_matrix *ret, struct swi_error *error)
{
    struct sw_tensor tensor;
    int r = find(source, name, &tensor, error);
    if (r < 0)
        return r;
    uint64_t panels = ((uint64_t)n + SW_PANEL_WIDTH - 1) / SW_PANEL_WIDTH;
    bool rows = tensor.rank == 2 && tensor.shape[0] == n && tensor.shape[1] == k;
    bool panel = tensor.rank == 3 && tensor.shape[0] == panels && tensor.shape[1] == k &&
                 tensor.shape[2] == SW_PANEL_WIDTH;
    if (!(rows || panel) || !is_float(tensor.dtype)) {
        char want[96];
        (void)snprintf(want, sizeof want, "a float matrix [%u, %u] in rows or panels", n, k);
        return wrong_shape(source, name, want, error);
    }
    *ret = (struct swi_matrix){.data = tensor.data,
                               .n = n,
                               .k = k,
                               .dtype = tensor.dtype,
                               .layout = panel ? SW_LAYOUT_PANEL : SW_LAYOUT_ROWS};
    return 0;
}

int swi_bind_linear(const struct swi_tensor_source *source, const char *prefix, uint32_t n,
                    uint32_t k, struct swi_linear *ret, struct swi_error *error)
{
    char name[NAME_MAX_BYTES];
    (void)snprintf(name, sizeof name, "%s.weight", prefix);
    int r = swi_bind_matrix(source, name, n, k, &ret->weight, error);
    if (r < 0)
        return r;
    (void)snprintf(name, sizeof name, "%s.bias", prefix);
    return swi_bind_vector(source, name, n, &ret->bias, error);
}

int swi_bind_norm(const struct swi_tensor_source *source, const char *prefix, uint32_t hidden,
                  struct swi_norm *ret, struct swi_error *error)
{
    char name[NAME_MAX_BYTES];
    (void)snprintf(name, sizeof name, "%s.weight", prefix);
    int r = swi_bind_vector(source, name, hidden, &ret->gamma, error);
    if (r < 0)
        return r;
    (void)snprintf(name, sizeof name, "%s.bias", prefix);
    return swi_bind_vector(source, name, hidden, &ret->beta, error);
}

int swi_bind_table(const struct swi_tensor_source *source, const char *name, uint32_t rows,
                   uint32_t hidden, struct swi_table *ret, struct swi_error *error)
{
    struct sw_tensor tensor;
    int r = find(source, name, &tensor, error);
    if (r < 0)
        return r;
    bool right_rows = rows ? tensor.shape[0] == rows
                           : tensor.shape[0] > 0 && tensor.shape[0] <= SWI_CONFIG_VOCAB_MAX;
    if (tensor.rank != 2 || !right_rows || tensor.shape[1] != hidden || !is_float(tensor.dtype)) {
        char want[64];
        (void)snprintf(want, sizeof want, "a float table [%u, %u]", rows, hidden);
        return wrong_shape(source, name, want, error);
    }
    *ret = (struct swi_table){
        .data = tensor.data, .rows = (uint32_t)tensor.shape[0], .dtype = tensor.dtype};
    return 0;
}

int swi_bind_embeddings(const struct swi_tensor_source *source,
                        const struct swi_encoder_config *config, struct swi_embedding_weights *ret,
                        struct swi_error *error)
{
    int r = swi_bind_table(source, "position_embeddings.weight", config->positions, config->hidden,
                           &ret->positions, error);
    if (r == 0)
        r = swi_bind_table(source, "token_type_embeddings.weight", config->types, config->hidden,
                           &ret->types, error);
    if (r == 0)
        r = swi_bind_norm(source, "LayerNorm", config->hidden, &ret->norm, error);
    return r;
}

static int bind_qkv(const struct swi_tensor_source *source, uint32_t hidden,
                    struct swi_layer_weights *ret, struct swi_error *error)
{
    static const char *const names[3] = {"attention.self.query", "attention.self.key",
                                         "attention.self.value"};
    struct sw_tensor fused = {.size = sizeof fused};
    if (source->find(source->context, "attention.qkv.weight", &fused) == 0) {
        ret->qkv_count = 1;
        return swi_bind_linear(source, "attention.qkv", 3 * hidden, hidden, &ret->qkv[0], error);
    }
    ret->qkv_count = 3;
    int r = 0;
    for (unsigned i = 0; i < 3 && r == 0; i++)
        r = swi_bind_linear(source, names[i], hidden, hidden, &ret->qkv[i], error);
    return r;
}

int swi_bind_layer(const struct swi_tensor_source *source, const struct swi_encoder_config *config,
                   struct swi_layer_weights *ret, struct swi_error *error)
{
    uint32_t hidden = config->hidden, inner = config->intermediate;
    int r = bind_qkv(source, hidden, ret, error);
    if (r == 0)
        r = swi_bind_linear(source, "attention.output.dense", hidden, hidden,
                            &ret->attention_output, error);
    if (r == 0)
        r = swi_bind_norm(source, "attention.output.LayerNorm", hidden, &ret->attention_norm,
                          error);
    if (r == 0)
        r = swi_bind_linear(source, "intermediate.dense", inner, hidden, &ret->intermediate, error);
    if (r == 0)
        r = swi_bind_linear(source, "output.dense", hidden, inner, &ret->output, error);
    if (r == 0)
        r = swi_bind_norm(source, "output.LayerNorm", hidden, &ret->output_norm, error);
    return r;
}
