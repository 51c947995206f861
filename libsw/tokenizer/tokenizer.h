/* SPDX-License-Identifier: MIT */
/* The tokenizer's own structures, shared by the files that build it and the files that run it.
 *
 *   text ──added tokens──▶ stretches ──normalizer──▶ code points ──split──▶ words ──WordPiece──▶
 * ids
 *
 * A sw_tokenizer never changes after sw_tokenizer_create; what an encode writes to is in the
 * encoding.
 */
#ifndef SWI_TOKENIZER_TOKENIZER_H
#define SWI_TOKENIZER_TOKENIZER_H

#include "tokenizer/added.h"
#include "tokenizer/normalized.h"
#include "tokenizer/vocab.h"

#include <sw/tokenizer.h>

/* What an ASCII byte means to the splitter, under this tokenizer's normalizer. */
enum swi_byte_class {
    SWI_BYTE_WORD,
    SWI_BYTE_SPACE,
    SWI_BYTE_PUNCTUATION,
    SWI_BYTE_DROP,
    SWI_BYTE_HIGH
};

#define SWI_WORD_CHARS_DEFAULT 100
#define SWI_WORD_CHARS_MAX     16384

#define SWI_SPECIALS 5 /* enum sw_special */

struct sw_tokenizer {
    struct swi_vocab vocab;
    struct swi_normalizer normalizer;
    struct swi_added_set raw;          /* looked for in the text as it is */
    struct swi_added_set normal;       /* looked for in the normalized text */
    int32_t unknown, first, separator; /* ids of [UNK], [CLS], [SEP] */
    int32_t specials[SWI_SPECIALS];    /* ids by role; -1: there is none */
    uint32_t word_chars_max;           /* longer words become [UNK] */
    bool truncate_left;                /* truncation drops tokens from the front of a text */
    /* derived from the above by swi_tokenizer_derive */
    uint8_t byte_class[256];
    char byte_fold[128];
    int32_t byte_token[128]; /* id of the punctuation mark as a word of its own */
};

/* Buffers of an encoding that callers do not see. */
struct swi_scratch {
    char *word; /* the word being collected */
    size_t word_capacity;
    struct swi_normalized normalized; /* only for tokenizers with normalized added tokens */
};

/* Fills the derived fields. */
void swi_tokenizer_derive(struct sw_tokenizer *tokenizer);

/* Appends a token. Returns 0, -ENOMEM, or -E2BIG past 2^31 tokens. */
int swi_encoding_push(struct sw_encoding *encoding, int32_t id, int32_t type, uint32_t start);
/* Removes count tokens from position at. */
void swi_encoding_drop(struct sw_encoding *encoding, uint32_t at, uint32_t count);

/* One text on its way to ids. */
struct swi_text {
    const char *data;
    size_t size;
    int32_t type;
    uint32_t stop; /* no word is begun once the encoding has this many tokens */
};

/* Appends the text's tokens to the encoding, whose scratch exists. Returns 0, -ENOMEM or -E2BIG. */
int swi_encode_text(const struct sw_tokenizer *tokenizer, const struct swi_text *text,
                    struct sw_encoding *encoding);

#endif
