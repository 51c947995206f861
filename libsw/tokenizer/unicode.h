/* SPDX-License-Identifier: MIT */
/* Code points of UTF-8 text, and the three questions that BERT's tokenization asks of one: is it
 * white space, is it punctuation, is it an ideograph. Tables come from libutf8proc.
 *
 * Hugging Face's tokenizers crate answers from tables frozen at Unicode 8 and 9; libutf8proc 2.8
 * knows Unicode 15, as Python's own tables do. The answers differ for some 130 punctuation marks
 * and 500 combining marks and format characters that were assigned later, in scripts no published
 * vocabulary holds.
 */
#ifndef SWI_TOKENIZER_UNICODE_H
#define SWI_TOKENIZER_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SWI_REPLACEMENT 0xFFFD
#define SWI_UTF8_MAX    4 /* bytes of the longest code point */

/* Decodes the code point at text, of which size > 0 bytes are there, and returns how many it takes.
 * A malformed sequence gives U+FFFD and the length of its longest well-formed beginning (at least
 * 1), which is what Python's errors="replace" and the Unicode standard's recommendation do. */
size_t swi_utf8_decode(const char *text, size_t size, int32_t *ret_code);

/* Writes up to SWI_UTF8_MAX bytes; returns how many. code must be a scalar value. */
size_t swi_utf8_encode(int32_t code, char *text);

/* True when text is well-formed UTF-8 throughout; else *ret_where is the first bad byte's offset.
 */
bool swi_utf8_valid(const char *text, size_t size, size_t *ret_where);

/* The property White_Space. */
bool swi_is_space(int32_t code);

/* ASCII's punctuation and symbols, and every code point of a category P*. */
bool swi_is_punctuation(int32_t code);

/* The ranges that BERT sets apart. Not all of Unicode's ideographs: U+2B820 … U+2B91F are missing,
 * as they are in the tokenizers crate. */
bool swi_is_ideograph(int32_t code);

/* What regular expressions call \w, nearly: letters, marks, decimal and letter numbers, connectors
 * and the two joiners. */
bool swi_is_word(int32_t code);

#endif
