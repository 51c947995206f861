/* SPDX-License-Identifier: MIT */
/* What a model's JSON files say about its tokenizer, before a vocabulary is looked at.
 *
 * tokenizer.json (of Hugging Face's tokenizers crate) is read first; what tokenizer_config.json
 * then says about the same thing wins, as it does for BertTokenizerFast. Strings are borrowed from
 * the parsed documents, which the settings own.
 */
#ifndef SWI_TOKENIZER_SETTINGS_H
#define SWI_TOKENIZER_SETTINGS_H

#include "core/error.h"
#include "tokenizer/normalizer.h"

#include <jansson.h>
#include <sw/tokenizer.h>

enum swi_special {
    SWI_SPECIAL_UNKNOWN,
    SWI_SPECIAL_FIRST,
    SWI_SPECIAL_SEPARATOR,
    SWI_SPECIAL_PAD,
    SWI_SPECIAL_MASK,
    SWI_SPECIALS
};

struct swi_added_setting {
    const char *text;
    int64_t id; /* -1: not said */
    bool single_word, left_strip, right_strip, normalized;
    bool replaced; /* a later entry has the same text */
};

struct swi_tokenizer_settings {
    struct swi_normalizer normalizer;
    const char *specials[SWI_SPECIALS]; /* the texts of [UNK], [CLS], [SEP], [PAD], [MASK] */
    bool special_added[SWI_SPECIALS];   /* added says more about it */
    struct swi_added_setting *added;
    size_t added_count;
    const char *prefix; /* "##" */
    uint32_t word_chars_max;
    bool truncate_left;
    json_t *vocab;              /* borrowed: the object text → id of tokenizer.json, or NULL */
    json_t *tokenizer, *config; /* the documents */
};

/* Errors: SW_EFORMAT, SW_EUNSUPPORTED, -ENOMEM, with a message that names file and key. */
int swi_tokenizer_settings_read(const struct sw_tokenizer_files *files,
                                struct swi_tokenizer_settings *ret, struct swi_error *error);
void swi_tokenizer_settings_fini(struct swi_tokenizer_settings *settings);

/* Reads tokenizer.json into settings that hold the defaults (tokenizer/json.c). */
int swi_tokenizer_json_read(json_t *document, struct swi_tokenizer_settings *settings,
                            struct swi_error *error);
/* Reads one added token, an object or (text allowed) a string. (tokenizer/settings.c) */
int swi_tokenizer_settings_add(struct swi_tokenizer_settings *settings, const char *where,
                               json_t *token, int64_t id, bool normalized_default,
                               struct swi_error *error);

/* These documents are parsed with JSON_DECODE_INT_AS_REAL: Hugging Face writes 10^30 for "no
 * limit", which jansson otherwise refuses. True when the number is whole and from 0 to below 2^31.
 */
bool swi_json_whole(const json_t *number, int64_t *ret);

/* Typed members of an object: an absent key leaves *value alone, another type is SW_EFORMAT.
 * where names the file and object in the message. */
int swi_json_bool(json_t *object, const char *where, const char *key, bool *value,
                  struct swi_error *error);
int swi_json_string(json_t *object, const char *where, const char *key, const char **value,
                    struct swi_error *error);

#endif
