/* SPDX-License-Identifier: MIT */
/* Texts collected for one pass: their bytes, which are printed again, and their tokens, one
 * sequence after the other, as the engine takes them.
 */
#ifndef SWI_PROGRAMS_BERT_BATCH_H
#define SWI_PROGRAMS_BERT_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sw/sw.h>

/* A batch is full with so many texts as its user wants, or at the first text that brings it to
 * this: working memory grows with the tokens of a pass. */
#define BATCH_TOKENS_MAX 16384u
#define BATCH_BYTES_MAX  ((size_t)16 << 20)

struct batch {
    uint32_t count, capacity; /* texts */
    uint32_t *lengths;        /* [count] tokens of each */
    size_t *sizes;            /* [count] bytes of each */
    float *vectors;           /* [capacity, width] */
    size_t width;
    char *text;
    size_t text_size, text_capacity;
    int32_t *ids;
    size_t tokens, tokens_capacity;
};

/* Returns 0 or -ENOMEM. */
int batch_init(struct batch *batch, uint32_t texts, size_t width);
void batch_fini(struct batch *batch);

/* Adds a text and its tokens. Returns 0 or -ENOMEM. The batch must not be full. */
int batch_add(struct batch *batch, const char *text, size_t size, const int32_t *ids,
              uint32_t count);
bool batch_full(const struct batch *batch);
void batch_clear(struct batch *batch);

#endif
