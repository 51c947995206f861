/* SPDX-License-Identifier: MIT */
/* Encoding: special tokens around the texts, truncation, and the small public calls.
 * How a text becomes tokens is in words.c and wordpiece.c, how a tokenizer is made in
 * tokenizer/create.c.
 */
#include "tokenizer/tokenizer.h"
#include "tokenizer/unicode.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void swi_tokenizer_derive(struct sw_tokenizer *tokenizer)
{
    for (int32_t byte = 0; byte < 256; byte++) {
        if (byte >= 0x80) {
            tokenizer->byte_class[byte] = SWI_BYTE_HIGH;
            continue;
        }
        struct swi_normal normals[SWI_NORMAL_MAX];
        size_t count = swi_normalize(&tokenizer->normalizer, byte, normals);
        char folded = count > 0 ? (char)normals[0].code : '\0';
        tokenizer->byte_fold[byte] = folded;
        if (count == 0) {
            tokenizer->byte_class[byte] = SWI_BYTE_DROP;
        } else if (swi_is_space(normals[0].code)) {
            tokenizer->byte_class[byte] = SWI_BYTE_SPACE;
        } else if (swi_is_punctuation(normals[0].code)) {
            int32_t id = swi_vocab_find(&tokenizer->vocab, SWI_PIECE_FIRST, &folded, 1);
            tokenizer->byte_class[byte] = SWI_BYTE_PUNCTUATION;
            tokenizer->byte_token[byte] = id >= 0 ? id : tokenizer->unknown;
        } else {
            tokenizer->byte_class[byte] = SWI_BYTE_WORD;
        }
    }
    swi_added_seal(&tokenizer->raw);
    swi_added_seal(&tokenizer->normal);
}

/* ---- truncation -------------------------------------------------------------------------------
 */

/* How many tokens each text keeps: those of a pair that is too long are shared as the tokenizers
 * crate does it. The shorter text stays whole where the longer can make up for it; else both get
 * half, the longer (or the second, when they are equal) the odd one. */
static void share_longest_first(uint32_t room, uint32_t *first, uint32_t *second)
{
    bool swapped = *first > *second;
    uint32_t shorter = swapped ? *second : *first;
    uint32_t longer = shorter;
    if (shorter <= room && room - shorter > shorter)
        longer = room - shorter;
    if ((uint64_t)shorter + longer > room) {
        shorter = room / 2;
        longer = shorter + room % 2;
    }
    *first = swapped ? longer : shorter;
    *second = swapped ? shorter : longer;
}

/* *first and *second: how many tokens the texts have, then how many they keep. */
static int share(const struct sw_encode_options *options, bool pair, uint32_t room, uint32_t *first,
                 uint32_t *second)
{
    uint64_t total = (uint64_t)*first + *second;
    if (total <= room)
        return 0;
    uint64_t excess = total - room;
    if (room == 0 && options->truncation != SW_TRUNCATE_NEVER) {
        *first = *second = 0;
        return 0;
    }
    switch (options->truncation) {
    case SW_TRUNCATE_LONGEST_FIRST:
        if (pair)
            share_longest_first(room, first, second);
        else
            *first = room;
        return 0;
    case SW_TRUNCATE_FIRST:
        if (*first <= excess)
            return -E2BIG;
        *first -= (uint32_t)excess;
        return 0;
    case SW_TRUNCATE_SECOND:
        if (!pair)
            return -EINVAL;
        if (*second <= excess)
            return -E2BIG;
        *second -= (uint32_t)excess;
        return 0;
    case SW_TRUNCATE_NEVER:
        return -E2BIG;
    }
    return -EINVAL;
}

/* How many tokens of one text are enough: at the end of the word that reaches this, its encoding
 * stops, as it does in the crate since 0.23. Dropping from the front needs the end. */
static uint32_t useful_tokens(const struct sw_tokenizer *tokenizer,
                              const struct sw_encode_options *options)
{
    bool all = tokenizer->truncate_left && options->truncation != SW_TRUNCATE_NEVER;
    uint32_t most = options->max_tokens;
    if (all || most == 0 || most >= INT32_MAX)
        return INT32_MAX;
    return options->truncation == SW_TRUNCATE_NEVER ? most + 1 : most;
}

/* ---- encoding ---------------------------------------------------------------------------------
 */

static int prepare(const struct sw_tokenizer *tokenizer, struct sw_encoding *encoding)
{
    struct swi_scratch *scratch = encoding->scratch;
    if (!scratch) {
        scratch = calloc(1, sizeof *scratch);
        if (!scratch)
            return -ENOMEM;
        encoding->scratch = scratch;
    }
    size_t capacity = (size_t)tokenizer->word_chars_max * SWI_UTF8_MAX;
    if (scratch->word_capacity < capacity) {
        char *word = realloc(scratch->word, capacity);
        if (!word)
            return -ENOMEM;
        scratch->word = word;
        scratch->word_capacity = capacity;
    }
    return 0;
}

