/* SPDX-License-Identifier: MIT */
/* One pass over the text turns what Python accepts into what jansson accepts; jansson judges the
 * rest. The pass does not validate: what it does not understand, it copies. */
#include "core/json.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SHOWN_MAX 60

struct pass {
    const char *in, *end;
    char *out; /* [3 × size + 16]: the most that a character becomes is "NaN" in quotes */
    size_t size;
    struct swi_json_cut *cut;
    size_t depth;
    bool inside;  /* the last key at depth 1 was cut->outer */
    bool cutting; /* and the last at depth 2 was cut->inner: its value comes next */
};

/* ---- foreign files --------------------------------------------------------------------------- */

static bool begins(const char *text, size_t size, const char *prefix)
{
    size_t length = strlen(prefix);
    return size >= length && strncasecmp(text, prefix, length) == 0;
}

int swi_foreign_check(const char *name, const void *data, size_t size, struct swi_error *error)
{
    const char *text = data;
    if (size == 0)
        return swi_fail(error, SW_EFORMAT, "%s: the file is empty; download it again", name);
    if (begins(text, size, "version https://git-lfs"))
        return swi_fail(error, SW_EFORMAT, "%s: is a git-lfs pointer: run git lfs pull", name);
    size_t blank = 0;
    while (blank < size && strchr(" \t\r\n", text[blank]) && text[blank])
        blank++;
    if (begins(text + blank, size - blank, "<!doctype") ||
        begins(text + blank, size - blank, "<html"))
        return swi_fail(error, SW_EFORMAT,
                        "%s: is an HTML page, not a model's file; download it again", name);
    return 0;
}

/* ---- the pass -------------------------------------------------------------------------------- */

static void put(struct pass *pass, const char *text, size_t size)
{
    memcpy(pass->out + pass->size, text, size);
    pass->size += size;
}

/* The code unit of the \uXXXX at `at`; -1 when there is none. */
static int32_t unit_at(const char *at, const char *end)
{
    int32_t unit = 0;
    if (end - at < 6 || at[0] != '\\' || at[1] != 'u')
        return -1;
    for (int i = 2; i < 6; i++) {
        const char *digits = "0123456789abcdef", *found = strchr(digits, at[i] | 0x20);
        if (!at[i] || !found)
            return -1;
        unit = unit * 16 + (int32_t)(found - digits);
    }
    return unit;
}

/* Copies an escape; a surrogate without its partner becomes U+FFFD. */
static const char *copy_escape(struct pass *pass, const char *at)
{
    int32_t unit = unit_at(at, pass->end);
    size_t length = unit < 0 ? 2 : 6;
    if (unit >= 0xD800 && unit <= 0xDFFF) {
        int32_t next = unit_at(at + 6, pass->end);
        if (unit > 0xDBFF || next < 0xDC00 || next > 0xDFFF) {
            put(pass, "\\ufffd", 6);
            return at + 6;
        }
        length = 12;
    }
    if (length > (size_t)(pass->end - at))
        length = (size_t)(pass->end - at);
    put(pass, at, length);
    return at + length;
}

/* NUL, which jansson takes in values but not in keys. */
static void replace_nul(char *text, size_t size)
{
    for (size_t i = 0; i + 6 <= size; i++) {
        if (text[i] != '\\')
            continue;
        if (memcmp(text + i, "\\u0000", 6) == 0)
            memcpy(text + i, "\\ufffd", 6);
        i++; /* what is escaped is not an escape itself */
    }
}

