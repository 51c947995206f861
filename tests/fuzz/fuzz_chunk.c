/* SPDX-License-Identifier: MIT */
/* A chunk in the arena, as a worker looks at it: config.json in a section (see input.h), and the
 * chunk. Whatever is bound lies inside the chunk from end to end, so that no kernel need check. */
#include "client/view.h"
#include "encoder/weights.h"
#include "input.h"

struct chunk {
    const uint8_t *bytes;
    size_t size;
    const struct swi_view *view;
};

/* As sw_component_tensor has it. */
static int find(const void *context, const char *name, struct sw_tensor *ret)
{
    const struct chunk *chunk = context;
    int64_t number = swi_view_find(chunk->view, name);
    if (number < 0)
        return SW_ENOCOMPONENT;
    const struct swi_view_tensor *tensor = &chunk->view->tensor[number];
    FUZZ_CHECK(strcmp(chunk->view->strings->at[number], name) == 0);
    ret->name = name;
    ret->data = chunk->bytes + tensor->offset;
    ret->bytes = tensor->bytes;
    ret->rank = tensor->rank;
    ret->dtype = tensor->dtype;
    ret->layout = tensor->layout;
    memcpy(ret->shape, tensor->shape, sizeof ret->shape);
    return 0;
}

static void inside(const struct chunk *chunk, const void *data, uint64_t elements,
                   enum sw_dtype dtype)
{
    const uint8_t *start = data;
    uint64_t bytes = elements * sw_dtype_size(dtype);
    FUZZ_CHECK(start >= chunk->bytes && start <= chunk->bytes + chunk->size);
    FUZZ_CHECK(bytes <= (uint64_t)(chunk->bytes + chunk->size - start));
}

static void matrix_inside(const struct chunk *chunk, const struct swi_matrix *matrix)
{
    uint64_t rows = matrix->layout == SW_LAYOUT_PANEL
                        ? (matrix->n + SW_PANEL_WIDTH - 1u) / SW_PANEL_WIDTH * SW_PANEL_WIDTH
                        : matrix->n;
    inside(chunk, matrix->data, rows * matrix->k, matrix->dtype);
}

static void linear_inside(const struct chunk *chunk, const struct swi_linear *linear)
{
    matrix_inside(chunk, &linear->weight);
    inside(chunk, linear->bias, linear->weight.n, SW_DTYPE_F32);
}

static void norm_inside(const struct chunk *chunk, const struct swi_norm *norm, uint32_t hidden)
{
    inside(chunk, norm->gamma, hidden, SW_DTYPE_F32);
    inside(chunk, norm->beta, hidden, SW_DTYPE_F32);
}

static void table_inside(const struct chunk *chunk, const struct swi_table *table, uint32_t hidden)
{
    inside(chunk, table->data, (uint64_t)table->rows * hidden, table->dtype);
}

static void bind_layer(const struct chunk *chunk, const struct swi_tensor_source *source,
                       const struct swi_encoder_config *config)
{
    struct swi_layer_weights layer;
    struct swi_error error = {0};
    if (swi_bind_layer(source, config, &layer, &error) < 0) {
        FUZZ_CHECK(error.text[0] != 0);
        return;
    }
    FUZZ_CHECK(layer.qkv_count == 1 || layer.qkv_count == 3);
    for (unsigned i = 0; i < layer.qkv_count; i++)
        linear_inside(chunk, &layer.qkv[i]);
    linear_inside(chunk, &layer.attention_output);
    linear_inside(chunk, &layer.intermediate);
    linear_inside(chunk, &layer.output);
    norm_inside(chunk, &layer.attention_norm, config->hidden);
    norm_inside(chunk, &layer.output_norm, config->hidden);
}

static void bind_others(const struct chunk *chunk, const struct swi_tensor_source *source,
                        const struct swi_encoder_config *config)
{
    struct swi_embedding_weights embeddings;
    struct swi_table words;
    struct swi_linear dense;
    struct swi_matrix decoder;
    struct swi_error error = {0};
    if (swi_bind_embeddings(source, config, &embeddings, &error) == 0) {
        table_inside(chunk, &embeddings.positions, config->hidden);
        table_inside(chunk, &embeddings.types, config->hidden);
        norm_inside(chunk, &embeddings.norm, config->hidden);
    }
    if (swi_bind_table(source, "word_embeddings.weight", 0, config->hidden, &words, &error) == 0)
        table_inside(chunk, &words, config->hidden);
    if (swi_bind_linear(source, "dense", config->hidden, config->hidden, &dense, &error) == 0)
        linear_inside(chunk, &dense);
    if (swi_bind_matrix(source, "cls.predictions.decoder.weight", config->vocab, config->hidden,
                        &decoder, &error) == 0)
        matrix_inside(chunk, &decoder);
}

static void look(const struct chunk *chunk, const struct swi_encoder_config *config)
{
    for (size_t i = 0; i < chunk->view->count; i++) {
        const struct swi_view_tensor *tensor = &chunk->view->tensor[i];
        FUZZ_CHECK(tensor->bytes <= chunk->size && tensor->offset <= chunk->size - tensor->bytes);
        FUZZ_CHECK(swi_view_find(chunk->view, chunk->view->strings->at[i]) == (int64_t)i);
    }
    const struct swi_tensor_source source = {
        .find = find, .context = chunk, .component = "component"};
    if (config->hidden) {
        bind_layer(chunk, &source, config);
        bind_others(chunk, &source, config);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = fuzz_input_of(data, size);
    struct swi_encoder_config config = {0};
    struct swi_error error = {0};
    size_t config_size;
    const char *json = fuzz_section(&input, &config_size);
    if (json && swi_encoder_config_parse(json, config_size, &config, &error) < 0)
        config.hidden = 0;
    /* where an arena puts it, and no longer than it is */
    struct chunk chunk = {.size = (size_t)(input.end - input.at)};
    void *copy = NULL;
    FUZZ_CHECK(posix_memalign(&copy, 64, chunk.size ? chunk.size : 1) == 0);
    if (chunk.size)
        memcpy(copy, input.at, chunk.size);
    chunk.bytes = copy;
    struct swi_view *view, *again;
    const struct swi_strings *strings, *same;
    if (swi_view_parse(copy, chunk.size, NULL, &view, &strings, &error) == 0) {
        chunk.view = view;
        look(&chunk, &config);
        FUZZ_CHECK(swi_view_parse(copy, chunk.size, strings, &again, &same, &error) == 0);
        FUZZ_CHECK(same == strings && again->count == view->count);
        free(again);
        free(view);
        free((void *)(uintptr_t)strings);
    } else {
        FUZZ_CHECK(error.text[0] != 0);
    }
    free(copy);
    return 0;
}
