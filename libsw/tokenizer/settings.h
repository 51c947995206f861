/* SPDX-License-Identifier: MIT */
/* What a model's JSON files say about its tokenizer, before a vocabulary is looked at.
 *
 * The order is that of Hugging Face's from_pretrained; later files win over earlier ones:
 *   tokenizer.json, tokenizer_config.json                          where the latter has an
 *                                                                  added_tokens_decoder
 *   tokenizer.json's steps and vocabulary, tokenizer_config.json,
 *   special_tokens_map.json, added_tokens.json,
 *   tokenizer.json's added tokens                                  where it has none
 * Strings are borrowed from the parsed documents, which the settings own.
 */
#ifndef SWI_TOKENIZER_SETTINGS_H
#define SWI_TOKENIZER_SETTINGS_H

#include "core/error.h"
#include "tokenizer/tokenizer.h"

#include <jansson.h>
#include <sw/tokenizer.h>

enum swi_document {
    SWI_DOCUMENT_TOKENIZER,
    SWI_DOCUMENT_CONFIG,
    SWI_DOCUMENT_MAP,
    SWI_DOCUMENT_ADDED,
    SWI_DOCUMENTS
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
    const char *vocab; /* tokenizer.json's object text → id, as text, borrowed from the file; or
                          NULL */
    size_t vocab_size;
    json_t *documents[SWI_DOCUMENTS]; /* NULL where there is no such file */
    json_t *names;                    /* texts that no document holds as a value */
};

/* Errors: SW_EFORMAT, SW_EUNSUPPORTED, -ENOMEM, with a message that names file and key. */
int swi_tokenizer_settings_read(const struct sw_tokenizer_files *files,
                                struct swi_tokenizer_settings *ret, struct swi_error *error);
void swi_tokenizer_settings_fini(struct swi_tokenizer_settings *settings);

/* Reads tokenizer.json into settings that hold the defaults (tokenizer/json.c). */
int swi_tokenizer_json_read(json_t *document, struct swi_tokenizer_settings *settings,
                            struct swi_error *error);
/* Its added tokens, which the above leaves out. */
int swi_tokenizer_json_added(json_t *document, struct swi_tokenizer_settings *settings,
                             struct swi_error *error);
/* Reads one added token, an object or (text allowed) a string. (tokenizer/settings.c) */
int swi_tokenizer_settings_add(struct swi_tokenizer_settings *settings, const char *where,
                               json_t *token, int64_t id, bool normalized_default,
                               struct swi_error *error);

/* True when the number is whole and from 0 to below 2^31. */
bool swi_json_whole(const json_t *number, int64_t *ret);

/* Typed members of an object: an absent key leaves *value alone, another type is SW_EFORMAT.
 * where names the file and object in the message. */
int swi_json_bool(json_t *object, const char *where, const char *key, bool *value,
                  struct swi_error *error);
int swi_json_string(json_t *object, const char *where, const char *key, const char **value,
                    struct swi_error *error);

#endif
