/* SPDX-License-Identifier: MIT */
/* Finding added tokens in text. */
#include "tokenizer/added.h"
#include "tokenizer/unicode.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The set's own copy of a text, which items otherwise only read. */
static void free_text(struct swi_added *item)
{
    free((char *)(uintptr_t)item->text);
}

int swi_added_put(struct swi_added_set *set, const struct swi_added *item, struct swi_error *error)
{
    if (item->length == 0)
        return 0;
    char *text = malloc(item->length + 1);
    if (!text)
        return swi_fail(error, -ENOMEM, "no memory for the added tokens");
    memcpy(text, item->text, item->length);
    text[item->length] = '\0';
    if (set->count == SWI_ADDED_MAX) {
        free(text);
        return swi_fail(error, SW_EFORMAT, "more than %d added tokens", SWI_ADDED_MAX);
    }
    if (set->count == set->capacity) {
        size_t capacity = set->capacity ? set->capacity * 2 : 8;
        struct swi_added *items = realloc(set->items, capacity * sizeof *items);
        if (!items) {
            free(text);
            return swi_fail(error, -ENOMEM, "no memory for the added tokens");
        }
        set->items = items;
        set->capacity = capacity;
    }
    set->items[set->count] = *item;
    set->items[set->count].text = text;
    set->items[set->count].rank = (uint32_t)set->count;
    set->count++;
    return 0;
}

static int by_text(const void *left, const void *right)
{
    const struct swi_added *a = left, *b = right;
    size_t shorter = a->length < b->length ? a->length : b->length;
    int order = memcmp(a->text, b->text, shorter);
    if (order != 0)
        return order;
    if (a->length != b->length)
        return a->length < b->length ? -1 : 1;
    return a->rank < b->rank ? -1 : 1;
}

void swi_added_seal(struct swi_added_set *set)
{
    if (set->count > 0)
        qsort(set->items, set->count, sizeof *set->items, by_text);
    memset(set->begins, 0, sizeof set->begins);
    set->only = -1;
    for (size_t i = 0; i < set->count; i++)
        set->begins[(uint8_t)set->items[i].text[0]] = true;
    /* sorted: all begin alike when the outermost two do */
    if (set->count > 0 && set->items[0].text[0] == set->items[set->count - 1].text[0])
        set->only = (uint8_t)set->items[0].text[0];
}

void swi_added_fini(struct swi_added_set *set)
{
    for (size_t i = 0; i < set->count; i++)
        free_text(&set->items[i]);
    free(set->items);
    *set = (struct swi_added_set){0};
}

/* The first item of [low, high), all equal before position depth, whose byte there is at least
 * byte. Items that end at depth count as smaller than any byte. */
static size_t first_from(const struct swi_added_set *set, size_t low, size_t high, size_t depth,
                         int byte)
{
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct swi_added *item = &set->items[middle];
        int here = item->length > depth ? (uint8_t)item->text[depth] : -1;
        if (here < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The longest item that the text begins with, or NULL. */
static const struct swi_added *longest_at(const struct swi_added_set *set, const char *text,
                                          size_t size)
{
    const struct swi_added *best = NULL;
    size_t low = 0, high = set->count;
    for (size_t depth = 0; depth < size && low < high; depth++) {
        int byte = (uint8_t)text[depth];
        low = first_from(set, low, high, depth, byte);
        high = first_from(set, low, high, depth, byte + 1);
        if (low < high && set->items[low].length == depth + 1)
            best = &set->items[low];
    }
    return best;
}

/* Where the code point before `end` starts; not before `from`. */
static size_t step_back(const char *text, size_t from, size_t end)
{
    size_t at = end - 1;
    while (at > from && end - at < SWI_UTF8_MAX && ((uint8_t)text[at] & 0xC0) == 0x80)
        at--;
    return at;
}

static bool stands_alone(const struct swi_added_search *search, size_t start, size_t stop)
{
    int32_t code;
    if (start > 0) {
        size_t before = step_back(search->text, 0, start);
        swi_utf8_decode(search->text + before, start - before, &code);
        if (swi_is_word(code))
            return false;
    }
    if (stop == search->size)
        return true;
    swi_utf8_decode(search->text + stop, search->size - stop, &code);
    return !swi_is_word(code);
}

static size_t strip_left(const struct swi_added_search *search, size_t start)
{
    while (start > search->covered) {
        int32_t code;
        size_t before = step_back(search->text, search->covered, start);
        size_t length = swi_utf8_decode(search->text + before, start - before, &code);
        if (!swi_is_space(code) || before + length != start)
            break;
        start = before;
    }
    return start;
}

static size_t strip_right(const struct swi_added_search *search, size_t stop)
{
    while (stop < search->size) {
        int32_t code;
        size_t length = swi_utf8_decode(search->text + stop, search->size - stop, &code);
        if (!swi_is_space(code))
            break;
        stop += length;
    }
    return stop;
}

/* The next position from `at` where some item might begin, or the text's end. */
static size_t next_candidate(const struct swi_added_set *set, const char *text, size_t at,
                             size_t size)
{
    if (set->only >= 0) {
        const char *found = at < size ? memchr(text + at, set->only, size - at) : NULL;
        return found ? (size_t)(found - text) : size;
    }
    while (at < size && !set->begins[(uint8_t)text[at]])
        at++;
    return at;
}

bool swi_added_next(const struct swi_added_set *set, struct swi_added_search *search)
{
    if (set->count == 0)
        return false;
    size_t at = search->cursor;
    while ((at = next_candidate(set, search->text, at, search->size)) < search->size) {
        const struct swi_added *item = longest_at(set, search->text + at, search->size - at);
        if (!item) {
            at++;
            continue;
        }
        size_t start = at, stop = at + item->length;
        at = stop;
        /* white space that the previous match swallowed is no token a second time */
        if (stop <= search->covered)
            continue;
        if (item->single_word && !stands_alone(search, start, stop))
            continue;
        if (item->left_strip)
            start = strip_left(search, start);
        if (start < search->covered)
            start = search->covered;
        if (item->right_strip)
            stop = strip_right(search, stop);
        search->cursor = at;
        search->covered = stop;
        search->start = start;
        search->stop = stop;
        search->item = item;
        return true;
    }
    return false;
}
