/* SPDX-License-Identifier: MIT */
/* Defaults, every file but tokenizer.json, and what the JSON readers share. */
#include "tokenizer/settings.h"

#include "core/json.h"
#include "tokenizer/tokenizer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const special_keys[SWI_SPECIALS] = {
    [SW_SPECIAL_UNKNOWN] = "unk_token", [SW_SPECIAL_CLS] = "cls_token",
    [SW_SPECIAL_SEP] = "sep_token",     [SW_SPECIAL_PAD] = "pad_token",
    [SW_SPECIAL_MASK] = "mask_token",
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

/* ---- tokenizer_config.json and special_tokens_map.json --------------------------------------- */

#define CONFIG "tokenizer_config.json"
#define MAP    "special_tokens_map.json"
#define ADDED  "added_tokens.json"

/* Adds a token that is special: its text is looked for before the normalizer. */
static int add_special(struct swi_tokenizer_settings *settings, const char *file, json_t *token,
                       struct swi_error *error)
{
    return swi_tokenizer_settings_add(settings, file, token, -1, false, error);
}

/* "cls_token": "[CLS]", or an object that says more about it, or null. */
static int read_special(json_t *document, const char *file, const char *key, const char **value,
                        struct swi_tokenizer_settings *settings, struct swi_error *error)
{
    json_t *member = json_object_get(document, key);
    if (!member || json_is_null(member))
        return 0;
    if (!json_is_object(member))
        return swi_json_string(document, file, key, value, error);
    int result = swi_json_string(member, file, "content", value, error);
    return result == 0 ? add_special(settings, file, member, error) : result;
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
            return swi_fail(error, SW_EFORMAT, CONFIG ": \"%.40s\" is not the id of an added token",
                            key);
        int result = swi_tokenizer_settings_add(settings, CONFIG " added_tokens_decoder", token, id,
                                                true, error);
        if (result < 0)
            return result;
    }
    return 0;
}

/* A list of tokens, or an object name → token. */
static int read_list(json_t *list, const char *file, const char *key,
                     struct swi_tokenizer_settings *settings, struct swi_error *error)
{
    int result = 0;
    if (json_is_object(list)) {
        const char *name;
        json_t *token;
        json_object_foreach(list, name, token)
        {
            result = add_special(settings, file, token, error);
            if (result < 0)
                return result;
        }
        return 0;
    }
    if (!json_is_array(list))
        return swi_fail(error, SW_EFORMAT, "%s: \"%s\" must be an array", file, key);
    for (size_t i = 0; i < json_array_size(list) && result == 0; i++)
        result = add_special(settings, file, json_array_get(list, i), error);
    return result;
}

/* additional_special_tokens is the older name, and counts where the newer is absent or empty. */
static int read_extra(json_t *document, const char *file, struct swi_tokenizer_settings *settings,
                      struct swi_error *error)
{
    static const char *const keys[] = {"extra_special_tokens", "additional_special_tokens"};
    for (size_t i = 0; i < 2; i++) {
        json_t *list = json_object_get(document, keys[i]);
        if (swi_json_truth(list) || (list && !json_is_null(list) && !json_is_array(list)))
            return read_list(list, file, keys[i], settings, error);
    }
    return 0;
}

static int read_specials(json_t *document, const char *file,
                         struct swi_tokenizer_settings *settings, struct swi_error *error)
{
    int result = 0;
    for (size_t i = 0; i < SWI_SPECIALS && result == 0; i++)
        result =
            read_special(document, file, special_keys[i], &settings->specials[i], settings, error);
    return result == 0 ? read_extra(document, file, settings, error) : result;
}

/* added_tokens.json: {"[ENT]": 30522, …}. Those that are special elsewhere are so here. */
static int read_added_file(json_t *document, struct swi_tokenizer_settings *settings,
                           struct swi_error *error)
{
    const char *text;
    json_t *number;
    size_t known = settings->added_count;
    json_object_foreach(document, text, number)
    {
        int64_t id;
        bool special = false;
        if (!swi_json_whole(number, &id))
            return swi_fail(error, SW_EFORMAT, ADDED ": the id of \"%.40s\" is not a whole number",
                            text);
        for (size_t i = 0; i < SWI_SPECIALS; i++)
            special = special || strcmp(settings->specials[i], text) == 0;
        for (size_t i = 0; i < known; i++)
            special = special || strcmp(settings->added[i].text, text) == 0;
        json_t *token = json_string_nocheck(text);
        json_t *keep = settings->names;
        int result = token && keep && json_array_append_new(keep, token) == 0
                         ? swi_tokenizer_settings_add(settings, ADDED, token, id, !special, error)
                         : swi_fail(error, -ENOMEM, "no memory for the added tokens");
        if (result < 0)
            return result;
    }
    return 0;
}

