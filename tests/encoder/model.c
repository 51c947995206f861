/* SPDX-License-Identifier: MIT */
/* See encoder/model.h. The reference is in encoder/reference.c. */
#include "encoder/model.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/half.h"
#include "core/panel.h"
#include "encoder/model_parts.h"
#include "kernels/random.h"
#include "programs/chunk/source/synth_random.h"

/* ---- files ------------------------------------------------------------------------------------------ */

static char *read_whole(const char *path, size_t *ret_size)
{
    FILE *file = fopen(path, "rb");
    cr_assert(file, "cannot open %s", path);
    cr_assert(fseek(file, 0, SEEK_END) == 0);
    long size = ftell(file);
    cr_assert(size >= 0 && fseek(file, 0, SEEK_SET) == 0);
    char *bytes = aligned_bytes((size_t)size + 1);
    cr_assert_eq(fread(bytes, 1, (size_t)size, file), (size_t)size);
    bytes[size] = 0;
    fclose(file);
    *ret_size = (size_t)size;
    return bytes;
}

struct tensor_file tensor_file_read(const char *path)
{
    struct tensor_file file = {0};
    struct swi_error error = {0};
    size_t size = 0;
    file.bytes = read_whole(path, &size);
    int r = swi_safetensors_parse(file.bytes, size, size, &file.header, NULL, &error);
    cr_assert(r == 0, "%s: %s", path, error.text);
    return file;
}

void tensor_file_free(struct tensor_file *file)
{
    swi_safetensors_fini(&file->header);
    free(file->bytes);
}

const void *tensor_file_data(const struct tensor_file *file, const char *name, enum sw_dtype dtype,
                             size_t *ret_count)
{
    const struct swi_tensor *tensor = swi_safetensors_find(&file->header, name);
    if (!tensor)
        return NULL;
    cr_assert_eq(tensor->dtype, dtype, "%s", name);
    if (ret_count)
        *ret_count = (size_t)(tensor->bytes / sw_dtype_size(dtype));
    return file->bytes + tensor->offset;
}

/* ---- tensors ------------------------------------------------------------------------------------------ */

const struct part *bert_model_part(const struct bert_model *model, const char *name)
{
    for (size_t i = 0; i < model->count; i++)
        if (!strcmp(model->parts[i].name, name))
            return &model->parts[i];
    return NULL;
}

const float *bert_model_values(const struct bert_model *model, const char *format, ...)
{
    char name[128];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(name, sizeof name, format, arguments);
    va_end(arguments);
    const struct part *part = bert_model_part(model, name);
    cr_assert(part, "the model has no %s", name);
    return part->values;
}

static struct part *add_part(struct bert_model *model, const char *name, uint32_t n, uint32_t k)
{
    cr_assert(model->count < PARTS_MAX);
    struct part *part = &model->parts[model->count++];
    (void)snprintf(part->name, sizeof part->name, "%s", name);
    part->n = n;
    part->k = k;
    part->values = aligned_bytes((size_t)n * (k ? k : 1) * sizeof(float));
    return part;
}

struct filler {
    const struct tensor_file *file; /* or, when NULL, */
    uint64_t seed;
};

static void fill(struct bert_model *model, const struct filler *from, const char *name, uint32_t n,
                 uint32_t k)
{
    struct part *part = add_part(model, name, n, k);
    size_t count = (size_t)n * (k ? k : 1), found = 0;
    if (!from->file) {
        struct synth_stream stream = synth_stream_of(from->seed, name, k);
        synth_fill(&stream, 0, count, part->values);
        return;
    }
    const void *data = tensor_file_data(from->file, name, SW_DTYPE_F32, &found);
    cr_assert(data && found == count, "%s: not there, or of another size", name);
    memcpy(part->values, data, count * sizeof(float));
}

static void fill_both(struct bert_model *model, const struct filler *from, const char *prefix,
                      uint32_t n, uint32_t k)
{
    char name[128];
    (void)snprintf(name, sizeof name, "%s.weight", prefix);
    fill(model, from, name, n, k);
    (void)snprintf(name, sizeof name, "%s.bias", prefix);
    fill(model, from, name, n, 0);
}

