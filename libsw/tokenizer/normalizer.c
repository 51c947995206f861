/* SPDX-License-Identifier: MIT */
/* One code point through BERT's normalizer. */
#include "tokenizer/normalizer.h"
#include "tokenizer/unicode.h"

#include <utf8proc.h>

#define CAPITAL_I_WITH_DOT 0x130
#define DOT_ABOVE          0x307

/* The categories that cleaning drops. Unassigned code points stay, as they do in the crate. */
static bool is_control(int32_t code)
{
    if (code == '\t' || code == '\n' || code == '\r')
        return false;
    utf8proc_category_t category = utf8proc_category(code);
    return category == UTF8PROC_CATEGORY_CC || category == UTF8PROC_CATEGORY_CF ||
           category == UTF8PROC_CATEGORY_CO;
}

static size_t put(struct swi_normal *ret, int32_t code, uint8_t order)
{
    ret->code = code;
    ret->order = order;
    return 1;
}

/* The one unconditional special casing towards lower case: İ becomes i and a dot above. */
static size_t put_lowered(const struct swi_normalizer *normalizer, struct swi_normal *ret,
                          int32_t code, uint8_t order)
{
    if (!normalizer->lower)
        return put(ret, code, order);
    if (code == CAPITAL_I_WITH_DOT)
        return put(ret, 'i', 0) + put(ret + 1, DOT_ABOVE, 0);
    return put(ret, utf8proc_tolower(code), order);
}

static size_t put_stripped(const struct swi_normalizer *normalizer, struct swi_normal *ret,
                           int32_t code)
{
    utf8proc_int32_t parts[SWI_NORMAL_MAX];
    int unused = UTF8PROC_BOUNDCLASS_START;
    utf8proc_ssize_t length =
        utf8proc_decompose_char(code, parts, SWI_NORMAL_MAX / 2 - 2, UTF8PROC_DECOMPOSE, &unused);
    if (length < 0 || length > SWI_NORMAL_MAX / 2 - 2) {
        /* cannot happen with Unicode's data; the code point itself is the sound answer */
        parts[0] = code;
        length = 1;
    }
    size_t count = 0;
    for (utf8proc_ssize_t i = 0; i < length; i++) {
        const utf8proc_property_t *property = utf8proc_get_property(parts[i]);
        uint8_t order = (uint8_t)property->combining_class;
        if (property->category != UTF8PROC_CATEGORY_MN)
            count += put_lowered(normalizer, ret + count, parts[i], order);
        else if (order == 0)
            count += put(ret + count, SWI_NORMAL_BARRIER, 0);
    }
    return count;
}

size_t swi_normalize(const struct swi_normalizer *normalizer, int32_t code,
                     struct swi_normal ret[static SWI_NORMAL_MAX])
{
    if (normalizer->clean) {
        if (code == 0 || code == SWI_REPLACEMENT || is_control(code))
            return 0;
        if (swi_is_space(code))
            code = ' ';
    }
    bool alone = normalizer->spread && swi_is_ideograph(code);
    size_t count = 0;
    if (alone)
        count += put(ret, ' ', 0);
    if (normalizer->strip)
        count += put_stripped(normalizer, ret + count, code);
    else
        count += put_lowered(normalizer, ret + count, code, 0);
    if (alone)
        count += put(ret + count, ' ', 0);
    return count;
}
