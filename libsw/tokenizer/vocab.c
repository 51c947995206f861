/* SPDX-License-Identifier: MIT */
/* The vocabulary's hash table, and the one block that holds all of it. */
#include "tokenizer/vocab.h"
#include "tokenizer/unicode.h"

#include <errno.h>
#include <string.h>
#include <xxhash.h>

#define TEXTS_MAX ((size_t)1 << 30)
#define SHOWN_MAX 40 /* bytes of a token in a message */

void swi_vocab_fini(struct swi_vocab *vocab)
{
    swi_huge_give(&vocab->memory);
    *vocab = (struct swi_vocab){0};
}

const char *swi_vocab_text(const struct swi_vocab *vocab, int64_t id, size_t *ret_length)
{
    if (id < 0 || id >= vocab->ids || vocab->tokens[id].start == 0)
        return NULL;
    if (ret_length)
        *ret_length = vocab->tokens[id].length;
    return vocab->texts + vocab->tokens[id].start - 1;
}

/* ---- the table ------------------------------------------------------------------------------- */

static uint64_t hash_of(enum swi_piece space, const char *key, size_t length)
{
    return XXH3_64bits_withSeed(key, length, (XXH64_hash_t)space);
}

static bool slot_holds(const struct swi_vocab *vocab, struct swi_vocab_slot slot, uint32_t tag,
                       enum swi_piece space, const char *key, size_t length)
{
    if (slot.tag != tag || (slot.ref & 1) != (uint32_t)space)
        return false;
    uint32_t id = (slot.ref >> 1) - 1;
    size_t skip = space == SWI_PIECE_NEXT ? vocab->prefix_length : 0;
    return vocab->tokens[id].length - skip == length &&
           memcmp(vocab->texts + vocab->tokens[id].start - 1 + skip, key, length) == 0;
}

/* The slot that holds the key, or the empty one where it belongs. One slot is always empty. */
static uint32_t slot_of(const struct swi_vocab *vocab, enum swi_piece space, const char *key,
                        size_t length, uint64_t hash)
{
    uint32_t at = (uint32_t)hash & vocab->slot_mask;
    while (vocab->slots[at].ref != 0 &&
           !slot_holds(vocab, vocab->slots[at], (uint32_t)(hash >> 32), space, key, length))
        at = (at + 1) & vocab->slot_mask;
    return at;
}

int32_t swi_vocab_find(const struct swi_vocab *vocab, enum swi_piece space, const char *key,
                       size_t length)
{
    uint32_t at = slot_of(vocab, space, key, length, hash_of(space, key, length));
    return (int32_t)(vocab->slots[at].ref >> 1) - 1;
}

static void table_put(struct swi_vocab *vocab, enum swi_piece space, uint32_t id)
{
    size_t skip = space == SWI_PIECE_NEXT ? vocab->prefix_length : 0;
    const char *key = vocab->texts + vocab->tokens[id].start - 1 + skip;
    size_t length = vocab->tokens[id].length - skip;
    uint64_t hash = hash_of(space, key, length);
    uint32_t at = slot_of(vocab, space, key, length, hash);
    vocab->used += vocab->slots[at].ref == 0;
    vocab->slots[at].tag = (uint32_t)(hash >> 32);
    vocab->slots[at].ref = (id + 1) << 1 | (uint32_t)space;
}

/* ---- memory ------------------------------------------------------------------------------------
 */

static uint32_t slots_for(size_t keys)
{
    uint32_t slots = 64;
    while (slots / 4 * 3 < keys)
        slots *= 2;
    return slots;
}

/* Moves into a block with room for so many keys, ids and bytes of text. */
static int move(struct swi_vocab *vocab, size_t keys, size_t ids, size_t text_bytes)
{
    uint32_t slots = slots_for(keys);
    size_t table = slots * sizeof(struct swi_vocab_slot), tokens = ids * sizeof *vocab->tokens;
    struct swi_vocab old = *vocab;
    int result = swi_huge_take(table + tokens + text_bytes, &vocab->memory);
    if (result < 0) {
        vocab->memory = old.memory;
        return result;
    }
    vocab->slots = vocab->memory.start;
    vocab->slot_mask = slots - 1;
    vocab->tokens = (struct swi_vocab_token *)(vocab->slots + slots);
    vocab->ids_capacity = (uint32_t)ids;
    vocab->texts = (char *)(vocab->tokens + ids);
    vocab->texts_capacity = text_bytes;
    vocab->used = 0;
    if (old.memory.start) {
        memcpy(vocab->tokens, old.tokens, old.ids * sizeof *old.tokens);
        memcpy(vocab->texts, old.texts, old.texts_size);
        for (size_t i = 0; i <= old.slot_mask; i++) {
            if (old.slots[i].ref != 0)
                table_put(vocab, (enum swi_piece)(old.slots[i].ref & 1),
                          (old.slots[i].ref >> 1) - 1);
        }
    }
    swi_huge_give(&old.memory);
    return 0;
}

static size_t grown(size_t capacity, size_t needed)
{
    return needed <= capacity ? capacity : needed + needed / 2 + 64;
}

