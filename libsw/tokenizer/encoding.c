/* SPDX-License-Identifier: MIT */
/* The growable result of an encode. */
#include "tokenizer/tokenizer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TOKENS_MAX ((uint32_t)1 << 30)

static int grow(struct sw_encoding *encoding)
{
    uint32_t capacity = encoding->capacity ? encoding->capacity * 2 : 256;
    if (capacity > TOKENS_MAX)
        return -E2BIG;
    int32_t *ids = realloc(encoding->ids, capacity * sizeof *ids);
    if (!ids)
        return -ENOMEM;
    encoding->ids = ids;
    int32_t *type_ids = realloc(encoding->type_ids, capacity * sizeof *type_ids);
    if (!type_ids)
        return -ENOMEM;
    encoding->type_ids = type_ids;
    uint32_t *starts = realloc(encoding->starts, capacity * sizeof *starts);
    if (!starts)
        return -ENOMEM;
    encoding->starts = starts;
    encoding->capacity = capacity;
    return 0;
}

int swi_encoding_push(struct sw_encoding *encoding, int32_t id, int32_t type, uint32_t start)
{
    if (encoding->count == encoding->capacity) {
        int result = grow(encoding);
        if (result < 0)
            return result;
    }
    encoding->ids[encoding->count] = id;
    encoding->type_ids[encoding->count] = type;
    encoding->starts[encoding->count] = start;
    encoding->count++;
    return 0;
}

void swi_encoding_drop(struct sw_encoding *encoding, uint32_t at, uint32_t count)
{
    if (count == 0)
        return;
    uint32_t after = encoding->count - at - count;
    memmove(encoding->ids + at, encoding->ids + at + count, after * sizeof *encoding->ids);
    memmove(encoding->type_ids + at, encoding->type_ids + at + count,
            after * sizeof *encoding->type_ids);
    memmove(encoding->starts + at, encoding->starts + at + count, after * sizeof *encoding->starts);
    encoding->count -= count;
}

void sw_encoding_fini(struct sw_encoding *encoding)
{
    if (!encoding)
        return;
    struct swi_scratch *scratch = encoding->scratch;
    if (scratch) {
        free(scratch->word);
        swi_normalized_fini(&scratch->normalized);
        free(scratch);
    }
    free(encoding->ids);
    free(encoding->type_ids);
    free(encoding->starts);
    *encoding = (struct sw_encoding){0};
}