static void fill_all(struct bert_model *model, const struct filler *from)
{
    const struct swi_encoder_config *c = &model->config;
    uint32_t h = c->hidden;
    fill(model, from, "embeddings.word_embeddings.weight", c->vocab, h);
    fill(model, from, "embeddings.position_embeddings.weight", c->positions, h);
    fill(model, from, "embeddings.token_type_embeddings.weight", c->types, h);
    fill_both(model, from, "embeddings.LayerNorm", h, 0);
    for (uint32_t i = 0; i < c->layers; i++) {
        static const char *const square[] = {"attention.self.query", "attention.self.key",
                                             "attention.self.value", "attention.output.dense"};
        char prefix[96];
        for (size_t j = 0; j < 4; j++) {
            (void)snprintf(prefix, sizeof prefix, "encoder.layer.%u.%s", i, square[j]);
            fill_both(model, from, prefix, h, h);
        }
        (void)snprintf(prefix, sizeof prefix, "encoder.layer.%u.attention.output.LayerNorm", i);
        fill_both(model, from, prefix, h, 0);
        (void)snprintf(prefix, sizeof prefix, "encoder.layer.%u.intermediate.dense", i);
        fill_both(model, from, prefix, c->intermediate, h);
        (void)snprintf(prefix, sizeof prefix, "encoder.layer.%u.output.dense", i);
        fill_both(model, from, prefix, h, c->intermediate);
        (void)snprintf(prefix, sizeof prefix, "encoder.layer.%u.output.LayerNorm", i);
        fill_both(model, from, prefix, h, 0);
    }
    if (model->pooler)
        fill_both(model, from, "pooler.dense", h, h);
}

static struct bert_model *make(const char *json, size_t size)
{
    struct bert_model *model = calloc(1, sizeof *model);
    struct swi_error error = {0};
    cr_assert(model);
    int r = swi_encoder_config_parse(json, size, &model->config, &error);
    cr_assert(r == 0, "%s", error.text);
    return model;
}

struct bert_model *bert_model_read(const char *directory)
{
    char path[512];
    size_t size = 0;
    (void)snprintf(path, sizeof path, "%s/config.json", directory);
    char *json = read_whole(path, &size);
    struct bert_model *model = make(json, size);
    free(json);
    (void)snprintf(path, sizeof path, "%s/model.safetensors", directory);
    struct tensor_file file = tensor_file_read(path);
    model->pooler = swi_safetensors_find(&file.header, "pooler.dense.weight") != NULL;
    fill_all(model, &(struct filler){.file = &file});
    tensor_file_free(&file);
    return model;
}

struct bert_model *bert_model_synth(const char *config_json, bool pooler, uint64_t seed)
{
    struct bert_model *model = make(config_json, strlen(config_json));
    model->pooler = pooler;
    fill_all(model, &(struct filler){.seed = seed});
    return model;
}

const struct swi_encoder_config *bert_model_config(const struct bert_model *model)
{
    return &model->config;
}

void bert_model_free(struct bert_model *model)
{
    for (size_t i = 0; i < model->count; i++) {
        free(model->parts[i].values);
        free(model->parts[i].stored);
    }
    free(model);
}

/* ---- storing ---------------------------------------------------------------------------------------- */

static void round_part(struct part *part, enum sw_dtype dtype)
{
    for (size_t i = 0; i < (size_t)part->n * part->k; i++) {
        if (dtype == SW_DTYPE_F16)
            part->values[i] = swi_f16_to_f32(swi_f32_to_f16(part->values[i]));
        else if (dtype == SW_DTYPE_BF16)
            part->values[i] = swi_bf16_to_f32(swi_f32_to_bf16(part->values[i]));
    }
}

static void narrow(void *out, const float *in, size_t count, enum sw_dtype dtype)
{
    uint16_t *halves = out;
    if (dtype == SW_DTYPE_F32)
        memcpy(out, in, count * sizeof *in);
    else
        for (size_t i = 0; i < count; i++)
            halves[i] = dtype == SW_DTYPE_F16 ? swi_f32_to_f16(in[i]) : swi_f32_to_bf16(in[i]);
}

/* values → stored, as a chunk has it */
static void fdstore_part(struct part *part, enum sw_layout layout, enum sw_dtype dtype)
{
    size_t count = (size_t)part->n * (part->k ? part->k : 1);
    bool table = strstr(part->name, "embeddings.weight") != NULL;
    part->dtype = part->k ? dtype : SW_DTYPE_F32;
    part->layout = part->k && !table ? layout : SW_LAYOUT_ROWS;
    size_t size = sw_dtype_size(part->dtype);
    free(part->stored);
    part->stored = aligned_bytes(count * size);
    narrow(part->stored, part->values, count, part->dtype);
    if (part->layout == SW_LAYOUT_PANEL) {
        void *panels = aligned_bytes(swi_panel_elements(part->n, part->k) * size);
        swi_panel_from_rows(panels, part->stored, part->n, part->k, size);
        free(part->stored);
        part->stored = panels;
    }
}

