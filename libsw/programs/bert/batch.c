/* SPDX-License-Identifier: MIT */
/* Collecting texts. */
#include "programs/bert/batch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int batch_init(struct batch *batch, uint32_t texts, size_t width)
{
    *batch = (struct batch){
        .capacity = texts,
        .width = width,
        .lengths = calloc(texts, sizeof *batch->lengths),
        .sizes = calloc(texts, sizeof *batch->sizes),
        .vectors = calloc((size_t)texts * width, sizeof *batch->vectors),
    };
    return batch->lengths && batch->sizes && batch->vectors ? 0 : -ENOMEM;
}

void batch_fini(struct batch *batch)
{
    free(batch->lengths);
    free(batch->sizes);
    free(batch->vectors);
    free(batch->text);
    free(batch->ids);
    *batch = (struct batch){0};
}

/* Doubles *data until `needed` elements fit. */
static int reserve(void **data, size_t *capacity, size_t needed, size_t element)
{
    if (needed <= *capacity)
        return 0;
    size_t wanted = *capacity ? *capacity : 1024;
    while (wanted < needed)
        wanted *= 2;
    void *grown = realloc(*data, wanted * element);
    if (!grown)
        return -ENOMEM;
    *data = grown;
    *capacity = wanted;
    return 0;
}

int batch_add(struct batch *batch, const char *text, size_t size, const int32_t *ids,
              uint32_t count)
{
    void *texts = batch->text, *all_ids = batch->ids;
    int result = reserve(&texts, &batch->text_capacity, batch->text_size + size, 1);
    batch->text = texts;
    if (result == 0)
        result = reserve(&all_ids, &batch->tokens_capacity, batch->tokens + count, sizeof *ids);
    batch->ids = all_ids;
    if (result < 0)
        return result;
    if (size > 0)
        memcpy(batch->text + batch->text_size, text, size);
    memcpy(batch->ids + batch->tokens, ids, count * sizeof *ids);
    batch->sizes[batch->count] = size;
    batch->lengths[batch->count] = count;
    batch->text_size += size;
    batch->tokens += count;
    batch->count++;
    return 0;
}

bool batch_full(const struct batch *batch)
{
    return batch->count == batch->capacity || batch->tokens >= BATCH_TOKENS_MAX ||
           batch->text_size >= BATCH_BYTES_MAX;
}

void batch_clear(struct batch *batch)
{
    batch->count = 0;
    batch->text_size = 0;
    batch->tokens = 0;
}