/* Appends one text's tokens; *ret_count says how many. */
static int append(const struct sw_tokenizer *tokenizer, struct swi_text text, uint32_t useful,
                  struct sw_encoding *encoding, uint32_t *ret_count)
{
    uint32_t before = encoding->count;
    text.stop = before + useful;
    int result = swi_encode_text(tokenizer, &text, encoding);
    *ret_count = encoding->count - before;
    return result;
}

/* Cuts the text whose count tokens start at `at` down to keep. */
static void cut(const struct sw_tokenizer *tokenizer, struct sw_encoding *encoding, uint32_t at,
                uint32_t count, uint32_t keep)
{
    swi_encoding_drop(encoding, tokenizer->truncate_left ? at : at + keep, count - keep);
}

static int encode(const struct sw_tokenizer *tokenizer, struct swi_text text, struct swi_text other,
                  const struct sw_encode_options *options, struct sw_encoding *encoding)
{
    bool pair = other.data != NULL, special = !options->without_special_tokens;
    uint32_t specials = !special ? 0 : pair ? 3 : 2, room = UINT32_MAX;
    if (options->max_tokens > 0 && options->max_tokens < specials)
        return -EINVAL;
    if (options->max_tokens > 0)
        room = options->max_tokens - specials;
    uint32_t useful = useful_tokens(tokenizer, options);
    uint32_t first = 0, second = 0;
    int result = prepare(tokenizer, encoding);
    if (result == 0 && special)
        result = swi_encoding_push(encoding, tokenizer->first, 0, 0);
    if (result == 0)
        result = append(tokenizer, text, useful, encoding, &first);
    if (result == 0 && special)
        result = swi_encoding_push(encoding, tokenizer->separator, 0, (uint32_t)text.size);
    if (result == 0 && pair)
        result = append(tokenizer, other, useful, encoding, &second);
    if (result == 0 && pair && special)
        result = swi_encoding_push(encoding, tokenizer->separator, 1, (uint32_t)other.size);
    if (result < 0)
        return result;
    uint32_t keep_first = first, keep_second = second;
    result = share(options, pair, room, &keep_first, &keep_second);
    if (result < 0)
        return result;
    uint32_t at = special ? 1 : 0;
    cut(tokenizer, encoding, at + first + at, second, keep_second);
    cut(tokenizer, encoding, at, first, keep_first);
    return 0;
}

int sw_tokenizer_encode(const sw_tokenizer *tokenizer, const char *text, size_t text_size,
                        const char *pair, size_t pair_size, const struct sw_encode_options *options,
                        struct sw_encoding *encoding)
{
    struct sw_encode_options known = {.size = sizeof known};
    if (!tokenizer || !encoding || (!text && text_size > 0) || (!pair && pair_size > 0))
        return -EINVAL;
    encoding->count = 0;
    if (text_size >= UINT32_MAX || pair_size >= UINT32_MAX)
        return -E2BIG;
    if (options) {
        if (options->size < sizeof options->size)
            return -EINVAL;
        memcpy(&known, options, options->size < sizeof known ? options->size : sizeof known);
    }
    struct swi_text first = {.data = text ? text : "", .size = text_size, .type = 0};
    struct swi_text second = {.data = pair, .size = pair_size, .type = 1};
    int result = encode(tokenizer, first, second, &known, encoding);
    if (result < 0)
        encoding->count = 0;
    return result;
}

/* ---- the small calls
 * ----------------------------------------------------------------------------- */

const char *sw_tokenizer_token(const sw_tokenizer *tokenizer, int32_t id)
{
    return swi_vocab_text(&tokenizer->vocab, id, NULL);
}

int32_t sw_tokenizer_id(const sw_tokenizer *tokenizer, const char *token)
{
    size_t length = strlen(token);
    int32_t id = swi_vocab_find(&tokenizer->vocab, SWI_PIECE_FIRST, token, length);
    if (id >= 0)
        return id;
    /* added tokens are not part of the WordPiece model; there are few of them */
    const struct swi_added_set *sets[] = {&tokenizer->raw, &tokenizer->normal};
    for (size_t set = 0; set < 2; set++) {
        for (size_t i = 0; i < sets[set]->count; i++) {
            const char *text = sw_tokenizer_token(tokenizer, sets[set]->items[i].id);
            if (text && strcmp(text, token) == 0)
                return sets[set]->items[i].id;
        }
    }
    return -1;
}

int32_t sw_tokenizer_special(const sw_tokenizer *tokenizer, enum sw_special role)
{
    return (unsigned)role < SWI_SPECIALS ? tokenizer->specials[role] : -1;
}

uint32_t sw_tokenizer_vocab_size(const sw_tokenizer *tokenizer)
{
    return tokenizer->vocab.ids;
}

void sw_tokenizer_destroy(sw_tokenizer *tokenizer)
{
    if (!tokenizer)
        return;
    swi_vocab_fini(&tokenizer->vocab);
    swi_added_fini(&tokenizer->raw);
    swi_added_fini(&tokenizer->normal);
    free(tokenizer);
}
