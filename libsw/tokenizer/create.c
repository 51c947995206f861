/* SPDX-License-Identifier: MIT */
/* Making a tokenizer from a model's files: vocabulary, special tokens, added tokens. */
#include "tokenizer/settings.h"

#include "core/json.h"
#include "tokenizer/tokenizer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int read_vocab_text(struct swi_vocab *vocab, const struct sw_tokenizer_files *files,
                           const char *prefix, struct swi_error *error)
{
    const char *data = files->vocab, *end = data + files->vocab_size;
    size_t lines = 0;
    for (const char *at = data; (at = memchr(at, '\n', (size_t)(end - at))); at++)
        lines++;
    int result = swi_foreign_check("vocab.txt", files->vocab, files->vocab_size, error);
    if (result < 0)
        return result;
    result = swi_vocab_init(vocab, prefix, lines + 1, files->vocab_size + 1, error);
    if (result == 0)
        result = swi_vocab_add_lines(vocab, data, files->vocab_size, error);
    if (result == 0 && vocab->ids == 0)
        result = swi_fail(error, SW_EFORMAT, "the file is empty; it must hold one token per line");
    return result < 0 ? swi_fail_within(error, result, "vocab.txt: ") : 0;
}

static int read_vocab_object(struct swi_vocab *vocab, const struct swi_tokenizer_settings *settings,
                             struct swi_error *error)
{
    size_t commas = 0;
    for (size_t i = 0; i < settings->vocab_size; i++)
        commas += settings->vocab[i] == ',';
    int result = swi_vocab_init(vocab, settings->prefix, commas + 1, settings->vocab_size, error);
    if (result == 0)
        result = swi_vocab_add_json(vocab, settings->vocab, settings->vocab_size, error);
    if (result == 0 && vocab->ids == 0)
        result = swi_fail(error, SW_EFORMAT, "the vocabulary is empty");
    return result < 0 ? swi_fail_within(error, result, "tokenizer.json: model: ") : 0;
}

/* tokenizer.json is what the model was trained with; vocab.txt may be a remnant. */
static int read_vocab(struct sw_tokenizer *tokenizer, const struct sw_tokenizer_files *files,
                      const struct swi_tokenizer_settings *settings, struct swi_error *error)
{
    if (settings->vocab)
        return read_vocab_object(&tokenizer->vocab, settings, error);
    if (files->vocab)
        return read_vocab_text(&tokenizer->vocab, files, settings->prefix, error);
    return swi_fail(error, SW_EFORMAT,
                    "the model has no vocabulary: neither vocab.txt nor a tokenizer.json with one");
}

static int find_special(const struct sw_tokenizer *tokenizer, const char *text, const char *key,
                        int32_t *ret_id, struct swi_error *error)
{
    *ret_id = swi_vocab_find(&tokenizer->vocab, SWI_PIECE_FIRST, text, strlen(text));
    if (*ret_id >= 0)
        return 0;
    return swi_fail(error, SW_EFORMAT,
                    "the vocabulary of %u tokens has no \"%.40s\", which every text needs; "
                    "if the token has another name, \"%s\" in tokenizer_config.json must name it",
                    tokenizer->vocab.ids, text, key);
}

/* ---- added tokens -------------------------------------------------------------------------------
 */

/* The id of an added token: that of the vocabulary's token of the same text, or the one the file
 * says, or the next free one. New ones get their text in the vocabulary, but WordPiece does not
 * find them. */
static int added_id(struct swi_vocab *vocab, const struct swi_added_setting *added, int32_t *ret_id,
                    struct swi_error *error)
{
    size_t length = strlen(added->text), known_length;
    *ret_id = swi_vocab_find(vocab, SWI_PIECE_FIRST, added->text, length);
    if (*ret_id >= 0)
        return 0;
    int64_t id = added->id >= 0 ? added->id : vocab->ids;
    const char *known = swi_vocab_text(vocab, id, &known_length);
    if (!known || known_length != length || memcmp(known, added->text, length) != 0) {
        int result = swi_vocab_name(vocab, id, added->text, length, error);
        if (result < 0)
            return swi_fail_within(error, result, "added tokens: ");
    }
    *ret_id = (int32_t)id;
    return 0;
}

