/* SPDX-License-Identifier: MIT */
/* Reads config.json. Every number is checked against a range before it is used anywhere. */
#include "encoder/config.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

static int read_dimension(const json_t *root, const char *key, uint32_t fallback, uint32_t most,
                          uint32_t *ret, struct swi_error *error)
{
    const json_t *value = json_object_get(root, key);
    if (!value && fallback) {
        *ret = fallback;
        return 0;
    }
    json_int_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < 1 || number > (json_int_t)most)
        return swi_fail(error, SW_EFORMAT,
                        "config.json: \"%s\" must be a whole number from 1 to %u", key, most);
    *ret = (uint32_t)number;
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
    if (!name)
        return swi_fail(error, SW_EFORMAT, "config.json: \"hidden_act\" must be a string");
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (!strcmp(name, known[i].name)) {
            *ret = known[i].activation;
            return 0;
        }
    }
    return swi_fail(error, SW_EUNSUPPORTED,
                    "config.json: hidden_act \"%.40s\" is not supported; gelu, gelu_new, relu and "
                    "tanh are",
                    name);
}

/* What would make the numbers come out wrong if it were passed over. */
static int refuse_others(const json_t *root, struct swi_error *error)
{
    const char *type = json_string_value(json_object_get(root, "model_type"));
    if (!type || strcmp(type, "bert"))
        return swi_fail(error, SW_EUNSUPPORTED,
                        "config.json: model_type is \"%.40s\"; this engine runs \"bert\"",
                        type ? type : "(none)");
    const char *position = json_string_value(json_object_get(root, "position_embedding_type"));
    if (position && strcmp(position, "absolute"))
        return swi_fail(error, SW_EUNSUPPORTED,
                        "config.json: position_embedding_type \"%.40s\" is not supported; "
                        "\"absolute\" is",
                        position);
    if (json_is_true(json_object_get(root, "is_decoder")))
        return swi_fail(error, SW_EUNSUPPORTED,
                        "config.json: is_decoder is true; only encoders are supported");
    return 0;
}

static int read_epsilon(const json_t *root, float *ret, struct swi_error *error)
{
    const json_t *value = json_object_get(root, "layer_norm_eps");
    double epsilon = value ? json_number_value(value) : 1e-12;
    if ((value && !json_is_number(value)) || !(epsilon >= 0 && epsilon < 1))
        return swi_fail(error, SW_EFORMAT,
                        "config.json: \"layer_norm_eps\" must be a number from 0 to 1");
    *ret = (float)epsilon;
    return 0;
}

static int read_config(const json_t *root, struct swi_encoder_config *c, struct swi_error *error)
{
    const uint32_t dim = SWI_CONFIG_DIM_MAX;
    const struct {
        const char *key;
        uint32_t fallback, most;
        uint32_t *to;
    } dimensions[] = {
        {"num_hidden_layers", 0, SWI_CONFIG_LAYERS_MAX, &c->layers},
        {"hidden_size", 0, dim, &c->hidden},
        {"num_attention_heads", 0, dim, &c->heads},
        {"intermediate_size", 0, dim, &c->intermediate},
        {"vocab_size", 0, SWI_CONFIG_VOCAB_MAX, &c->vocab},
        {"max_position_embeddings", 512, SWI_CONFIG_VOCAB_MAX, &c->positions},
        {"type_vocab_size", 2, dim, &c->types},
    };
    int r = refuse_others(root, error);
    for (size_t i = 0; r == 0 && i < sizeof dimensions / sizeof dimensions[0]; i++)
        r = read_dimension(root, dimensions[i].key, dimensions[i].fallback, dimensions[i].most,
                           dimensions[i].to, error);
    if (r == 0)
        r = read_activation(root, &c->activation, error);
    if (r == 0)
        r = read_epsilon(root, &c->epsilon, error);
    if (r < 0)
        return r;
    if (c->hidden % c->heads)
        return swi_fail(error, SW_EFORMAT,
                        "config.json: hidden_size %u is not a multiple of num_attention_heads %u",
                        c->hidden, c->heads);
    const json_t *names = json_object_get(root, "id2label");
    if (json_is_object(names) && json_object_size(names) <= dim)
        c->labels = (uint32_t)json_object_size(names);
    else if (json_object_get(root, "num_labels"))
        return read_dimension(root, "num_labels", 0, dim, &c->labels, error);
    return 0;
}

int swi_encoder_config_parse(const void *json, size_t size, struct swi_encoder_config *ret,
                             struct swi_error *error)
{
    json_error_t where;
    json_t *root = json_loadb(json, size, JSON_REJECT_DUPLICATES, &where);
    if (!root) {
        if (json_error_code(&where) == json_error_out_of_memory)
            return swi_fail(error, -ENOMEM, "config.json: out of memory");
        return swi_fail(error, SW_EFORMAT, "config.json: line %d: %s", where.line, where.text);
    }
    struct swi_encoder_config config = {0};
    int r = json_is_object(root)
                ? read_config(root, &config, error)
                : swi_fail(error, SW_EFORMAT, "config.json: must hold a JSON object");
    json_decref(root);
    if (r == 0)
        *ret = config;
    return r;
}
