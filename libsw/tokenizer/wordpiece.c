/* SPDX-License-Identifier: MIT */
/* Longest match first. */
#include "tokenizer/wordpiece.h"

/* The longest key of this space that begins at word; *ret_length is its length. -1: none. */
static int32_t longest_piece(const struct swi_vocab *vocab, enum swi_piece space, const char *word,
                             size_t size, size_t *ret_length)
{
    size_t length = size;
    if (length > vocab->longest[space]) {
        length = vocab->longest[space];
        /* back to the start of the code point that is cut */
        while (length > 0 && ((uint8_t)word[length] & 0xC0) == 0x80)
            length--;
    }
    while (length > 0) {
        int32_t id = swi_vocab_find(vocab, space, word, length);
        if (id >= 0) {
            *ret_length = length;
            return id;
        }
        do {
            length--;
        } while (length > 0 && ((uint8_t)word[length] & 0xC0) == 0x80);
    }
    return -1;
}

int swi_wordpiece(const struct sw_tokenizer *tokenizer, const char *word, size_t size, int32_t type,
                  uint32_t start, struct sw_encoding *encoding)
{
    uint32_t before = encoding->count;
    size_t at = 0;
    while (at < size) {
        size_t length;
        int32_t id = longest_piece(&tokenizer->vocab, at == 0 ? SWI_PIECE_FIRST : SWI_PIECE_NEXT,
                                   word + at, size - at, &length);
        if (id < 0) {
            encoding->count = before;
            return swi_encoding_push(encoding, tokenizer->unknown, type, start);
        }
        int result = swi_encoding_push(encoding, id, type, start);
        if (result < 0)
            return result;
        at += length;
    }
    return 0;
}
