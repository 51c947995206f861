/* SPDX-License-Identifier: MIT */
/* What BERT's tokenizer does to a code point before words are split, as the tokenizers crate's
 * BertNormalizer does it, in this order:
 *   clean   drops U+0000, U+FFFD and the categories Cc, Cf, Co (except tab, line feed and carriage
 *           return); turns white space into a plain space
 *   spread  puts a space on either side of an ideograph
 *   strip   decomposes canonically (NFD) and drops nonspacing marks (Mn)
 *   lower   full default lower-casing, code point by code point: no final sigma
 *
 * Works on one code point at a time, so that text of any length needs no buffer. What NFD does
 * across code points, putting marks into canonical order, is left to the caller: each code point
 * comes with its combining class.
 */
#ifndef SWI_TOKENIZER_NORMALIZER_H
#define SWI_TOKENIZER_NORMALIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct swi_normalizer {
    bool clean, spread, strip, lower;
};

struct swi_normal {
    int32_t
        code; /* SWI_NORMAL_BARRIER: nothing, but marks may not be reordered across this point */
    uint8_t order; /* canonical combining class; 0 also where nothing is decomposed */
};
#define SWI_NORMAL_BARRIER (-1)

/* The longest canonical decomposition has 4 code points; lower-casing at most doubles; two spaces.
 */
#define SWI_NORMAL_MAX 16

/* Returns how many of ret were filled. */
size_t swi_normalize(const struct swi_normalizer *normalizer, int32_t code,
                     struct swi_normal ret[static SWI_NORMAL_MAX]);

#endif
