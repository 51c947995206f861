/* SPDX-License-Identifier: MIT */
/* From text to words: added tokens are taken out, what lies between is normalized and split at
 * white space and around punctuation, and each word goes to WordPiece.
 *
 * A word's code points are collected in the scratch buffer, which holds word_chars_max of them; of
 * a longer word only its being too long is remembered, so memory stays bounded whatever the text.
 * ASCII takes a table-driven path; everything else goes code point by code point.
 */
#include "tokenizer/unicode.h"
#include "tokenizer/wordpiece.h"

#include <string.h>

struct words {
    const struct sw_tokenizer *tokenizer;
    struct sw_encoding *encoding;
    struct swi_scratch *scratch;
    int32_t type;
    uint32_t stop;    /* the word that brings the encoding to this many tokens is the last */
    bool enough;      /* … and has been seen. Added tokens alone never end a text early. */
    size_t size;      /* bytes of the word so far */
    size_t chars;     /* its code points */
    size_t run_start; /* marks may move forward to here, not beyond */
    uint32_t start;   /* where in the text the word starts */
    bool too_long;
};

/* A whole word, or a punctuation mark, of this id. */
static int push_word(struct words *words, int32_t id, uint32_t start)
{
    int result = swi_encoding_push(words->encoding, id, words->type, start);
    words->enough = words->encoding->count >= words->stop;
    return result;
}

static int end_word(struct words *words)
{
    int result = 0;
    if (words->too_long) {
        result = push_word(words, words->tokenizer->unknown, words->start);
    } else if (words->size > 0) {
        result = swi_wordpiece(words->tokenizer, words->scratch->word, words->size, words->type,
                               words->start, words->encoding);
        words->enough = words->encoding->count >= words->stop;
    }
    words->size = words->chars = words->run_start = 0;
    words->too_long = false;
    return result;
}

static void add_to_word(struct words *words, struct swi_normal normal, uint32_t offset)
{
    if (words->size == 0 && !words->too_long)
        words->start = offset;
    if (words->chars == words->tokenizer->word_chars_max) {
        words->too_long = true;
        return;
    }
    char bytes[SWI_UTF8_MAX], *word = words->scratch->word;
    size_t length = swi_utf8_encode(normal.code, bytes);
    size_t place = swi_normal_place(word, words->run_start, words->size, normal.order);
    memmove(word + place + length, word + place, words->size - place);
    memcpy(word + place, bytes, length);
    words->size += length;
    words->chars++;
    if (normal.order == 0)
        words->run_start = words->size;
}

/* One normalized code point. */
static int add_normal(struct words *words, struct swi_normal normal, uint32_t offset)
{
    if (normal.code == SWI_NORMAL_BARRIER) {
        words->run_start = words->size;
        return 0;
    }
    bool alone = swi_is_punctuation(normal.code);
    int result = 0;
    if (alone || swi_is_space(normal.code))
        result = end_word(words);
    if (result < 0 || words->enough || (!alone && swi_is_space(normal.code)))
        return result;
    add_to_word(words, normal, offset);
    return alone ? end_word(words) : 0;
}

/* Word bytes of ASCII from `at` on; returns where they end. */
static size_t add_ascii(struct words *words, const char *text, size_t at, size_t end)
{
    const struct sw_tokenizer *tokenizer = words->tokenizer;
    if (words->size == 0 && !words->too_long)
        words->start = (uint32_t)at;
    char *to = words->scratch->word + words->size;
    size_t room = tokenizer->word_chars_max - words->chars, count = 0;
    while (at < end && tokenizer->byte_class[(uint8_t)text[at]] == SWI_BYTE_WORD) {
        if (count < room)
            to[count] = tokenizer->byte_fold[(uint8_t)text[at]];
        count++;
        at++;
    }
    if (count > room) {
        words->too_long = true;
        count = room;
    }
    words->size += count;
    words->chars += count;
    words->run_start = words->size;
    return at;
}

