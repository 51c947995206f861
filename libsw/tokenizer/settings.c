/* SPDX-License-Identifier: MIT */
/* Defaults, tokenizer_config.json, and what both JSON readers share. */
#include "tokenizer/settings.h"
#include "tokenizer/tokenizer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const special_keys[SWI_SPECIALS] = {
    [SWI_SPECIAL_UNKNOWN] = "unk_token",   [SWI_SPECIAL_FIRST] = "cls_token",
    [SWI_SPECIAL_SEPARATOR] = "sep_token", [SWI_SPECIAL_PAD] = "pad_token",
    [SWI_SPECIAL_MASK] = "mask_token",
};

bool swi_json_whole(const json_t *number, int64_t *ret)
{
    double value = json_number_value(number);
    if (!json_is_number(number) || !(value >= 0 && value < 0x1p31) ||
        value != (double)(int64_t)value)
        return false;
    *ret = (int64_t)value;
    return true;
}

int swi_json_bool(json_t *object, const char *where, const char *key, bool *value,
                  struct swi_error *error)
{
    json_t *member = json_object_get(object, key);
    if (!member)
        return 0;
    if (!json_is_boolean(member))
        return swi_fail(error, SW_EFORMAT, "%s: \"%s\" must be true or false", where, key);
    *value = json_is_true(member);
    return 0;
}

int swi_json_string(json_t *object, const char *where, const char *key, const char **value,
                    struct swi_error *error)
{
    json_t *member = json_object_get(object, key);
    if (!member)
        return 0;
    if (!json_is_string(member) || json_string_length(member) != strlen(json_string_value(member)))
        return swi_fail(error, SW_EFORMAT, "%s: \"%s\" must be a string without NUL", where, key);
    *value = json_string_value(member);
    return 0;
}

int swi_tokenizer_settings_add(struct swi_tokenizer_settings *settings, const char *where,
                               json_t *token, int64_t id, bool normalized_default,
                               struct swi_error *error)
{
    struct swi_added_setting added = {.id = id, .normalized = normalized_default};
    int result = 0;
    if (json_is_string(token) && json_string_length(token) == strlen(json_string_value(token))) {
        added.text = json_string_value(token);
    } else if (json_is_object(token)) {
        bool special = false;
        result = swi_json_bool(token, where, "special", &special, error);
        if (special)
            added.normalized = false;
        if (result == 0)
            result = swi_json_string(token, where, "content", &added.text, error);
        if (result == 0)
            result = swi_json_bool(token, where, "single_word", &added.single_word, error);
        if (result == 0)
            result = swi_json_bool(token, where, "lstrip", &added.left_strip, error);
        if (result == 0)
            result = swi_json_bool(token, where, "rstrip", &added.right_strip, error);
        if (result == 0)
            result = swi_json_bool(token, where, "normalized", &added.normalized, error);
    }
    if (result < 0)
        return result;
    if (!added.text)
        return swi_fail(error, SW_EFORMAT, "%s: a token must be a string or have a \"content\"",
                        where);
    if (settings->added_count == SWI_ADDED_MAX)
        return swi_fail(error, SW_EFORMAT, "%s: more than %d added tokens", where, SWI_ADDED_MAX);
    /* powers of two: grows when the count is one */
    size_t count = settings->added_count;
    if ((count & (count - 1)) == 0) {
        struct swi_added_setting *grown =
            realloc(settings->added, (count ? count * 2 : 1) * sizeof *grown);
        if (!grown)
            return swi_fail(error, -ENOMEM, "no memory for the added tokens");
        settings->added = grown;
    }
    settings->added[settings->added_count++] = added;
    return 0;
}

/* ---- tokenizer_config.json ------------------------------------------------------------------- */

#define CONFIG "tokenizer_config.json"

/* "cls_token": "[CLS]", or the object that an older transformers wrote, or null. */
static int read_special(json_t *config, const char *key, const char **value,
                        struct swi_error *error)
{
    json_t *member = json_object_get(config, key);
    if (!member || json_is_null(member))
        return 0;
    if (json_is_object(member))
        return swi_json_string(member, CONFIG, "content", value, error);
    return swi_json_string(config, CONFIG, key, value, error);
}

/* "added_tokens_decoder": {"103": {"content": "[MASK]", …}, …} */
static int read_added_decoder(json_t *config, struct swi_tokenizer_settings *settings,
                              struct swi_error *error)
{
    json_t *decoder = json_object_get(config, "added_tokens_decoder");
    if (!decoder || json_is_null(decoder))
        return 0;
    if (!json_is_object(decoder))
        return swi_fail(error, SW_EFORMAT, CONFIG ": \"added_tokens_decoder\" must be an object");
    const char *key;
    json_t *token;
    json_object_foreach(decoder, key, token)
    {
        char *end;
        errno = 0;
        long id = strtol(key, &end, 10);
        if (*end != '\0' || end == key || errno != 0 || id < 0 || id >= SWI_VOCAB_IDS_MAX)
            return swi_fail(error, SW_EFORMAT, CONFIG ": added token id \"%.40s\" is not one", key);
        int result = swi_tokenizer_settings_add(settings, CONFIG " added_tokens_decoder", token, id,
                                                true, error);
        if (result < 0)
            return result;
    }
    return 0;
}

static int read_additional(json_t *config, const char *key, struct swi_tokenizer_settings *settings,
                           struct swi_error *error)
{
    json_t *list = json_object_get(config, key);
    if (!list || json_is_null(list))
        return 0;
    if (!json_is_array(list))
        return swi_fail(error, SW_EFORMAT, CONFIG ": \"%s\" must be an array", key);
    for (size_t i = 0; i < json_array_size(list); i++) {
        int result =
            swi_tokenizer_settings_add(settings, CONFIG, json_array_get(list, i), -1, false, error);
        if (result < 0)
            return result;
    }
    return 0;
}