/* Makes room for a text of so many bytes under this id, and for its two keys at most. */
static int reserve(struct swi_vocab *vocab, size_t id, size_t length)
{
    size_t keys_capacity = ((size_t)vocab->slot_mask + 1) / 4 * 3;
    size_t keys = grown(keys_capacity, (size_t)vocab->used + 2);
    size_t ids = grown(vocab->ids_capacity, id + 1);
    size_t bytes = grown(vocab->texts_capacity, vocab->texts_size + length + 1);
    if (keys == keys_capacity && ids == vocab->ids_capacity && bytes == vocab->texts_capacity)
        return 0;
    return move(vocab, keys, ids, bytes);
}

int swi_vocab_init(struct swi_vocab *vocab, const char *prefix, size_t tokens, size_t text_bytes,
                   struct swi_error *error)
{
    size_t length = strlen(prefix);
    if (length >= SWI_VOCAB_PREFIX_MAX)
        return swi_fail(error, SW_EFORMAT,
                        "the continuation prefix has %zu bytes; at most %d are supported", length,
                        SWI_VOCAB_PREFIX_MAX - 1);
    if (tokens > SWI_VOCAB_IDS_MAX)
        tokens = SWI_VOCAB_IDS_MAX;
    if (text_bytes > TEXTS_MAX)
        text_bytes = TEXTS_MAX;
    struct swi_vocab fresh = {.prefix_length = length};
    memcpy(fresh.prefix, prefix, length + 1);
    /* about a fifth of a vocabulary continues words; every file may add a few tokens of its own */
    if (move(&fresh, tokens + tokens / 4, tokens + 16, text_bytes + 256) < 0)
        return swi_fail(error, -ENOMEM, "no memory for a vocabulary of %zu tokens", tokens);
    *vocab = fresh;
    return 0;
}

/* ---- adding ------------------------------------------------------------------------------------
 */

int swi_vocab_name(struct swi_vocab *vocab, int64_t id, const char *text, size_t length,
                   struct swi_error *error)
{
    int shown = length < SHOWN_MAX ? (int)length : SHOWN_MAX;
    if (id < 0 || id >= SWI_VOCAB_IDS_MAX)
        return swi_fail(error, SW_EFORMAT, "token \"%.*s\" has id %lld; ids go from 0 to %u", shown,
                        text, (long long)id, SWI_VOCAB_IDS_MAX - 1);
    if (swi_vocab_text(vocab, id, NULL))
        return swi_fail(error, SW_EFORMAT, "tokens \"%.*s\" and \"%.*s\" have the same id %lld",
                        SHOWN_MAX, swi_vocab_text(vocab, id, NULL), shown, text, (long long)id);
    if (length >= TEXTS_MAX || vocab->texts_size + length + 1 > TEXTS_MAX)
        return swi_fail(error, SW_EFORMAT, "the tokens take more than %zu bytes", TEXTS_MAX);
    if (reserve(vocab, (size_t)id, length) < 0)
        return swi_fail(error, -ENOMEM, "no memory for the vocabulary");
    vocab->tokens[id] = (struct swi_vocab_token){.start = (uint32_t)vocab->texts_size + 1,
                                                 .length = (uint32_t)length};
    memcpy(vocab->texts + vocab->texts_size, text, length);
    vocab->texts[vocab->texts_size + length] = '\0';
    vocab->texts_size += length + 1;
    if (id >= vocab->ids)
        vocab->ids = (uint32_t)id + 1;
    return 0;
}

int swi_vocab_add(struct swi_vocab *vocab, int64_t id, const char *text, size_t length,
                  struct swi_error *error)
{
    int result = swi_vocab_name(vocab, id, text, length, error);
    if (result < 0)
        return result;
    table_put(vocab, SWI_PIECE_FIRST, (uint32_t)id);
    if (length > vocab->longest[SWI_PIECE_FIRST])
        vocab->longest[SWI_PIECE_FIRST] = length;
    if (length < vocab->prefix_length || memcmp(text, vocab->prefix, vocab->prefix_length) != 0)
        return 0;
    table_put(vocab, SWI_PIECE_NEXT, (uint32_t)id);
    if (length - vocab->prefix_length > vocab->longest[SWI_PIECE_NEXT])
        vocab->longest[SWI_PIECE_NEXT] = length - vocab->prefix_length;
    return 0;
}

int swi_vocab_add_lines(struct swi_vocab *vocab, const char *data, size_t size,
                        struct swi_error *error)
{
    size_t at = 0;
    if (size >= 3 && memcmp(data, "\xEF\xBB\xBF", 3) == 0)
        at = 3;
    while (size >= 2 && data[size - 1] == '\n' && data[size - 2] == '\n')
        size--;
    for (int64_t id = 0; at < size; id++) {
        size_t end = at, bad;
        while (end < size && data[end] != '\n' && data[end] != '\r')
            end++;
        if (!swi_utf8_valid(data + at, end - at, &bad))
            return swi_fail(error, SW_EFORMAT,
                            "line %lld is not UTF-8 (byte %zu); save the file as UTF-8",
                            (long long)id + 1, bad + 1);
        int result = swi_vocab_add(vocab, id, data + at, end - at, error);
        if (result < 0)
            return result;
        at = end + 1;
        if (end < size && data[end] == '\r' && at < size && data[at] == '\n')
            at++;
    }
    return 0;
}
