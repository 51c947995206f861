/* SPDX-License-Identifier: MIT */
/* UTF-8 in and out, and code point classes. */
#include "tokenizer/unicode.h"

#include <utf8proc.h>

/* How many bytes of a malformed sequence stand for one U+FFFD: the lead byte and as many
 * continuation bytes as could still have begun a well-formed one (table 3-7 of the Unicode
 * standard). */
static size_t malformed_length(const uint8_t *bytes, size_t size)
{
    uint8_t lead = bytes[0];
    if (lead < 0xC2 || lead > 0xF4 || size < 2)
        return 1;
    uint8_t lowest = 0x80, highest = 0xBF;
    if (lead == 0xE0)
        lowest = 0xA0;
    else if (lead == 0xED)
        highest = 0x9F;
    else if (lead == 0xF0)
        lowest = 0x90;
    else if (lead == 0xF4)
        highest = 0x8F;
    if (bytes[1] < lowest || bytes[1] > highest)
        return 1;
    if (lead >= 0xF0 && size >= 3 && bytes[2] >= 0x80 && bytes[2] <= 0xBF)
        return 3;
    return lead >= 0xE0 ? 2 : 1;
}

size_t swi_utf8_decode(const char *text, size_t size, int32_t *ret_code)
{
    const uint8_t *bytes = (const uint8_t *)text;
    if (bytes[0] < 0x80) {
        *ret_code = bytes[0];
        return 1;
    }
    utf8proc_int32_t code;
    size_t look = size < SWI_UTF8_MAX ? size : SWI_UTF8_MAX;
    utf8proc_ssize_t length = utf8proc_iterate(bytes, (utf8proc_ssize_t)look, &code);
    if (length > 0) {
        *ret_code = code;
        return (size_t)length;
    }
    *ret_code = SWI_REPLACEMENT;
    return malformed_length(bytes, size);
}

size_t swi_utf8_encode(int32_t code, char *text)
{
    return (size_t)utf8proc_encode_char(code, (utf8proc_uint8_t *)text);
}

bool swi_utf8_valid(const char *text, size_t size, size_t *ret_where)
{
    size_t at = 0;
    while (at < size) {
        int32_t code;
        size_t length = swi_utf8_decode(text + at, size - at, &code);
        /* U+FFFD spelled out takes three bytes and is well-formed */
        bool spelled = length == 3 && (uint8_t)text[at] == 0xEF;
        if (code == SWI_REPLACEMENT && !spelled) {
            *ret_where = at;
            return false;
        }
        at += length;
    }
    return true;
}

bool swi_is_space(int32_t code)
{
    if (code < 0x80)
        return code == ' ' || (code >= '\t' && code <= '\r');
    switch (code) {
    case 0x85:
    case 0xA0:
    case 0x1680:
    case 0x2028:
    case 0x2029:
    case 0x202F:
    case 0x205F:
    case 0x3000:
        return true;
    default:
        return code >= 0x2000 && code <= 0x200A;
    }
}

bool swi_is_punctuation(int32_t code)
{
    if (code < 0x80)
        return (code >= '!' && code <= '/') || (code >= ':' && code <= '@') ||
               (code >= '[' && code <= '`') || (code >= '{' && code <= '~');
    utf8proc_category_t category = utf8proc_category(code);
    return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO;
}

bool swi_is_ideograph(int32_t code)
{
    if (code < 0x3400)
        return false;
    return (code >= 0x4E00 && code <= 0x9FFF) || code <= 0x4DBF ||
           (code >= 0xF900 && code <= 0xFAFF) || (code >= 0x20000 && code <= 0x2A6DF) ||
           (code >= 0x2A700 && code <= 0x2B81F) || (code >= 0x2B920 && code <= 0x2CEAF) ||
           (code >= 0x2F800 && code <= 0x2FA1F);
}

bool swi_is_word(int32_t code)
{
    utf8proc_category_t category = utf8proc_category(code);
    return (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_NL) ||
           category == UTF8PROC_CATEGORY_PC || code == 0x200C || code == 0x200D;
}
