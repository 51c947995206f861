/* SPDX-License-Identifier: MIT */
/* A stretch of text after normalization, whole, with the place in the original of each byte. Only
 * added tokens that are looked for in normalized text need it; words are otherwise collected one by
 * one.
 */
#ifndef SWI_TOKENIZER_NORMALIZED_H
#define SWI_TOKENIZER_NORMALIZED_H

#include "tokenizer/normalizer.h"

struct swi_normalized {
    char *text;
    uint32_t *offsets; /* [capacity] the byte of the original text that each byte came from */
    size_t size, capacity;
};

/* Replaces *normalized by the normal form of data[at … end). Returns 0 or -ENOMEM. */
int swi_normalize_text(const struct swi_normalizer *normalizer, const char *data, size_t at,
                       size_t end, struct swi_normalized *normalized);
void swi_normalized_fini(struct swi_normalized *normalized);

/* Where a code point of this combining class goes among the bytes from run_start to size: behind
 * every one whose class is not greater (canonical ordering, which is stable). */
size_t swi_normal_place(const char *bytes, size_t run_start, size_t size, uint8_t order);

#endif
