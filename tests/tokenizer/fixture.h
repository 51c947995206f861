/* SPDX-License-Identifier: MIT */
/* What the tokenizer's tests share: tokenizers made from committed and from shared files, and ids
 * compared with a picture of what differs.
 */
#ifndef SWT_TOKENIZER_FIXTURE_H
#define SWT_TOKENIZER_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>
#include <sw/tokenizer.h>

/* A tokenizer of a vocab.txt and a tokenizer_config.json's text (NULL: none). Fails the test when
 * it cannot be made. */
sw_tokenizer *fixture_tokenizer(const char *vocab_path, const char *config);

/* tests/tokenizer/NAME; lives until the test ends. */
const char *fixture_path(const char *name);

/* The lines of a .jsonl file as an array of objects; the caller's to decref. */
json_t *fixture_lines(const char *path);

/* Encodes and checks against the ids, an array of integers; what names the case in the message. */
void fixture_expect(const sw_tokenizer *tokenizer, json_t *text, json_t *ids, const char *what);

/* Encodes and checks against tokens such as "[CLS] a ##b [SEP]". */
void fixture_expect_tokens(const sw_tokenizer *tokenizer, const char *text, size_t size,
                           const char *tokens);

/* The tokens of an encoding, separated by spaces. */
const char *fixture_tokens(const sw_tokenizer *tokenizer, const struct sw_encoding *encoding);

#endif