static int put_added(struct sw_tokenizer *tokenizer, const struct swi_added_setting *setting,
                     struct swi_error *error)
{
    struct swi_added item = {.single_word = setting->single_word,
                             .left_strip = setting->left_strip,
                             .right_strip = setting->right_strip};
    size_t length = strlen(setting->text);
    int result = length > 0 ? added_id(&tokenizer->vocab, setting, &item.id, error) : 0;
    if (result < 0 || length == 0)
        return result;
    /* swi_added_put copies the text */
    struct swi_normalized normal = {0};
    if (setting->normalized) {
        result = swi_normalize_text(&tokenizer->normalizer, setting->text, 0, length, &normal);
        if (result < 0)
            swi_fail(error, result, "no memory for the added tokens");
        item.text = normal.text;
        item.length = normal.size;
        if (result == 0)
            result = swi_added_put(&tokenizer->normal, &item, error);
        swi_normalized_fini(&normal);
        return result;
    }
    item.text = setting->text;
    item.length = length;
    return swi_added_put(&tokenizer->raw, &item, error);
}

static int put_all_added(struct sw_tokenizer *tokenizer,
                         const struct swi_tokenizer_settings *settings, struct swi_error *error)
{
    /* special tokens that no file says more about, then what the files list */
    for (size_t i = 0; i < SWI_SPECIALS; i++) {
        struct swi_added_setting special = {.text = settings->specials[i], .id = -1};
        size_t length = strlen(special.text);
        if (settings->special_added[i] ||
            swi_vocab_find(&tokenizer->vocab, SWI_PIECE_FIRST, special.text, length) < 0)
            continue;
        int result = put_added(tokenizer, &special, error);
        if (result < 0)
            return result;
    }
    /* those without an id come behind all others */
    for (size_t i = 0; i < 2 * settings->added_count; i++) {
        const struct swi_added_setting *added = &settings->added[i % settings->added_count];
        bool numbered = added->id >= 0;
        if (added->replaced || numbered != (i < settings->added_count))
            continue;
        int result = put_added(tokenizer, added, error);
        if (result < 0)
            return result;
    }
    return 0;
}

/* ---- all of it
 * ------------------------------------------------------------------------------------- */

static int build(struct sw_tokenizer *tokenizer, const struct sw_tokenizer_files *files,
                 const struct swi_tokenizer_settings *settings, struct swi_error *error)
{
    const char *const *specials = settings->specials;
    tokenizer->normalizer = settings->normalizer;
    tokenizer->word_chars_max = settings->word_chars_max;
    tokenizer->truncate_left = settings->truncate_left;
    int result = read_vocab(tokenizer, files, settings, error);
    if (result == 0)
        result = find_special(tokenizer, specials[SW_SPECIAL_UNKNOWN], "unk_token",
                              &tokenizer->unknown, error);
    if (result == 0)
        result = find_special(tokenizer, specials[SW_SPECIAL_CLS], "cls_token", &tokenizer->first,
                              error);
    if (result == 0)
        result = find_special(tokenizer, specials[SW_SPECIAL_SEP], "sep_token",
                              &tokenizer->separator, error);
    if (result == 0)
        result = put_all_added(tokenizer, settings, error);
    for (size_t i = 0; i < SWI_SPECIALS && result == 0; i++)
        tokenizer->specials[i] = sw_tokenizer_id(tokenizer, specials[i]);
    if (result == 0)
        swi_tokenizer_derive(tokenizer);
    return result;
}

static int create(const struct sw_tokenizer_files *files, struct swi_error *error,
                  sw_tokenizer **ret_tokenizer)
{
    struct swi_tokenizer_settings settings;
    int result = swi_tokenizer_settings_read(files, &settings, error);
    if (result < 0)
        return result;
    sw_tokenizer *tokenizer = calloc(1, sizeof *tokenizer);
    if (tokenizer)
        result = build(tokenizer, files, &settings, error);
    else
        result = swi_fail(error, -ENOMEM, "no memory for a tokenizer");
    swi_tokenizer_settings_fini(&settings);
    if (result < 0)
        sw_tokenizer_destroy(tokenizer);
    else
        *ret_tokenizer = tokenizer;
    return result;
}

int sw_tokenizer_create(const struct sw_tokenizer_files *files, char *error, size_t error_size,
                        sw_tokenizer **ret_tokenizer)
{
    struct sw_tokenizer_files known = {.size = sizeof known};
    struct swi_error problem = {0};
    int result;
    if (!files || files->size < sizeof files->size || !ret_tokenizer) {
        result = swi_fail(&problem, -EINVAL, "sw_tokenizer_create: files->size is not set");
    } else {
        memcpy(&known, files, files->size < sizeof known ? files->size : sizeof known);
        result = create(&known, &problem, ret_tokenizer);
    }
    if (result < 0 && error && error_size > 0)
        (void)snprintf(error, error_size, "%s", problem.text);
    return result;
}
