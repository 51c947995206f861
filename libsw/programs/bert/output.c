/* SPDX-License-Identifier: MIT */
/* Pieces of JSON on standard output. Strings go through jansson; numbers are printf's. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "programs/bert/command.h"
#include "tokenizer/unicode.h"

/* A copy in which every malformed sequence is U+FFFD; at most three times as long. */
static char *repaired(const char *text, size_t size, size_t *ret_size)
{
    char *copy = malloc(size * 3 + 1);
    size_t length = 0;
    for (size_t at = 0; copy && at < size;) {
        int32_t code;
        at += swi_utf8_decode(text + at, size - at, &code);
        length += swi_utf8_encode(code, copy + length);
    }
    *ret_size = length;
    return copy;
}

static bool write_text(const char *data, size_t size, void *context)
{
    (void)context;
    return fwrite(data, 1, size, stdout) == size;
}

static int dump(const char *data, size_t size, void *context)
{
    return write_text(data, size, context) ? 0 : -1;
}

bool print_string(const char *text, size_t size)
{
    size_t bad;
    char *copy = NULL;
    if (!swi_utf8_valid(text, size, &bad)) {
        copy = repaired(text, size, &size);
        if (!copy)
            return false;
        text = copy;
    }
    json_t *string = json_stringn_nocheck(text, size);
    if (string)
        (void)json_dump_callback(string, dump, NULL, JSON_ENCODE_ANY);
    json_decref(string);
    free(copy);
    return string != NULL;
}

void print_floats(const float *values, size_t count)
{
    (void)putchar('[');
    for (size_t i = 0; i < count; i++)
        (void)printf(i ? ",%.9g" : "%.9g", (double)values[i]);
    (void)putchar(']');
}

void print_ids(const int32_t *ids, size_t count)
{
    (void)putchar('[');
    for (size_t i = 0; i < count; i++)
        (void)printf(i ? ",%d" : "%d", ids[i]);
    (void)putchar(']');
}

size_t first_odd(const float *values, size_t count)
{
    size_t at = 0;
    while (at < count && isfinite(values[at]))
        at++;
    return at;
}
