/* SPDX-License-Identifier: MIT */
/* A WordPiece vocabulary: token texts by id, and ids by text.
 *
 * A hash table of 8-byte slots (open addressing, XXH3) finds a token in two key spaces: by its
 * whole text, as words begin with it, and by the text behind the continuation prefix ("##") of the
 * tokens that have it, as words continue with it. So no look-up ever builds a string. Table, tokens
 * and texts lie in one block of memory, which a start-up touches once.
 *
 * Of two tokens of the same text the later one is found, as in a Python dictionary; both keep their
 * text. Immutable once built, apart from swi_vocab_name.
 */
#ifndef SWI_TOKENIZER_VOCAB_H
#define SWI_TOKENIZER_VOCAB_H

#include "core/error.h"
#include "core/huge_pages.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SWI_VOCAB_IDS_MAX    (1u << 22)
#define SWI_VOCAB_PREFIX_MAX 16

enum swi_piece { SWI_PIECE_FIRST = 0, SWI_PIECE_NEXT = 1 };

struct swi_vocab_slot {
    uint32_t tag; /* high half of the key's hash */
    uint32_t ref; /* (id + 1) << 1 | key space; 0: empty */
};

struct swi_vocab_token {
    uint32_t start;  /* offset of its text + 1; 0: no token has this id */
    uint32_t length; /* bytes of its text */
};

struct swi_vocab {
    struct swi_huge memory;       /* all of the three below */
    struct swi_vocab_slot *slots; /* [slot_mask + 1] */
    uint32_t slot_mask, used;
    struct swi_vocab_token *tokens; /* [ids_capacity] */
    uint32_t ids, ids_capacity;     /* every id is below ids */
    char *texts;                    /* each followed by a zero */
    size_t texts_size, texts_capacity;
    size_t longest[2]; /* bytes of the longest key of each space */
    char prefix[SWI_VOCAB_PREFIX_MAX];
    size_t prefix_length;
};

/* Makes an empty vocabulary with room for about so many tokens, whose texts take so many bytes; it
 * grows where they were too few. SW_EFORMAT: the prefix is too long. */
int swi_vocab_init(struct swi_vocab *vocab, const char *prefix, size_t tokens, size_t text_bytes,
                   struct swi_error *error);
void swi_vocab_fini(struct swi_vocab *vocab);

/* Adds every line of a vocab.txt: line n (from 0) is the text of id n. A line ends with LF, CRLF or
 * CR; a byte order mark before the first is skipped, and so are empty lines at the end. */
int swi_vocab_add_lines(struct swi_vocab *vocab, const char *data, size_t size,
                        struct swi_error *error);

/* Adds what a JSON object text → id says: what core/json.h cut out of a tokenizer.json.
 * (vocab_json.c) */
int swi_vocab_add_json(struct swi_vocab *vocab, const char *text, size_t size,
                       struct swi_error *error);

/* Adds a token. SW_EFORMAT: the id is out of range or has a text already. */
int swi_vocab_add(struct swi_vocab *vocab, int64_t id, const char *text, size_t length,
                  struct swi_error *error);

/* Gives an id its text without making it findable, for tokens beside the WordPiece model. */
int swi_vocab_name(struct swi_vocab *vocab, int64_t id, const char *text, size_t length,
                   struct swi_error *error);

/* The id of a key, or -1. */
int32_t swi_vocab_find(const struct swi_vocab *vocab, enum swi_piece space, const char *key,
                       size_t length);

/* The text of an id, zero-terminated, borrowed; NULL when no token has it. */
const char *swi_vocab_text(const struct swi_vocab *vocab, int64_t id, size_t *ret_length);

#endif
