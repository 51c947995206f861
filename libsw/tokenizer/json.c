/* SPDX-License-Identifier: MIT */
/* tokenizer.json as Hugging Face's tokenizers crate writes it for BERT: normalizer, added tokens,
 * post-processor and model. Anything that would make other tokens than BERT's pipeline does is
 * refused by name, never skipped. Padding, decoder and truncation length do not change what a
 * text's tokens are and are not read.
 */
#include "tokenizer/settings.h"
#include "tokenizer/tokenizer.h"

#include <string.h>

#define FILE_NAME "tokenizer.json"

/* The "type" of a part; "" when it has none. SW_EFORMAT when the part is no object. */
static int type_of(json_t *part, const char *where, const char **ret_type, struct swi_error *error)
{
    if (!json_is_object(part))
        return swi_fail(error, SW_EFORMAT, FILE_NAME ": \"%s\" must be an object", where);
    *ret_type = "";
    return swi_json_string(part, where, "type", ret_type, error);
}

static int unsupported(const char *where, const char *type, const char *wanted,
                       struct swi_error *error)
{
    return swi_fail(error, SW_EUNSUPPORTED,
                    FILE_NAME
                    ": %s \"%.60s\" is not supported, only %s is; pass ids instead of text",
                    where, type, wanted);
}

static int read_bert_normalizer(json_t *part, struct swi_normalizer *ret, struct swi_error *error)
{
    static const char where[] = FILE_NAME " normalizer";
    struct swi_normalizer normalizer = {.clean = true, .spread = true, .lower = true};
    int result = swi_json_bool(part, where, "clean_text", &normalizer.clean, error);
    if (result == 0)
        result = swi_json_bool(part, where, "handle_chinese_chars", &normalizer.spread, error);
    if (result == 0)
        result = swi_json_bool(part, where, "lowercase", &normalizer.lower, error);
    normalizer.strip = normalizer.lower;
    json_t *strip = json_object_get(part, "strip_accents");
    if (strip && !json_is_null(strip) && result == 0)
        result = swi_json_bool(part, where, "strip_accents", &normalizer.strip, error);
    *ret = normalizer;
    return result;
}

/* BertNormalizer, or a sequence that ends in one and lower-cases before it, as
 * sentence-transformers' do_lower_case makes it. */
static int read_normalizer(json_t *document, struct swi_tokenizer_settings *settings,
                           struct swi_error *error)
{
    json_t *part = json_object_get(document, "normalizer"), *steps = NULL;
    bool lower = false, done = false;
    settings->normalizer = (struct swi_normalizer){0};
    if (!part || json_is_null(part))
        return 0;
    const char *type;
    int result = type_of(part, "normalizer", &type, error);
    if (result == 0 && strcmp(type, "Sequence") == 0)
        steps = json_object_get(part, "normalizers");
    size_t count = steps ? json_array_size(steps) : 1;
    for (size_t i = 0; i < count && result == 0; i++) {
        json_t *step = steps ? json_array_get(steps, i) : part;
        result = type_of(step, "normalizer", &type, error);
        if (result < 0)
            return result;
        if (steps && !done && strcmp(type, "Lowercase") == 0) {
            lower = true;
        } else if (!done && strcmp(type, "BertNormalizer") == 0) {
            result = read_bert_normalizer(step, &settings->normalizer, error);
            done = true;
        } else {
            return unsupported("normalizer", type, "BertNormalizer", error);
        }
    }
    settings->normalizer.lower = settings->normalizer.lower || lower;
    return result;
}

static int read_pre_tokenizer(json_t *document, struct swi_error *error)
{
    const char *type;
    int result = type_of(json_object_get(document, "pre_tokenizer"), "pre_tokenizer", &type, error);
    if (result < 0)
        return result;
    if (strcmp(type, "BertPreTokenizer") != 0)
        return unsupported("pre_tokenizer", type, "BertPreTokenizer", error);
    return 0;
}

int swi_tokenizer_json_added(json_t *document, struct swi_tokenizer_settings *settings,
                             struct swi_error *error)
{
    json_t *list = json_object_get(document, "added_tokens");
    if (!list || json_is_null(list))
        return 0;
    if (!json_is_array(list))
        return swi_fail(error, SW_EFORMAT, FILE_NAME ": \"added_tokens\" must be an array");
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *token = json_array_get(list, i), *number = json_object_get(token, "id");
        int64_t id = -1;
        if (!json_is_object(token) || (number && !swi_json_whole(number, &id)))
            return swi_fail(error, SW_EFORMAT,
                            FILE_NAME ": added_tokens[%zu] must be an object with a whole \"id\"",
                            i);
        int result =
            swi_tokenizer_settings_add(settings, FILE_NAME " added_tokens", token, id, true, error);
        if (result < 0)
            return result;
    }
    return 0;
}

/* ---- post-processor: where [CLS] and [SEP] go
 * ------------------------------------------------------ */

/* "sep": ["[SEP]", 102] */
static int read_processing_pair(json_t *part, const char *key, const char **ret_text,
                                struct swi_error *error)
{
    json_t *text = json_array_get(json_object_get(part, key), 0);
    if (!json_is_string(text))
        return swi_fail(error, SW_EFORMAT,
                        FILE_NAME ": post_processor: \"%s\" must be a token and its id", key);
    *ret_text = json_string_value(text);
    return 0;
}

static bool is_number(json_t *json, int64_t wanted)
{
    int64_t value;
    return swi_json_whole(json, &value) && value == wanted;
}