static bool is_key(const struct pass *pass, const char *at)
{
    while (at < pass->end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r'))
        at++;
    return at < pass->end && *at == ':';
}

static bool text_is(const char *text, size_t size, const char *wanted)
{
    return strlen(wanted) == size && memcmp(text, wanted, size) == 0;
}

/* Notices the keys that lead to what is cut out. */
static void take_key(struct pass *pass, const char *text, size_t size)
{
    if (!pass->cut || pass->cut->text)
        return;
    if (pass->depth == 1)
        pass->inside = text_is(text, size, pass->cut->outer);
    else if (pass->depth == 2 && pass->inside)
        pass->cutting = text_is(text, size, pass->cut->inner);
}

static const char *copy_string(struct pass *pass, const char *at)
{
    size_t start = pass->size;
    put(pass, at++, 1);
    while (at < pass->end && *at != '"') {
        const char *run = at;
        while (at < pass->end && *at != '"' && *at != '\\')
            at++;
        put(pass, run, (size_t)(at - run));
        if (at < pass->end && *at == '\\')
            at = copy_escape(pass, at);
    }
    if (at < pass->end)
        put(pass, at++, 1);
    if (is_key(pass, at)) {
        replace_nul(pass->out + start, pass->size - start);
        if (pass->size - start >= 2)
            take_key(pass, pass->out + start + 1, pass->size - start - 2);
    }
    return at;
}

static bool in_number(char c)
{
    return (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '+' || c == 'e' || c == 'E';
}

/* A number, or -Infinity. */
static const char *copy_number(struct pass *pass, const char *at)
{
    const char *run = at;
    bool real = false;
    if (text_is(at, (size_t)(pass->end - at) < 9 ? 0 : 9, "-Infinity")) {
        put(pass, "\"-Infinity\"", 11);
        return at + 9;
    }
    for (; at < pass->end && in_number(*at); at++)
        real = real || *at == '.' || *at == 'e' || *at == 'E';
    size_t length = (size_t)(at - run);
    double value = 0;
    if (real || length > 18) { /* others are within 64 bits */
        char *number = strndup(run, length);
        value = number ? strtod(number, NULL) : 0;
        free(number);
    }
    if (isinf(value)) {
        put(pass, value > 0 ? "\"Infinity\"" : "\"-Infinity\"", value > 0 ? 10 : 11);
        return at;
    }
    put(pass, run, length);
    if (!real && length > 18)
        put(pass, ".0", 2);
    return at;
}

static const char *copy_word(struct pass *pass, const char *at, const char *word)
{
    size_t length = strlen(word);
    if ((size_t)(pass->end - at) < length || memcmp(at, word, length) != 0) {
        put(pass, at, 1);
        return at + 1;
    }
    put(pass, "\"", 1);
    put(pass, word, length);
    put(pass, "\"", 1);
    return at + length;
}

/* Behind the string that begins at `at`. */
static const char *skip_string(const char *at, const char *end)
{
    for (at++; at < end; at++) {
        const char *quote = memchr(at, '"', (size_t)(end - at)), *before = quote;
        if (!quote)
            return end;
        while (before > at && before[-1] == '\\')
            before--;
        at = quote;
        if ((quote - before) % 2 == 0)
            return quote + 1;
    }
    return end;
}

/* Behind the object that begins at `at`; the text's end when it has none. */
static const char *skip_object(const char *at, const char *end)
{
    size_t depth = 0;
    while (at < end) {
        char c = *at;
        if (c == '"') {
            at = skip_string(at, end);
            continue;
        }
        at++;
        depth += c == '{' || c == '[';
        if (c == '}' || c == ']')
            if (--depth == 0)
                return at;
    }
    return end;
}

static const char *cut_out(struct pass *pass, const char *at)
{
    const char *after = skip_object(at, pass->end);
    pass->cut->text = at;
    pass->cut->size = (size_t)(after - at);
    pass->cutting = false;
    put(pass, "{}", 2);
    return after;
}

static void copy(struct pass *pass)
{
    const char *at = pass->in;
    while (at < pass->end) {
        char c = *at;
        if (c == '"') {
            at = copy_string(pass, at);
        } else if (c == '-' || (c >= '0' && c <= '9')) {
            at = copy_number(pass, at);
        } else if (c == 'N' || c == 'I') {
            at = copy_word(pass, at, c == 'N' ? "NaN" : "Infinity");
        } else if (c == '{' && pass->cutting && pass->depth == 2) {
            at = cut_out(pass, at);
        } else {
            if (c == '{' || c == '[')
                pass->depth++;
            else if ((c == '}' || c == ']') && pass->depth > 0)
                pass->depth--;
            put(pass, at++, 1);
        }
    }
}

int swi_json_read(const char *name, const void *data, size_t size, struct swi_json_cut *cut,
                  json_t **ret, struct swi_error *error)
{
    int result = swi_foreign_check(name, data, size, error);
    if (result < 0)
        return result;
    struct pass pass = {.in = data, .end = (const char *)data + size, .cut = cut};
    if (cut) {
        cut->text = NULL;
        cut->size = 0;
    }
    pass.out = size < SIZE_MAX / 4 ? malloc(3 * size + 16) : NULL;
    if (!pass.out)
        return swi_fail(error, -ENOMEM, "%s: out of memory", name);
    copy(&pass);
    json_error_t problem = {0};
    json_t *root = json_loadb(pass.out, pass.size, JSON_DECODE_ANY | JSON_ALLOW_NUL, &problem);
    free(pass.out);
    if (root) {
        *ret = root;
        return 0;
    }
    if (json_error_code(&problem) == json_error_out_of_memory)
        return swi_fail(error, -ENOMEM, "%s: out of memory", name);
    return swi_fail(error, SW_EFORMAT, "%s: line %d, column %d: %.120s", name, problem.line,
                    problem.column, problem.text);
}

int swi_json_read_object(const char *name, const void *data, size_t size, json_t **ret,
                         struct swi_error *error)
{
    json_t *root = NULL;
    int result = swi_json_read(name, data, size, NULL, &root, error);
    if (result < 0)
        return result;
    if (!json_is_object(root)) {
        json_decref(root);
        return swi_fail(error, SW_EFORMAT, "%s: must hold a JSON object", name);
    }
    *ret = root;
    return 0;
}

/* ---- values ---------------------------------------------------------------------------------- */

int swi_json_get_uint(const json_t *object, const char *file, const char *key, uint32_t lowest,
                      uint32_t highest, uint32_t *value, struct swi_error *error)
{
    const json_t *member = json_object_get(object, key);
    if (!member || json_is_null(member))
        return 0;
    json_int_t number = json_integer_value(member);
    if (!json_is_integer(member) || number < (json_int_t)lowest || number > (json_int_t)highest)
        return swi_fail(error, SW_EFORMAT, "%s: \"%.*s\" must be a whole number from %u to %u",
                        file, SHOWN_MAX, key, lowest, highest);
    *value = (uint32_t)number;
    return 0;
}

bool swi_json_truth(const json_t *value)
{
    if (!value || json_is_null(value) || json_is_false(value))
        return false;
    if (json_is_number(value))
        return json_number_value(value) != 0;
    if (json_is_string(value))
        return json_string_length(value) > 0;
    if (json_is_array(value) || json_is_object(value))
        return json_array_size(value) + json_object_size(value) > 0;
    return true;
}
