/* SPDX-License-Identifier: MIT */
/* Untrusted text on a terminal. */
#include "ctl/lib/text.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* The next character and its length in bytes; -1 for a byte that is not UTF-8. */
static utf8proc_int32_t next(const char *text, size_t *ret_length)
{
    utf8proc_int32_t point;
    utf8proc_ssize_t length = utf8proc_iterate((const utf8proc_uint8_t *)text, -1, &point);
    *ret_length = length > 0 ? (size_t)length : 1;
    return length > 0 ? point : -1;
}

static size_t columns_of(utf8proc_int32_t point)
{
    int width = point < 0 ? 1 : utf8proc_charwidth(point);
    return width > 0 ? (size_t)width : 0;
}

size_t ctl_text_fit(const char *text, size_t columns, size_t *ret_columns)
{
    size_t bytes = 0, used = 0;
    while (text[bytes]) {
        size_t length;
        size_t width = columns_of(next(text + bytes, &length));
        if (width > columns - used)
            break;
        used += width;
        bytes += length;
    }
    if (ret_columns)
        *ret_columns = used;
    return bytes;
}

size_t ctl_text_width(const char *text)
{
    size_t columns;
    (void)ctl_text_fit(text, SIZE_MAX, &columns);
    return columns;
}

static bool is_harmful(utf8proc_int32_t point)
{
    if (point < 0)
        return true;
    switch (utf8proc_category(point)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_CS:
        return true;
    default:
        return false;
    }
}

void ctl_text_clean(char *text)
{
    char *to = text;
    while (*text) {
        size_t length;
        if (is_harmful(next(text, &length))) {
            *to++ = '?';
        } else {
            memmove(to, text, length);
            to += length;
        }
        text += length;
    }
    *to = 0;
}

static void clean_string(json_t *value)
{
    char *text = strdup(json_string_value(value)); /* cut at an embedded zero */
    if (!text)
        return;
    ctl_text_clean(text);
    (void)json_string_set(value, text);
    free(text);
}

/* jansson's parser bounds the depth. */
void ctl_json_clean(json_t *value)
{
    size_t i;
    const char *key;
    json_t *item;
    if (json_is_string(value)) {
        clean_string(value);
    } else if (json_is_array(value)) {
        json_array_foreach(value, i, item)
        {
            ctl_json_clean(item);
        }
    } else if (json_is_object(value)) {
        json_object_foreach(value, key, item)
        {
            ctl_json_clean(item);
        }
    }
}

/* jansson has escaped control characters below a space; those left are its own line ends. Other
 * harmful characters only occur in strings, where they can be escaped. */
static bool is_escaped(utf8proc_int32_t point)
{
    return point >= 0x7f && is_harmful(point);
}

static void put_escape(utf8proc_int32_t point, FILE *out)
{
    unsigned value = (unsigned)point;
    if (value > 0xffff) {
        (void)fprintf(out, "\\u%04x", 0xd800 + ((value - 0x10000) >> 10));
        value = 0xdc00 + ((value - 0x10000) & 0x3ff);
    }
    (void)fprintf(out, "\\u%04x", value);
}

void ctl_json_print(const json_t *value, FILE *out)
{
    char *text = json_dumps(value, JSON_INDENT(2) | JSON_ENCODE_ANY);
    const char *at = text ? text : "null", *written = at;
    while (*at) {
        size_t length;
        utf8proc_int32_t point = next(at, &length);
        if (is_escaped(point)) {
            (void)fwrite(written, 1, (size_t)(at - written), out);
            put_escape(point, out);
            written = at + length;
        }
        at += length;
    }
    (void)fprintf(out, "%s\n", written);
    free(text);
}
