/* SPDX-License-Identifier: MIT */
/* Surfing Weights tokenizer: WordPiece as Hugging Face's BertTokenizer does it; where its Python
 * and its Rust implementation differ, as the latter (the tokenizers crate, BertTokenizerFast).
 *
 * A tokenizer is immutable once created: any number of threads may encode with it at once.
 */
#ifndef SW_TOKENIZER_H
#define SW_TOKENIZER_H

#include <sw/base.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sw_tokenizer sw_tokenizer;

/* Which text of a pair gives up tokens when the pair is too long. */
enum sw_truncation {
    /* the longer, down to the shorter's length; then both, to half of the room each, of which the
     * longer (the second, when they were equal) gets the odd token. Of a text longer than max_tokens
     * the words up to there count */
    SW_TRUNCATE_LONGEST_FIRST = 0,
    SW_TRUNCATE_FIRST = 1,  /* -E2BIG when none of its tokens would be left, unless there is room
                               for none at all */
    SW_TRUNCATE_SECOND = 2, /* the same; -EINVAL when there is no second text */
    SW_TRUNCATE_NEVER = 3   /* too long is an error: -E2BIG */
};

/* Creates a tokenizer from the bytes of a model's files. All are borrowed for the call only; NULL with
 * size 0 stands for a file that the model does not have.
 *   vocab:            vocab.txt, one token a line, id = line number from 0; of equal lines the last
 *                     one's id is used
 *   tokenizer_config: tokenizer_config.json (do_lower_case, strip_accents, tokenize_chinese_chars,
 *                     unk_token, cls_token, …, extra_special_tokens, additional_special_tokens,
 *                     added_tokens_decoder, truncation_side); what it says wins over
 *                     tokenizer.json; without either: uncased defaults
 *   tokenizer:        tokenizer.json: vocabulary, normalizer, special tokens, added tokens, word
 *                     length limit; vocab is then not looked at. SW_EUNSUPPORTED, with the name of
 *                     the step, when its pipeline is not BERT's
 *   special_tokens_map, added_tokens: the files of that name, which count only where
 *                     tokenizer_config has no added_tokens_decoder
 * error receives a message (what, where, what to do), cut to error_size; may be NULL.
 * Errors: SW_EFORMAT, SW_EUNSUPPORTED, -ENOMEM. */
struct sw_tokenizer_files {
    size_t size; /* sizeof(struct sw_tokenizer_files) */
    const void *vocab;
    size_t vocab_size;
    const void *tokenizer_config;
    size_t tokenizer_config_size;
    const void *tokenizer;
    size_t tokenizer_size;
    const void *special_tokens_map;
    size_t special_tokens_map_size;
    const void *added_tokens;
    size_t added_tokens_size;
    int lower_case; /* 1: texts are lower-cased before all else, accents kept (do_lower_case of
                       sentence_bert_config.json) */
};
SW_API int sw_tokenizer_create(const struct sw_tokenizer_files *files, char *error,
                               size_t error_size, sw_tokenizer **ret_tokenizer);
SW_API void sw_tokenizer_destroy(sw_tokenizer *tokenizer);

struct sw_encode_options {
    size_t size;                   /* sizeof(struct sw_encode_options) */
    uint32_t max_tokens;           /* special tokens included; 0: no limit */
    enum sw_truncation truncation; /* applies when max_tokens is exceeded */
    int without_special_tokens;    /* 1: no [CLS] and [SEP] */
};

/* A growable result, reusable from call to call so that a warm encode allocates nothing.
 * Start from all zeros; free with sw_encoding_fini. */
struct sw_encoding {
    int32_t *ids;      /* [count] */
    int32_t *type_ids; /* [count]: 0 for the first text, 1 for the second */
    uint32_t *starts;  /* [count]: byte offset in its text where the token's word starts; of
                          [CLS] 0, of [SEP] the text's size */
    uint32_t count;
    uint32_t capacity;
    void *scratch; /* the library's */
};

/* Encodes text, or the pair (text, pair) when pair is not NULL. Text is UTF-8; invalid bytes become
 * U+FFFD as Python's errors="replace" does. Any length below 4 GiB; time is linear in it. After an error
 * encoding->count is 0. Errors: -E2BIG; -ENOMEM; -EINVAL, also when max_tokens leaves no room for
 * the special tokens. */
SW_API int sw_tokenizer_encode(const sw_tokenizer *tokenizer, const char *text, size_t text_size,
                               const char *pair, size_t pair_size,
                               const struct sw_encode_options *options,
                               struct sw_encoding *encoding);
SW_API void sw_encoding_fini(struct sw_encoding *encoding);

/* The token's text, zero-terminated, borrowed from the tokenizer; NULL for an id out of range. */
SW_API const char *sw_tokenizer_token(const sw_tokenizer *tokenizer, int32_t id);
/* The id of a token's exact text, or -1. */
SW_API int32_t sw_tokenizer_id(const sw_tokenizer *tokenizer, const char *token);
/* Special tokens by their role, whatever they are called. */
enum sw_special {
    SW_SPECIAL_UNKNOWN = 0,
    SW_SPECIAL_CLS = 1,
    SW_SPECIAL_SEP = 2,
    SW_SPECIAL_PAD = 3,
    SW_SPECIAL_MASK = 4
};
/* Its id, or -1 when the tokenizer has none; its text is that of sw_tokenizer_token. */
SW_API int32_t sw_tokenizer_special(const sw_tokenizer *tokenizer, enum sw_special role);
/* Every id is below this; not every id below it need have a token. */
SW_API uint32_t sw_tokenizer_vocab_size(const sw_tokenizer *tokenizer);

#ifdef __cplusplus
}
#endif
#endif
