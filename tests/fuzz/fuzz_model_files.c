/* SPDX-License-Identifier: MIT */
/* The small files that come with a model, as import and workers read them, in sections (see
 * input.h): whatever is accepted has sizes that the engine can compute with. tokenizer.json and its
 * like: see fuzz_tokenizer.c. */
#include <stdlib.h>
#include <string.h>

#include "encoder/description.h"
#include "input.h"

/* In the order of the sections. */
static const char *const names[] = {
    "config.json",           "1_Pooling/config.json",     "modules.json",
    "tokenizer_config.json", "sentence_bert_config.json", "config_sentence_transformers.json",
    "2_Dense/config.json",   "0_Transformer/config.json",
};
enum { FILES = sizeof names / sizeof names[0] };

struct sections {
    const char *data[FILES];
    size_t sizes[FILES];
};

static int read_section(void *context, const char *path, void **ret_data, size_t *ret_size,
                        struct swi_error *error)
{
    const struct sections *sections = context;
    for (size_t i = 0; i < FILES; i++) {
        if (!sections->data[i] || strcmp(path, names[i]) != 0)
            continue;
        char *copy = malloc(sections->sizes[i] + 1);
        if (!copy)
            return swi_fail(error, SW_EFORMAT, "out of memory");
        memcpy(copy, sections->data[i], sections->sizes[i]);
        copy[sections->sizes[i]] = 0;
        *ret_data = copy;
        *ret_size = sections->sizes[i];
        return 0;
    }
    return SW_ENOCOMPONENT;
}

static void check_config(const struct swi_encoder_config *config)
{
    FUZZ_CHECK(config->layers > 0 && config->layers <= SWI_CONFIG_LAYERS_MAX);
    FUZZ_CHECK(config->hidden > 0 && config->hidden <= SWI_CONFIG_DIM_MAX);
    FUZZ_CHECK(config->heads > 0 && config->hidden % config->heads == 0);
    FUZZ_CHECK(config->intermediate > 0 && config->intermediate <= SWI_CONFIG_DIM_MAX);
    FUZZ_CHECK(config->vocab > 0 && config->vocab <= SWI_CONFIG_VOCAB_MAX);
    FUZZ_CHECK(config->positions > 0 && config->positions <= SWI_CONFIG_VOCAB_MAX);
    FUZZ_CHECK(config->types > 0 && config->types <= SWI_CONFIG_DIM_MAX);
    FUZZ_CHECK(config->labels <= SWI_CONFIG_DIM_MAX);
    FUZZ_CHECK(config->epsilon >= 0 && config->epsilon <= 1);
}

static void check_modules(const struct swi_description *d)
{
    const struct swi_modules *modules = &d->modules;
    uint32_t width = modules->pooling.count * d->config.hidden;
    FUZZ_CHECK(modules->pooling.count <= SWI_POOLING_KINDS_MAX);
    for (uint32_t i = 0; i < modules->count; i++) {
        FUZZ_CHECK(modules->after[i].in == width && modules->after[i].out > 0);
        FUZZ_CHECK(width <= d->config.hidden || width <= d->config.widest);
        width = modules->after[i].out;
    }
    FUZZ_CHECK(d->embedding_size <= width);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = fuzz_input_of(data, size);
    struct sections sections;
    for (size_t i = 0; i < FILES; i++)
        sections.data[i] = fuzz_section(&input, &sections.sizes[i]);
    struct swi_files files = {.read = read_section, .context = &sections};
    struct swi_description description;
    struct swi_error error = {0};
    if (swi_description_read(&files, &description, &error) < 0) {
        FUZZ_CHECK(error.text[0] != 0);
        return 0;
    }
    check_config(&description.config);
    check_modules(&description);
    FUZZ_CHECK(description.max_tokens >= 1 &&
               description.max_tokens <= description.config.positions);
    FUZZ_CHECK(description.default_prompt != NULL);
    for (uint32_t i = 0; i < description.labels.count; i++)
        FUZZ_CHECK(description.labels.names[i] != NULL);
    swi_description_fini(&description);
    return 0;
}