/* Keys of Hugging Face's Japanese tokenizer, whose words come from MeCab: WordPiece on white space
 * would quietly give other tokens. */
static int refuse_other_tokenizers(json_t *config, struct swi_error *error)
{
    const char *class = "";
    int result = swi_json_string(config, CONFIG, "tokenizer_class", &class, error);
    if (result < 0)
        return result;
    if (strncmp(class, "BertJapanese", strlen("BertJapanese")) == 0)
        return swi_fail(error, SW_EUNSUPPORTED,
                        CONFIG ": tokenizer_class %.60s splits words with a Japanese dictionary, "
                               "which is not supported; feed ids instead of text",
                        class);
    return 0;
}

static int read_normalizer_switches(json_t *config, struct swi_tokenizer_settings *settings,
                                    struct swi_error *error)
{
    struct swi_normalizer *normalizer = &settings->normalizer;
    bool cased_before = !normalizer->lower;
    int result = swi_json_bool(config, CONFIG, "do_lower_case", &normalizer->lower, error);
    if (result == 0)
        result =
            swi_json_bool(config, CONFIG, "tokenize_chinese_chars", &normalizer->spread, error);
    json_t *strip = json_object_get(config, "strip_accents");
    /* null, like an absent key after a change of case, means: as lower-casing does */
    if ((strip && json_is_null(strip)) || (!strip && cased_before == normalizer->lower))
        normalizer->strip = normalizer->lower;
    else if (strip && result == 0)
        result = swi_json_bool(config, CONFIG, "strip_accents", &normalizer->strip, error);
    return result;
}

static int read_config(json_t *config, struct swi_tokenizer_settings *settings,
                       struct swi_error *error)
{
    int result = refuse_other_tokenizers(config, error);
    if (result == 0)
        result = read_normalizer_switches(config, settings, error);
    for (size_t i = 0; i < SWI_SPECIALS && result == 0; i++)
        result = read_special(config, special_keys[i], &settings->specials[i], error);
    if (result == 0)
        result = read_added_decoder(config, settings, error);
    if (result == 0)
        result = read_additional(config, "additional_special_tokens", settings, error);
    const char *side = settings->truncate_left ? "left" : "right";
    if (result == 0)
        result = swi_json_string(config, CONFIG, "truncation_side", &side, error);
    settings->truncate_left = strcmp(side, "left") == 0;
    return result;
}

/* Marks the entries whose text comes again later. */
static int mark_replaced(struct swi_tokenizer_settings *settings, struct swi_error *error)
{
    json_t *seen = json_object();
    int result = seen ? 0 : -ENOMEM;
    for (size_t i = settings->added_count; i-- > 0 && result == 0;) {
        struct swi_added_setting *added = &settings->added[i];
        added->replaced = json_object_get(seen, added->text) != NULL;
        if (!added->replaced && json_object_set_new(seen, added->text, json_true()) < 0)
            result = -ENOMEM;
    }
    for (size_t i = 0; i < SWI_SPECIALS && result == 0; i++)
        settings->special_added[i] = json_object_get(seen, settings->specials[i]) != NULL;
    json_decref(seen);
    return result < 0 ? swi_fail(error, result, "no memory for the added tokens") : 0;
}

/* ---- both
 * ---------------------------------------------------------------------------------------- */

static int parse(const char *name, const void *data, size_t size, json_t **ret_document,
                 struct swi_error *error)
{
    json_error_t problem;
    json_t *document = json_loadb(data, size, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &problem);
    if (!document)
        return swi_fail(error, SW_EFORMAT, "%s: line %d, column %d: %.120s", name, problem.line,
                        problem.column, problem.text);
    if (!json_is_object(document)) {
        json_decref(document);
        return swi_fail(error, SW_EFORMAT, "%s: must be a JSON object", name);
    }
    *ret_document = document;
    return 0;
}

int swi_tokenizer_settings_read(const struct sw_tokenizer_files *files,
                                struct swi_tokenizer_settings *ret, struct swi_error *error)
{
    struct swi_tokenizer_settings settings = {
        .normalizer = {.clean = true, .spread = true, .strip = true, .lower = true},
        .specials = {"[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"},
        .prefix = "##",
        .word_chars_max = SWI_WORD_CHARS_DEFAULT,
    };
    int result = 0;
    if (files->tokenizer) {
        result = parse("tokenizer.json", files->tokenizer, files->tokenizer_size,
                       &settings.tokenizer, error);
        if (result == 0)
            result = swi_tokenizer_json_read(settings.tokenizer, &settings, error);
    }
    if (files->tokenizer_config && result == 0) {
        result = parse(CONFIG, files->tokenizer_config, files->tokenizer_config_size,
                       &settings.config, error);
        if (result == 0)
            result = read_config(settings.config, &settings, error);
    }
    if (files->lower_case) /* in front of the normalizer, which goes on stripping or not */
        settings.normalizer.lower = true;
    if (result == 0)
        result = mark_replaced(&settings, error);
    if (result < 0) {
        swi_tokenizer_settings_fini(&settings);
        return result;
    }
    *ret = settings;
    return 0;
}

void swi_tokenizer_settings_fini(struct swi_tokenizer_settings *settings)
{
    free(settings->added);
    json_decref(settings->tokenizer);
    json_decref(settings->config);
    *settings = (struct swi_tokenizer_settings){0};
}