/* The text of the special token that is this item of a template, or NULL. */
static const char *template_special(json_t *list, size_t index, int64_t type_id)
{
    json_t *item = json_object_get(json_array_get(list, index), "SpecialToken");
    json_t *id = json_object_get(item, "id");
    if (!json_is_string(id) || !is_number(json_object_get(item, "type_id"), type_id))
        return NULL;
    return json_string_value(id);
}

static bool template_sequence(json_t *list, size_t index, const char *name, int64_t type_id)
{
    json_t *item = json_object_get(json_array_get(list, index), "Sequence");
    json_t *id = json_object_get(item, "id");
    return json_is_string(id) && strcmp(json_string_value(id), name) == 0 &&
           is_number(json_object_get(item, "type_id"), type_id);
}

/* [CLS] A [SEP], and [CLS] A [SEP] B [SEP] with type 1 from B on; other templates are refused. */
static int read_template(json_t *part, const char **ret_first, const char **ret_separator,
                         struct swi_error *error)
{
    json_t *single = json_object_get(part, "single"), *pair = json_object_get(part, "pair");
    const char *first = template_special(single, 0, 0), *separator = template_special(single, 2, 0);
    bool good =
        json_array_size(single) == 3 && first && separator && template_sequence(single, 1, "A", 0);
    if (good && json_array_size(pair) > 0) {
        const char *texts[] = {template_special(pair, 0, 0), template_special(pair, 2, 0),
                               template_special(pair, 4, 1)};
        good = json_array_size(pair) == 5 && template_sequence(pair, 1, "A", 0) &&
               template_sequence(pair, 3, "B", 1) && texts[0] && strcmp(texts[0], first) == 0 &&
               texts[1] && strcmp(texts[1], separator) == 0 && texts[2] &&
               strcmp(texts[2], separator) == 0;
    }
    if (!good)
        return swi_fail(error, SW_EUNSUPPORTED,
                        FILE_NAME ": post_processor: the template is not BERT's [CLS] A [SEP] and "
                                  "[CLS] A [SEP] B [SEP]; pass ids instead of text");
    *ret_first = first;
    *ret_separator = separator;
    return 0;
}

static int read_post_processor(json_t *document, struct swi_tokenizer_settings *settings,
                               struct swi_error *error)
{
    const char **first = &settings->specials[SW_SPECIAL_CLS];
    const char **separator = &settings->specials[SW_SPECIAL_SEP];
    json_t *part = json_object_get(document, "post_processor");
    if (!part || json_is_null(part))
        return 0;
    const char *type;
    int result = type_of(part, "post_processor", &type, error);
    if (result < 0)
        return result;
    if (strcmp(type, "TemplateProcessing") == 0)
        return read_template(part, first, separator, error);
    if (strcmp(type, "BertProcessing") != 0)
        return unsupported("post_processor", type, "TemplateProcessing or BertProcessing", error);
    result = read_processing_pair(part, "cls", first, error);
    return result < 0 ? result : read_processing_pair(part, "sep", separator, error);
}

/* ---- model
 * ------------------------------------------------------------------------------------------ */

static int read_model(json_t *document, struct swi_tokenizer_settings *settings,
                      struct swi_error *error)
{
    static const char where[] = FILE_NAME " model";
    json_t *part = json_object_get(document, "model");
    const char *type;
    int result = type_of(part, "model", &type, error);
    if (result < 0)
        return result;
    /* early files do not name the type; only WordPiece has a max_input_chars_per_word */
    bool untyped = *type == '\0' && json_object_get(part, "max_input_chars_per_word");
    if (strcmp(type, "WordPiece") != 0 && !untyped)
        return unsupported("model", type, "WordPiece", error);
    result =
        swi_json_string(part, where, "unk_token", &settings->specials[SW_SPECIAL_UNKNOWN], error);
    if (result == 0)
        result =
            swi_json_string(part, where, "continuing_subword_prefix", &settings->prefix, error);
    if (result < 0)
        return result;
    json_t *most = json_object_get(part, "max_input_chars_per_word");
    int64_t chars = SWI_WORD_CHARS_DEFAULT;
    if ((most && !swi_json_whole(most, &chars)) || chars < 1 || chars > SWI_WORD_CHARS_MAX)
        return swi_fail(error, SW_EFORMAT, "%s: \"max_input_chars_per_word\" must be 1 … %d", where,
                        SWI_WORD_CHARS_MAX);
    settings->word_chars_max = (uint32_t)chars;
    /* an object has been cut out before */
    json_t *vocab = json_object_get(part, "vocab");
    if (vocab && (!settings->vocab || !json_is_object(vocab)))
        return swi_fail(error, SW_EFORMAT, "%s: \"vocab\" must be an object", where);
    return 0;
}

int swi_tokenizer_json_read(json_t *document, struct swi_tokenizer_settings *settings,
                            struct swi_error *error)
{
    int result = read_normalizer(document, settings, error);
    if (result == 0)
        result = read_pre_tokenizer(document, error);
    if (result == 0)
        result = read_post_processor(document, settings, error);
    if (result == 0)
        result = read_model(document, settings, error);
    const char *direction = "Right";
    json_t *truncation = json_object_get(document, "truncation");
    if (result == 0 && truncation && !json_is_null(truncation))
        result =
            swi_json_string(truncation, FILE_NAME " truncation", "direction", &direction, error);
    settings->truncate_left = strcmp(direction, "Left") == 0;
    return result;
}
