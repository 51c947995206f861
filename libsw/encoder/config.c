/* SPDX-License-Identifier: MIT */
/* Reads config.json. Every number is checked against a range before it is used anywhere. */
#include "encoder/config.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "core/json.h"

static const struct dimension {
    const char *key;
    size_t offset;
    uint32_t fallback, most; /* fallback 0: the key must be there */
} dimensions[] = {
    {"num_hidden_layers", offsetof(struct swi_encoder_config, layers), 0, SWI_CONFIG_LAYERS_MAX},
    {"hidden_size", offsetof(struct swi_encoder_config, hidden), 0, SWI_CONFIG_DIM_MAX},
    {"num_attention_heads", offsetof(struct swi_encoder_config, heads), 0, SWI_CONFIG_DIM_MAX},
    {"intermediate_size", offsetof(struct swi_encoder_config, intermediate), 0, SWI_CONFIG_DIM_MAX},
    {"vocab_size", offsetof(struct swi_encoder_config, vocab), 0, SWI_CONFIG_VOCAB_MAX},
    {"max_position_embeddings", offsetof(struct swi_encoder_config, positions), 512,
     SWI_CONFIG_VOCAB_MAX},
    {"type_vocab_size", offsetof(struct swi_encoder_config, types), 2, SWI_CONFIG_DIM_MAX},
};
enum { DIMENSIONS = sizeof dimensions / sizeof dimensions[0] };

static uint32_t *field_of(struct swi_encoder_config *config, size_t offset)
{
    return (uint32_t *)(void *)((char *)config + offset);
}

int swi_encoder_config_check(const struct swi_encoder_config *config, struct swi_error *error)
{
    struct swi_encoder_config copy = *config;
    for (size_t i = 0; i < DIMENSIONS; i++) {
        uint32_t value = *field_of(&copy, dimensions[i].offset);
        if (value < 1 || value > dimensions[i].most)
            return swi_fail(error, SW_EFORMAT,
                            SWI_CONFIG_FILE ": \"%s\" must be a whole number from 1 to %u",
                            dimensions[i].key, dimensions[i].most);
    }
    if (config->hidden % config->heads)
        return swi_fail(error, SW_EFORMAT,
                        SWI_CONFIG_FILE
                        ": hidden_size %u is not a multiple of num_attention_heads %u",
                        config->hidden, config->heads);
    return 0;
}

static int read_activation(const json_t *root, enum swi_activation *ret, struct swi_error *error)
{
    static const struct {
        const char *name;
        enum swi_activation activation;
    } known[] = {
        {"gelu", SWI_ACT_GELU},
        {"gelu_python", SWI_ACT_GELU},
        {"gelu_new", SWI_ACT_GELU_TANH},
        {"gelu_fast", SWI_ACT_GELU_TANH},
        {"gelu_pytorch_tanh", SWI_ACT_GELU_TANH},
        {"relu", SWI_ACT_RELU},
        {"tanh", SWI_ACT_TANH},
    };
    const json_t *value = json_object_get(root, "hidden_act");
    const char *name = value ? json_string_value(value) : "gelu";
    for (size_t i = 0; name && i < sizeof known / sizeof known[0]; i++) {
        if (!strcmp(name, known[i].name)) {
            *ret = known[i].activation;
            return 0;
        }
    }
    return swi_fail(error, SW_EUNSUPPORTED,
                    SWI_CONFIG_FILE ": hidden_act \"%.40s\" is not supported; gelu, gelu_new, relu "
                                    "and tanh are",
                    name ? name : "(not a string)");
}

/* What would make the numbers come out wrong if it were ignored. A config without model_type is an
 * early BERT's. */
static int refuse_others(const json_t *root, struct swi_error *error)
{
    const json_t *type = json_object_get(root, "model_type");
    const char *name = type ? json_string_value(type) : "bert";
    if (!name || strcmp(name, "bert"))
        return swi_fail(error, SW_EUNSUPPORTED,
                        SWI_CONFIG_FILE ": model_type \"%.40s\" is not supported; \"bert\" is",
                        name ? name : "(not a string)");
    const char *position = json_string_value(json_object_get(root, "position_embedding_type"));
    if (position && strcmp(position, "absolute"))
        return swi_fail(error, SW_EUNSUPPORTED,
                        SWI_CONFIG_FILE
                        ": position_embedding_type \"%.40s\" is not supported; \"absolute\" is",
                        position);
    static const char *const decoder[] = {"is_decoder", "add_cross_attention"};
    for (size_t i = 0; i < 2; i++)
        if (swi_json_truth(json_object_get(root, decoder[i])))
            return swi_fail(error, SW_EUNSUPPORTED,
                            SWI_CONFIG_FILE ": %s is true; only encoders are supported",
                            decoder[i]);
    return 0;
}

static int read_epsilon(const json_t *root, float *ret, struct swi_error *error)
{
    const json_t *value = json_object_get(root, "layer_norm_eps");
    double epsilon = value ? json_number_value(value) : 1e-12;
    if ((value && !json_is_number(value)) || !(epsilon >= 0 && epsilon < 1))
        return swi_fail(error, SW_EFORMAT,
                        SWI_CONFIG_FILE ": \"layer_norm_eps\" must be a number from 0 to 1");
    *ret = (float)epsilon;
    return 0;
}

static int read_labels(const json_t *root, struct swi_encoder_config *c, struct swi_error *error)
{
    const json_t *names = json_object_get(root, "id2label");
    if (!json_is_object(names))
        return swi_json_get_uint(root, SWI_CONFIG_FILE, "num_labels", 0, SWI_CONFIG_DIM_MAX,
                                 &c->labels, error);
    if (json_object_size(names) > SWI_CONFIG_DIM_MAX)
        return swi_fail(error, SW_EUNSUPPORTED, SWI_CONFIG_FILE ": more than %u labels",
                        SWI_CONFIG_DIM_MAX);
    c->labels = (uint32_t)json_object_size(names);
    return 0;
}

int swi_encoder_config_take(const json_t *root, struct swi_encoder_config *ret,
                            struct swi_error *error)
{
    struct swi_encoder_config config = {0};
    int r = refuse_others(root, error);
    for (size_t i = 0; r == 0 && i < DIMENSIONS; i++) {
        uint32_t *field = field_of(&config, dimensions[i].offset);
        *field = dimensions[i].fallback;
        r = swi_json_get_uint(root, SWI_CONFIG_FILE, dimensions[i].key, 1, dimensions[i].most,
                              field, error);
    }
    if (r == 0)
        r = read_activation(root, &config.activation, error);
    if (r == 0)
        r = read_epsilon(root, &config.epsilon, error);
    if (r == 0)
        r = read_labels(root, &config, error);
    if (r == 0)
        r = swi_encoder_config_check(&config, error);
    if (r < 0)
        return r;
    config.untied = json_is_false(json_object_get(root, "tie_word_embeddings"));
    const char *architecture =
        json_string_value(json_array_get(json_object_get(root, "architectures"), 0));
    if (architecture)
        (void)snprintf(config.architecture, sizeof config.architecture, "%s", architecture);
    *ret = config;
    return 0;
}

int swi_encoder_config_parse(const void *json, size_t size, struct swi_encoder_config *ret,
                             struct swi_error *error)
{
    json_t *root;
    int r = swi_json_read_object(SWI_CONFIG_FILE, json, size, &root, error);
    if (r < 0)
        return r;
    r = swi_encoder_config_take(root, ret, error);
    json_decref(root);
    return r;
}
