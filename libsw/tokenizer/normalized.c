/* SPDX-License-Identifier: MIT */
/* Normalizing a stretch of text into a buffer, marks in canonical order. */
#include "tokenizer/normalized.h"
#include "tokenizer/unicode.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* How far back a mark may move: keeps a text of nothing but marks from taking quadratic time. A
 * longer run of marks is no word that a vocabulary has. */
#define REORDER_BYTES_MAX 4096

size_t swi_normal_place(const char *bytes, size_t run_start, size_t size, uint8_t order)
{
    size_t at = size;
    while (order != 0 && at > run_start) {
        size_t before = at;
        do {
            before--;
        } while (before > run_start && ((uint8_t)bytes[before] & 0xC0) == 0x80);
        int32_t code;
        swi_utf8_decode(bytes + before, at - before, &code);
        if (utf8proc_get_property(code)->combining_class <= order)
            break;
        at = before;
    }
    return at;
}

static int reserve(struct swi_normalized *normalized, size_t more)
{
    if (normalized->size + more <= normalized->capacity)
        return 0;
    size_t capacity = normalized->capacity ? normalized->capacity * 2 : 1024;
    char *text = realloc(normalized->text, capacity);
    if (!text)
        return -ENOMEM;
    normalized->text = text;
    uint32_t *offsets = realloc(normalized->offsets, capacity * sizeof *offsets);
    if (!offsets)
        return -ENOMEM;
    normalized->offsets = offsets;
    normalized->capacity = capacity;
    return 0;
}

/* Appends one code point; room for it is there. */
static void add(struct swi_normalized *normalized, struct swi_normal normal, size_t *run_start,
                size_t offset)
{
    size_t size = normalized->size;
    if (normal.code == SWI_NORMAL_BARRIER || size - *run_start > REORDER_BYTES_MAX)
        *run_start = size;
    if (normal.code == SWI_NORMAL_BARRIER)
        return;
    char bytes[SWI_UTF8_MAX];
    size_t width = swi_utf8_encode(normal.code, bytes);
    size_t place = swi_normal_place(normalized->text, *run_start, size, normal.order);
    memmove(normalized->text + place + width, normalized->text + place, size - place);
    memcpy(normalized->text + place, bytes, width);
    for (size_t byte = 0; byte < width; byte++)
        normalized->offsets[size + byte] = (uint32_t)offset;
    normalized->size += width;
    if (normal.order == 0)
        *run_start = normalized->size;
}

int swi_normalize_text(const struct swi_normalizer *normalizer, const char *data, size_t at,
                       size_t end, struct swi_normalized *normalized)
{
    size_t run_start = 0;
    normalized->size = 0;
    while (at < end) {
        int32_t code;
        struct swi_normal normals[SWI_NORMAL_MAX];
        size_t length = swi_utf8_decode(data + at, end - at, &code);
        size_t count = swi_normalize(normalizer, code, normals);
        if (reserve(normalized, SWI_NORMAL_MAX * SWI_UTF8_MAX) < 0)
            return -ENOMEM;
        for (size_t i = 0; i < count; i++)
            add(normalized, normals[i], &run_start, at);
        at += length;
    }
    return 0;
}

void swi_normalized_fini(struct swi_normalized *normalized)
{
    free(normalized->text);
    free(normalized->offsets);
    *normalized = (struct swi_normalized){0};
}
