/* SPDX-License-Identifier: MIT */
/* The small files that come with a model, as workers read them: config.json and
 * 1_Pooling/config.json, in two sections (see input.h). tokenizer.json and its like: see
 * fuzz_tokenizer.c. */
#include "encoder/config.h"
#include "encoder/labels.h"
#include "encoder/pooling.h"
#include "input.h"

static void read_labels(const char *json, size_t size, uint32_t count)
{
    struct swi_labels *labels;
    struct swi_error error = {0};
    if (swi_labels_parse(json, size, count, &labels, &error) < 0) {
        FUZZ_CHECK(error.text[0] != 0);
        return;
    }
    FUZZ_CHECK(labels->count == count);
    for (uint32_t i = 0; i < count; i++)
        FUZZ_CHECK(labels->names[i] != NULL);
    swi_labels_destroy(labels);
}

static void read_config(const char *json, size_t size)
{
    struct swi_encoder_config config;
    struct swi_error error = {0};
    if (swi_encoder_config_parse(json, size, &config, &error) < 0) {
        FUZZ_CHECK(error.text[0] != 0);
        return;
    }
    FUZZ_CHECK(config.layers > 0 && config.layers <= SWI_CONFIG_LAYERS_MAX);
    FUZZ_CHECK(config.hidden > 0 && config.hidden <= SWI_CONFIG_DIM_MAX);
    FUZZ_CHECK(config.heads > 0 && config.hidden % config.heads == 0);
    FUZZ_CHECK(config.intermediate > 0 && config.intermediate <= SWI_CONFIG_DIM_MAX);
    FUZZ_CHECK(config.vocab > 0 && config.vocab <= SWI_CONFIG_VOCAB_MAX);
    FUZZ_CHECK(config.positions > 0 && config.positions <= SWI_CONFIG_VOCAB_MAX);
    FUZZ_CHECK(config.types > 0 && config.types <= SWI_CONFIG_DIM_MAX);
    FUZZ_CHECK(config.labels <= SWI_CONFIG_DIM_MAX);
    FUZZ_CHECK(config.epsilon >= 0 && config.epsilon <= 1);
    if (config.labels > 0)
        read_labels(json, size, config.labels);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = fuzz_input_of(data, size);
    size_t config_size, pooling_size;
    const char *config = fuzz_section(&input, &config_size);
    const char *pooling = fuzz_section(&input, &pooling_size);
    if (config)
        read_config(config, config_size);
    enum sw_pooling kind = SW_POOLING_DEFAULT;
    struct swi_error error = {0};
    if (!pooling)
        return 0;
    if (swi_pooling_parse(pooling, pooling_size, &kind, &error) < 0)
        FUZZ_CHECK(error.text[0] != 0);
    else
        FUZZ_CHECK(kind == SW_POOLING_CLS || kind == SW_POOLING_MEAN || kind == SW_POOLING_MAX);
    return 0;
}
