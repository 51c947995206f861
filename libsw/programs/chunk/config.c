/* SPDX-License-Identifier: MIT */
/* config.json → shapes. Pure.
 *
 * Keys that say how to compute (activation, eps, dropout) are the engine's business and not looked
 * at; those that would change which tensors there are, or what they mean, are.
 */
#include "programs/chunk/config.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

/* Limits far beyond any published model, so that products of two sizes fit in 64 bits and a plan in
 * memory. */
static const struct limit {
    const char *key;
    size_t offset;
    uint32_t most;
    uint32_t
        fallback; /* what Hugging Face's BertConfig means by a missing key; 0: it must be there */
} limits[] = {
    {"num_hidden_layers", offsetof(struct model_config, layers), 1024, 0},
    {"hidden_size", offsetof(struct model_config, hidden), 1u << 16, 0},
    {"num_attention_heads", offsetof(struct model_config, heads), 1u << 12, 0},
    {"intermediate_size", offsetof(struct model_config, intermediate), 1u << 20, 0},
    {"vocab_size", offsetof(struct model_config, vocab), 1u << 24, 0},
    {"max_position_embeddings", offsetof(struct model_config, positions), 1u << 20, 512},
    {"type_vocab_size", offsetof(struct model_config, types), 1u << 10, 2},
};

static uint32_t *field_of(struct model_config *config, size_t offset)
{
    return (uint32_t *)(void *)((char *)config + offset);
}

static int read_numbers(const json_t *root, struct model_config *config, struct swi_error *error)
{
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        const json_t *value = json_object_get(root, limits[i].key);
        uint32_t *field = field_of(config, limits[i].offset);
        if (!value && limits[i].fallback) {
            *field = limits[i].fallback;
            continue;
        }
        json_int_t number = json_integer_value(value);
        if (!json_is_integer(value) || number < 1 || number > limits[i].most)
            return swi_fail(error, SW_EFORMAT, "\"%s\" is missing or no number from 1 to %u",
                            limits[i].key, limits[i].most);
        *field = (uint32_t)number;
    }
    return 0;
}

/* Refuses what is not a plain BERT encoder. A config without model_type is an early BERT's. */
static int check_kind(const json_t *root, struct swi_error *error)
{
    const json_t *type = json_object_get(root, "model_type");
    if (type && (!json_is_string(type) || strcmp(json_string_value(type), "bert") != 0))
        return swi_fail(error, SW_EUNSUPPORTED, "model_type is \"%.64s\"; only bert is supported",
                        json_is_string(type) ? json_string_value(type) : "(no string)");
    const json_t *position = json_object_get(root, "position_embedding_type");
    if (json_is_string(position) && strcmp(json_string_value(position), "absolute") != 0)
        return swi_fail(error, SW_EUNSUPPORTED,
                        "position_embedding_type is \"%.64s\"; only absolute is supported",
                        json_string_value(position));
    if (json_is_true(json_object_get(root, "is_decoder")) ||
        json_is_true(json_object_get(root, "add_cross_attention")))
        return swi_fail(error, SW_EUNSUPPORTED,
                        "the model is a decoder; only encoders are supported");
    return 0;
}

static int read_labels(const json_t *root, struct model_config *config, struct swi_error *error)
{
    const json_t *names = json_object_get(root, "id2label");
    const json_t *number = json_object_get(root, "num_labels");
    json_int_t labels = 0;
    if (json_is_object(names))
        labels = (json_int_t)json_object_size(names);
    else if (json_is_integer(number))
        labels = json_integer_value(number);
    if (labels < 0 || labels > 1 << 20)
        return swi_fail(error, SW_EFORMAT, "\"num_labels\" is not a number from 0 to %d", 1 << 20);
    config->labels = (uint32_t)labels;
    return 0;
}

int model_config_check(const struct model_config *config, struct swi_error *error)
{
    struct model_config copy = *config;
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        uint32_t value = *field_of(&copy, limits[i].offset);
        if (value < 1 || value > limits[i].most)
            return swi_fail(error, SW_EFORMAT, "\"%s\" is not a number from 1 to %u", limits[i].key,
                            limits[i].most);
    }
    if (config->hidden % config->heads != 0)
        return swi_fail(error, SW_EFORMAT, "num_attention_heads %u does not divide hidden_size %u",
                        config->heads, config->hidden);
    return 0;
}

static int read_root(const json_t *root, struct model_config *config, struct swi_error *error)
{
    if (!json_is_object(root))
        return swi_fail(error, SW_EFORMAT, "it is no JSON object");
    int result = check_kind(root, error);
    if (result == 0)
        result = read_numbers(root, config, error);
    if (result == 0)
        result = read_labels(root, config, error);
    if (result == 0)
        result = model_config_check(config, error);
    config->untied = json_is_false(json_object_get(root, "tie_word_embeddings"));
    return result;
}

int model_config_parse(const char *json, size_t size, struct model_config *ret,
                       struct swi_error *error)
{
    json_error_t json_error;
    json_t *root = json_loadb(json, size, JSON_REJECT_DUPLICATES, &json_error);
    if (!root)
        return swi_fail(error, SW_EFORMAT, CONFIG_FILE ": line %d: %s", json_error.line,
                        json_error.text);
    struct model_config config = {0};
    int result = read_root(root, &config, error);
    json_decref(root);
    if (result < 0)
        return swi_fail_within(error, result, CONFIG_FILE ": ");
    *ret = config;
    return 0;
}