/* A stretch without added tokens, straight from the text. */
static int add_stretch(struct words *words, const struct swi_text *text, size_t at, size_t end)
{
    const struct sw_tokenizer *tokenizer = words->tokenizer;
    int result = 0;
    while (at < end && result == 0 && !words->enough) {
        uint8_t byte = (uint8_t)text->data[at];
        switch ((enum swi_byte_class)tokenizer->byte_class[byte]) {
        case SWI_BYTE_WORD:
            at = add_ascii(words, text->data, at, end);
            break;
        case SWI_BYTE_SPACE:
            result = end_word(words);
            at++;
            break;
        case SWI_BYTE_PUNCTUATION:
            result = end_word(words);
            if (result == 0 && !words->enough)
                result = push_word(words, tokenizer->byte_token[byte], (uint32_t)at);
            at++;
            break;
        case SWI_BYTE_DROP:
            at++;
            break;
        case SWI_BYTE_HIGH: {
            int32_t code;
            struct swi_normal normals[SWI_NORMAL_MAX];
            size_t length = swi_utf8_decode(text->data + at, end - at, &code);
            size_t count = swi_normalize(&tokenizer->normalizer, code, normals);
            for (size_t i = 0; i < count && result == 0 && !words->enough; i++)
                result = add_normal(words, normals[i], (uint32_t)at);
            at += length;
            break;
        }
        }
    }
    return result < 0 ? result : end_word(words);
}

/* ---- tokenizers with added tokens that are looked for in the normalized text -------------------
 */

/* Words of the scratch's normalized text, from at to end. */
static int add_normalized(struct words *words, size_t at, size_t end)
{
    const struct swi_normalized *normalized = &words->scratch->normalized;
    int result = 0;
    while (at < end && result == 0 && !words->enough) {
        struct swi_normal normal = {0};
        size_t length = swi_utf8_decode(normalized->text + at, end - at, &normal.code);
        result = add_normal(words, normal, normalized->offsets[at]);
        at += length;
    }
    return result < 0 ? result : end_word(words);
}

static int add_normalized_stretch(struct words *words, const struct swi_text *text, size_t at,
                                  size_t end)
{
    struct swi_normalized *normalized = &words->scratch->normalized;
    const struct sw_tokenizer *tokenizer = words->tokenizer;
    int result = swi_normalize_text(&tokenizer->normalizer, text->data, at, end, normalized);
    struct swi_added_search search = {.text = normalized->text, .size = normalized->size};
    size_t from = 0;
    while (result == 0 && !words->enough && swi_added_next(&tokenizer->normal, &search)) {
        result = add_normalized(words, from, search.start);
        if (result == 0 && !words->enough)
            result = swi_encoding_push(words->encoding, search.item->id, words->type,
                                       normalized->offsets[search.start]);
        from = search.stop;
    }
    return result < 0 ? result : add_normalized(words, from, normalized->size);
}

int swi_encode_text(const struct sw_tokenizer *tokenizer, const struct swi_text *text,
                    struct sw_encoding *encoding)
{
    struct words words = {.tokenizer = tokenizer,
                          .encoding = encoding,
                          .scratch = encoding->scratch,
                          .type = text->type,
                          .stop = text->stop};
    int (*const add)(struct words *, const struct swi_text *, size_t, size_t) =
        tokenizer->normal.count > 0 ? add_normalized_stretch : add_stretch;
    struct swi_added_search search = {.text = text->data, .size = text->size};
    size_t from = 0;
    while (!words.enough && swi_added_next(&tokenizer->raw, &search)) {
        int result = add(&words, text, from, search.start);
        if (result == 0 && !words.enough)
            result =
                swi_encoding_push(encoding, search.item->id, words.type, (uint32_t)search.start);
        if (result < 0)
            return result;
        from = search.stop;
    }
    return words.enough ? 0 : add(&words, text, from, text->size);
}
