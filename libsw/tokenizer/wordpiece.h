/* SPDX-License-Identifier: MIT */
/* WordPiece: a word becomes the longest token it begins with, then the longest continuation of what
 * is left, and so on; a word that cannot be covered whole becomes [UNK].
 */
#ifndef SWI_TOKENIZER_WORDPIECE_H
#define SWI_TOKENIZER_WORDPIECE_H

#include "tokenizer/tokenizer.h"

/* Appends the tokens of a word of size > 0 bytes of normalized UTF-8; start is its place in the
 * text. */
int swi_wordpiece(const struct sw_tokenizer *tokenizer, const char *word, size_t size, int32_t type,
                  uint32_t start, struct sw_encoding *encoding);

#endif
