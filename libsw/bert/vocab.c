/* The vocabulary's block of texts and its hash table. */
#include "bert/vocab.h"
#include "bert/unicode.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define TEXTS_MAX ((size_t)1 << 30)
#define SHOWN_MAX 40 /* bytes of a token in a message */

static size_t power_of_two(size_t at_least)
{
    size_t value = 64;
    while (value < at_least)
        value *= 2;
    return value;
}

int swi_vocab_init(struct swi_vocab *vocab, const char *prefix, size_t expected,
                   struct swi_error *error)
{
    size_t length = strlen(prefix);
    if (length >= SWI_VOCAB_PREFIX_MAX)
        return swi_fail(error, SW_EFORMAT,
                        "the continuation prefix has %zu bytes; at most %d are supported", length,
                        SWI_VOCAB_PREFIX_MAX - 1);
    if (expected > SWI_VOCAB_IDS_MAX)
        expected = SWI_VOCAB_IDS_MAX;
    size_t slots = power_of_two(expected * 3 / 2);
    struct swi_vocab fresh = {
        .slots = calloc(slots, sizeof *fresh.slots),
        .slot_mask = (uint32_t)(slots - 1),
        .prefix_length = length,
    };
    if (!fresh.slots)
        return swi_fail(error, -ENOMEM, "no memory for a vocabulary of %zu tokens", expected);
    memcpy(fresh.prefix, prefix, length + 1);
    *vocab = fresh;
    return 0;
}

void swi_vocab_fini(struct swi_vocab *vocab)
{
    free(vocab->texts);
    free(vocab->starts);
    free(vocab->lengths);
    free(vocab->slots);
    *vocab = (struct swi_vocab){0};
}

const char *swi_vocab_text(const struct swi_vocab *vocab, int64_t id, size_t *ret_length)
{
    if (id < 0 || id >= vocab->ids || vocab->starts[id] == 0)
        return NULL;
    if (ret_length)
        *ret_length = vocab->lengths[id];
    return vocab->texts + vocab->starts[id] - 1;
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
    return vocab->lengths[id] - skip == length &&
           memcmp(vocab->texts + vocab->starts[id] - 1 + skip, key, length) == 0;
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
    const char *key = vocab->texts + vocab->starts[id] - 1 + skip;
    size_t length = vocab->lengths[id] - skip;
    uint64_t hash = hash_of(space, key, length);
    uint32_t at = slot_of(vocab, space, key, length, hash);
    vocab->used += vocab->slots[at].ref == 0;
    vocab->slots[at].tag = (uint32_t)(hash >> 32);
    vocab->slots[at].ref = (id + 1) << 1 | (uint32_t)space;
}

/* Makes room for one more token, which takes two keys at most, at a load of three quarters. */
static int table_reserve(struct swi_vocab *vocab)
{
    size_t size = (size_t)vocab->slot_mask + 1;
    if (vocab->used + 2 <= size / 4 * 3)
        return 0;
    struct swi_vocab_slot *old = vocab->slots;
    struct swi_vocab_slot *slots = calloc(size * 2, sizeof *slots);
    if (!slots)
        return -ENOMEM;
    vocab->slots = slots;
    vocab->slot_mask = (uint32_t)(size * 2 - 1);
    vocab->used = 0;
    for (size_t i = 0; i < size; i++) {
        if (old[i].ref != 0)
            table_put(vocab, (enum swi_piece)(old[i].ref & 1), (old[i].ref >> 1) - 1);
    }
    free(old);
    return 0;
}

/* ---- adding ------------------------------------------------------------------------------------
 */

static int reserve_ids(struct swi_vocab *vocab, size_t ids)
{
    if (ids <= vocab->ids_capacity)
        return 0;
    size_t capacity = power_of_two(ids);
    uint32_t *starts = realloc(vocab->starts, capacity * sizeof *starts);
    if (!starts)
        return -ENOMEM;
    vocab->starts = starts;
    uint32_t *lengths = realloc(vocab->lengths, capacity * sizeof *lengths);
    if (!lengths)
        return -ENOMEM;
    vocab->lengths = lengths;
    size_t more = capacity - vocab->ids_capacity;
    memset(starts + vocab->ids_capacity, 0, more * sizeof *starts);
    memset(lengths + vocab->ids_capacity, 0, more * sizeof *lengths);
    vocab->ids_capacity = (uint32_t)capacity;
    return 0;
}

static int reserve_texts(struct swi_vocab *vocab, size_t more)
{
    if (vocab->texts_size + more <= vocab->texts_capacity)
        return 0;
    size_t capacity = power_of_two(vocab->texts_size + more);
    char *texts = realloc(vocab->texts, capacity);
    if (!texts)
        return -ENOMEM;
    vocab->texts = texts;
    vocab->texts_capacity = capacity;
    return 0;
}

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
        return swi_fail(error, SW_EFORMAT, "the tokens take over %zu bytes", TEXTS_MAX);
    if (reserve_ids(vocab, (size_t)id + 1) < 0 || reserve_texts(vocab, length + 1) < 0)
        return swi_fail(error, -ENOMEM, "no memory for the vocabulary");
    vocab->starts[id] = (uint32_t)vocab->texts_size + 1;
    vocab->lengths[id] = (uint32_t)length;
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
    if (table_reserve(vocab) < 0)
        return swi_fail(error, -ENOMEM, "no memory for the vocabulary");
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