/* Without a tokenizer.json the class says how vocab.txt is meant. */
static int refuse_other_tokenizers(json_t *config, bool has_json, struct swi_error *error)
{
    static const char *const known[] = {"",           "Bert",       "DistilBert", "Electra",
                                        "MobileBert", "ConvBert",   "LayoutLM",   "PreTrained",
                                        "Tokenizers", "SqueezeBert"};
    const char *class = "";
    int result = swi_json_string(config, CONFIG, "tokenizer_class", &class, error);
    size_t length = strcspn(class, "T"); /* up to "Tokenizer" */
    if (strncmp(class, "Tokenizers", 10) == 0)
        length = 10;
    bool fine = has_json && strncmp(class, "BertJapanese", strlen("BertJapanese")) != 0;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        fine = fine || (strlen(known[i]) == length && strncmp(class, known[i], length) == 0);
    if (result == 0 && !fine)
        return swi_fail(error, SW_EUNSUPPORTED,
                        CONFIG ": tokenizer_class %.60s is not supported, only BertTokenizer is; "
                               "pass ids instead of text",
                        class);
    return result;
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
    int result =
        refuse_other_tokenizers(config, settings->documents[SWI_DOCUMENT_TOKENIZER], error);
    if (result == 0)
        result = read_normalizer_switches(config, settings, error);
    if (result == 0)
        result = read_specials(config, CONFIG, settings, error);
    if (result == 0)
        result = read_added_decoder(config, settings, error);
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

/* ---- all of them ----------------------------------------------------------------------------- */

static int read_tokenizer(const struct sw_tokenizer_files *files,
                          struct swi_tokenizer_settings *settings, struct swi_error *error)
{
    struct swi_json_cut cut = {.outer = "model", .inner = "vocab"};
    json_t **document = &settings->documents[SWI_DOCUMENT_TOKENIZER];
    if (!files->tokenizer)
        return 0;
    int result = swi_json_read("tokenizer.json", files->tokenizer, files->tokenizer_size, &cut,
                               document, error);
    settings->vocab = cut.text;
    settings->vocab_size = cut.size;
    if (result == 0 && !json_is_object(*document))
        result = swi_fail(error, SW_EFORMAT, "tokenizer.json: must hold a JSON object");
    return result == 0 ? swi_tokenizer_json_read(*document, settings, error) : result;
}

static int parse(const char *name, const void *data, size_t size, json_t **ret_document,
                 struct swi_error *error)
{
    return data ? swi_json_read_object(name, data, size, ret_document, error) : 0;
}

/* Where the config lists no added tokens, three other files do. */
static int read_others(const struct sw_tokenizer_files *files,
                       struct swi_tokenizer_settings *settings, struct swi_error *error)
{
    json_t **map = &settings->documents[SWI_DOCUMENT_MAP];
    json_t **added = &settings->documents[SWI_DOCUMENT_ADDED];
    int result = parse(MAP, files->special_tokens_map, files->special_tokens_map_size, map, error);
    if (result == 0)
        result = parse(ADDED, files->added_tokens, files->added_tokens_size, added, error);
    if (result == 0)
        result = read_specials(*map, MAP, settings, error);
    if (result == 0)
        result = read_added_file(*added, settings, error);
    if (result == 0)
        result =
            swi_tokenizer_json_added(settings->documents[SWI_DOCUMENT_TOKENIZER], settings, error);
    return result;
}

static int read_all(const struct sw_tokenizer_files *files, struct swi_tokenizer_settings *settings,
                    struct swi_error *error)
{
    json_t **config = &settings->documents[SWI_DOCUMENT_CONFIG];
    int result = read_tokenizer(files, settings, error);
    if (result == 0)
        result =
            parse(CONFIG, files->tokenizer_config, files->tokenizer_config_size, config, error);
    if (result < 0)
        return result;
    bool listed = json_is_object(json_object_get(*config, "added_tokens_decoder"));
    if (listed)
        result =
            swi_tokenizer_json_added(settings->documents[SWI_DOCUMENT_TOKENIZER], settings, error);
    if (result == 0 && *config)
        result = read_config(*config, settings, error);
    if (result == 0 && !listed)
        result = read_others(files, settings, error);
    return result;
}

int swi_tokenizer_settings_read(const struct sw_tokenizer_files *files,
                                struct swi_tokenizer_settings *ret, struct swi_error *error)
{
    struct swi_tokenizer_settings settings = {
        .normalizer = {.clean = true, .spread = true, .strip = true, .lower = true},
        .specials = {"[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"},
        .prefix = "##",
        .word_chars_max = SWI_WORD_CHARS_DEFAULT,
        .names = json_array(),
    };
    int result = settings.names ? read_all(files, &settings, error)
                                : swi_fail(error, -ENOMEM, "no memory for the tokenizer");
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
    json_decref(settings->names);
    for (size_t i = 0; i < SWI_DOCUMENTS; i++)
        json_decref(settings->documents[i]);
    *settings = (struct swi_tokenizer_settings){0};
}