/* Adds layer's attention.qkv.{weight,bias}: query, key and value one below the other. */
static void fuse(struct bert_model *model, uint32_t layer, const char *what)
{
    static const char *const names[3] = {"query", "key", "value"};
    uint32_t h = model->config.hidden;
    char name[128];
    (void)snprintf(name, sizeof name, "encoder.layer.%u.attention.qkv.%s", layer, what);
    if (bert_model_part(model, name))
        return;
    bool matrix = !strcmp(what, "weight");
    struct part *fused = add_part(model, name, 3 * h, matrix ? h : 0);
    size_t each = (size_t)h * (matrix ? h : 1);
    for (size_t i = 0; i < 3; i++)
        memcpy(fused->values + i * each,
               bert_model_values(model, "encoder.layer.%u.attention.self.%s.%s", layer, names[i],
                                 what),
               each * sizeof(float));
}

void bert_model_store(struct bert_model *model, enum sw_layout layout, enum sw_dtype dtype)
{
    model->layout = layout;
    for (size_t i = 0; i < model->count; i++)
        round_part(&model->parts[i], dtype);
    for (uint32_t i = 0; layout == SW_LAYOUT_PANEL && i < model->config.layers; i++) {
        fuse(model, i, "weight");
        fuse(model, i, "bias");
    }
    for (size_t i = 0; i < model->count; i++)
        fdstore_part(&model->parts[i], layout, dtype);
}

/* ---- running ------------------------------------------------------------------------------------------ */

struct prefix {
    const struct bert_model *model;
    const char *text;
};

static int find_stored(const void *context, const char *name, struct sw_tensor *tensor)
{
    const struct prefix *prefix = context;
    char full[160];
    (void)snprintf(full, sizeof full, "%s%s", prefix->text, name);
    const struct part *part = bert_model_part(prefix->model, full);
    bool fused = strstr(name, "qkv") != NULL;
    if (!part || (fused && prefix->model->layout == SW_LAYOUT_ROWS))
        return SW_ENOCOMPONENT;
    tensor->data = part->stored;
    tensor->dtype = part->dtype;
    tensor->rank = part->k == 0 ? 1 : part->layout == SW_LAYOUT_PANEL ? 3 : 2;
    tensor->shape[0] =
        tensor->rank == 3 ? (part->n + SW_PANEL_WIDTH - 1) / SW_PANEL_WIDTH : part->n;
    tensor->shape[1] = part->k;
    tensor->shape[2] = SW_PANEL_WIDTH;
    return 0;
}

void bert_model_forward(const struct bert_model *model, swi_engine *engine,
                        const struct sw_encoder_batch *batch, float *hidden, float *pooled)
{
    const struct swi_encoder_config *c = &model->config;
    struct swi_error error = {0};
    struct prefix prefix = {.model = model, .text = "embeddings."};
    struct swi_tensor_source source = {
        .find = find_stored, .context = &prefix, .component = "test"};
    struct swi_embedding_weights embeddings;
    struct swi_table words;
    uint32_t tokens = 0;
    cr_assert_eq(swi_batch_check(batch, c, &tokens, &error), 0, "%s", error.text);
    cr_assert_eq(swi_engine_begin(engine, batch), 0);
    cr_assert_eq(swi_bind_embeddings(&source, c, &embeddings, &error), 0, "%s", error.text);
    cr_assert_eq(
        swi_bind_table(&source, "word_embeddings.weight", c->vocab, c->hidden, &words, &error), 0,
        "%s", error.text);
    swi_engine_add_words(engine, &words);
    swi_engine_embed(engine, &embeddings);
    for (uint32_t i = 0; i < c->layers; i++) {
        char text[64];
        struct swi_layer_weights weights;
        (void)snprintf(text, sizeof text, "encoder.layer.%u.", i);
        prefix.text = text;
        cr_assert_eq(swi_bind_layer(&source, c, &weights, &error), 0, "%s", error.text);
        cr_assert_eq(swi_engine_layer(engine, &weights), 0);
    }
    memcpy(hidden, swi_engine_hidden(engine), (size_t)tokens * c->hidden * sizeof *hidden);
    if (!pooled)
        return;
    struct swi_linear dense;
    prefix.text = "pooler.";
    cr_assert_eq(swi_bind_linear(&source, "dense", c->hidden, c->hidden, &dense, &error), 0, "%s",
                 error.text);
    for (uint32_t s = 0, first = 0; s < batch->sequences; first += batch->lengths[s++]) {
        struct swi_projection projection = {.x = swi_engine_hidden(engine) +
                                                 (size_t)first * c->hidden,
                                            .stride = c->hidden,
                                            .rows = 1,
                                            .linear = &dense,
                                            .activation = SWI_ACT_TANH,
                                            .out = pooled + (size_t)s * c->hidden,
                                            .out_stride = c->hidden};
        swi_engine_project(engine, &projection);
    }
}
