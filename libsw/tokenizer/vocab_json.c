/* SPDX-License-Identifier: MIT */
/* The vocabulary of a tokenizer.json: an object of 30,000 and more members, text → id, read without
 * building a value for each. Strict: whatever is not such an object is refused with its place. */
#include "tokenizer/unicode.h"
#include "tokenizer/vocab.h"

#include <errno.h>
#include <stdlib.h>

#define KEY_BYTES_MAX (1u << 16)

struct scan {
    const char *start, *at, *end;
    const char *key;
    size_t key_size;
    char *buffer; /* [KEY_BYTES_MAX]: for keys that do not lie in the text as they are */
    struct swi_error *error;
};

static int malformed(const struct scan *scan, const char *what)
{
    return swi_fail(scan->error, SW_EFORMAT, "vocab: %s at byte %zu of the object", what,
                    (size_t)(scan->at - scan->start));
}

static void skip_blank(struct scan *scan)
{
    while (scan->at < scan->end &&
           (*scan->at == ' ' || *scan->at == '\n' || *scan->at == '\t' || *scan->at == '\r'))
        scan->at++;
}

static bool take(struct scan *scan, char wanted)
{
    skip_blank(scan);
    if (scan->at == scan->end || *scan->at != wanted)
        return false;
    scan->at++;
    return true;
}

/* Four hexadecimal digits, or -1. */
static int32_t take_unit(struct scan *scan)
{
    int32_t unit = 0;
    if (scan->end - scan->at < 4)
        return -1;
    for (int i = 0; i < 4; i++, scan->at++) {
        char c = *scan->at;
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return -1;
        unit = unit * 16 + digit;
    }
    return unit;
}

/* Behind a backslash: the code point, or -1. NUL and lone surrogates become U+FFFD, as they do in
 * core/json.c. */
static int32_t take_escape(struct scan *scan)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    if (scan->at == scan->end)
        return -1;
    char c = *scan->at++;
    for (size_t i = 0; i + 1 < sizeof names; i++)
        if (c == names[i])
            return values[i];
    int32_t unit = c == 'u' ? take_unit(scan) : -1;
    if (unit < 0xD800 || unit > 0xDFFF)
        return unit == 0 ? SWI_REPLACEMENT : unit;
    const char *behind = scan->at;
    if (unit > 0xDBFF || scan->end - scan->at < 2 || scan->at[0] != '\\' || scan->at[1] != 'u')
        return SWI_REPLACEMENT;
    scan->at += 2;
    int32_t low = take_unit(scan);
    if (low >= 0xDC00 && low <= 0xDFFF)
        return 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
    scan->at = behind;
    return SWI_REPLACEMENT;
}

/* A key with escapes, behind its quote, into the buffer. */
static int take_escaped(struct scan *scan)
{
    size_t size = 0;
    while (scan->at < scan->end && *scan->at != '"') {
        if (size + SWI_UTF8_MAX > KEY_BYTES_MAX)
            return malformed(scan, "a token that is too long");
        if ((uint8_t)*scan->at < 0x20)
            return malformed(scan, "a control character");
        if (*scan->at != '\\') {
            scan->buffer[size++] = *scan->at++;
            continue;
        }
        scan->at++;
        int32_t code = take_escape(scan);
        if (code < 0)
            return malformed(scan, "an invalid escape");
        size += swi_utf8_encode(code, scan->buffer + size);
    }
    scan->key = scan->buffer;
    scan->key_size = size;
    return 0;
}

static int take_key(struct scan *scan)
{
    if (!take(scan, '"'))
        return malformed(scan, "expected a string");
    const char *at = scan->at;
    bool ascii = true;
    for (; at < scan->end && *at != '"' && *at != '\\' && (uint8_t)*at >= 0x20; at++)
        ascii = ascii && (uint8_t)*at < 0x80;
    scan->key = scan->at;
    scan->key_size = (size_t)(at - scan->at);
    if (at < scan->end && *at != '"') {
        int result = take_escaped(scan);
        if (result < 0)
            return result;
        ascii = false;
        at = scan->at;
    }
    scan->at = at;
    if (at == scan->end)
        return malformed(scan, "an unterminated string");
    scan->at++;
    size_t bad;
    return ascii || swi_utf8_valid(scan->key, scan->key_size, &bad) ? 0
                                                                    : malformed(scan, "no UTF-8");
}

static int take_id(struct scan *scan, int64_t *ret)
{
    int64_t id = 0;
    skip_blank(scan);
    const char *first = scan->at;
    for (; scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9'; scan->at++)
        id = id < SWI_VOCAB_IDS_MAX ? id * 10 + (*scan->at - '0') : id;
    if (scan->at == first || (scan->at < scan->end && (*scan->at == '.' || *scan->at == 'e')))
        return swi_fail(scan->error, SW_EFORMAT, "the id of \"%.*s\" is not a whole number",
                        scan->key_size < 40 ? (int)scan->key_size : 40, scan->key);
    *ret = id;
    return 0;
}

static int scan_object(struct scan *scan, struct swi_vocab *vocab)
{
    if (!take(scan, '{'))
        return malformed(scan, "expected an object");
    if (take(scan, '}'))
        return 0;
    do {
        int64_t id = 0;
        int result = take_key(scan);
        if (result == 0 && !take(scan, ':'))
            result = malformed(scan, "no colon");
        if (result == 0)
            result = take_id(scan, &id);
        if (result == 0)
            result = swi_vocab_add(vocab, id, scan->key, scan->key_size, scan->error);
        if (result < 0)
            return result;
    } while (take(scan, ','));
    return take(scan, '}') ? 0 : malformed(scan, "expected a comma or the end");
}

int swi_vocab_add_json(struct swi_vocab *vocab, const char *text, size_t size,
                       struct swi_error *error)
{
    struct scan scan = {.start = text,
                        .at = text,
                        .end = text + size,
                        .buffer = malloc(KEY_BYTES_MAX),
                        .error = error};
    int result = scan.buffer ? scan_object(&scan, vocab)
                             : swi_fail(error, -ENOMEM, "no memory for the vocabulary");
    free(scan.buffer);
    return result;
}
