/* SPDX-License-Identifier: MIT */
/* Tokens that are recognised in the text as they stand, before words are split: [CLS], [MASK] and
 * whatever a model adds. As the tokenizers crate does it: leftmost, then longest; each may ask to
 * be a word of its own and to swallow the white space on its left or right.
 *
 * Kept sorted by their bytes, so that one walk by binary search finds the longest at a position.
 */
#ifndef SWI_TOKENIZER_ADDED_H
#define SWI_TOKENIZER_ADDED_H

#include "core/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SWI_ADDED_MAX (1 << 22) /* as many as there may be ids */

struct swi_added {
    const char *text; /* what is looked for */
    size_t length;
    int32_t id;
    uint32_t rank; /* of two items of the same text the lower counts; set by swi_added_put */
    bool single_word, left_strip, right_strip;
};

struct swi_added_set {
    struct swi_added *items; /* sorted by text once swi_added_seal was called */
    size_t count, capacity;
    bool begins[256]; /* some item begins with this byte */
    int only;         /* the one byte that all items begin with, or -1 */
};

/* Copies the text. An empty text is left out. */
int swi_added_put(struct swi_added_set *set, const struct swi_added *item, struct swi_error *error);
/* Ends the building. */
void swi_added_seal(struct swi_added_set *set);
void swi_added_fini(struct swi_added_set *set);

/* Where a search stands; start with all zeros but text and size. */
struct swi_added_search {
    const char *text;
    size_t size;
    size_t cursor;      /* where to look on */
    size_t covered;     /* end of what the previous match took */
    size_t start, stop; /* the match, white space that it swallows included */
    const struct swi_added *item;
};

/* Finds the next match; false when there is none. */
bool swi_added_next(const struct swi_added_set *set, struct swi_added_search *search);

#endif
