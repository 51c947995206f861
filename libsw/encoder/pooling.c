/* SPDX-License-Identifier: MIT */
/* Pooling. Sums run over tokens in their order, each column by itself, so that a sequence's vector
 * does not depend on the rest of the batch. */
#include "encoder/pooling.h"

#include <math.h>
#include <string.h>

/* The tokens of one sequence. */
struct sequence {
    const float *hidden; /* [length, width] */
    const uint8_t *mask; /* [length], or NULL */
    uint32_t length, width;
    uint32_t prompt; /* tokens in front that do not count */
};

static bool counts(const struct sequence *s, uint32_t token)
{
    return token >= s->prompt && (!s->mask || s->mask[token]);
}

static void add_row(float *sum, const float *row, float weight, uint32_t width)
{
    for (uint32_t i = 0; i < width; i++)
        sum[i] += weight * row[i];
}

static void raise_to_row(float *most, const float *row, uint32_t width)
{
    for (uint32_t i = 0; i < width; i++)
        most[i] = row[i] > most[i] ? row[i] : most[i];
}

/* The first or the last token that counts; where none does, cls is the very first token. */
static void take_one(const struct sequence *s, bool last, float *out)
{
    if (!last)
        memcpy(out, s->hidden, s->width * sizeof *out);
    for (uint32_t i = 0; i < s->length; i++) {
        uint32_t token = last ? s->length - 1 - i : i;
        if (!counts(s, token))
            continue;
        memcpy(out, s->hidden + (size_t)token * s->width, s->width * sizeof *out);
        return;
    }
}

static void take_most(const struct sequence *s, float *out)
{
    bool first = true;
    for (uint32_t token = 0; token < s->length; token++) {
        const float *row = s->hidden + (size_t)token * s->width;
        if (!counts(s, token))
            continue;
        if (first)
            memcpy(out, row, s->width * sizeof *out);
        else
            raise_to_row(out, row, s->width);
        first = false;
    }
}

static void take_mean(const struct sequence *s, enum sw_pooling kind, float *out)
{
    float sum = 0;
    for (uint32_t token = 0; token < s->length; token++) {
        float weight = kind == SW_POOLING_WEIGHTED_MEAN ? (float)(token + 1) : 1;
        if (!counts(s, token))
            continue;
        add_row(out, s->hidden + (size_t)token * s->width, weight, s->width);
        sum += weight;
    }
    float divisor = kind == SW_POOLING_MEAN_SQRT_LEN ? sqrtf(sum) : sum;
    for (uint32_t i = 0; sum > 0 && i < s->width; i++)
        out[i] /= divisor;
}

void swi_pool(const struct swi_pooling *pooling, const struct sw_encoder_batch *batch,
              const float *hidden, uint32_t width, uint32_t prompt, float *out)
{
    size_t token = 0;
    memset(out, 0, (size_t)batch->sequences * pooling->count * width * sizeof *out);
    for (uint32_t i = 0; i < batch->sequences; i++) {
        const struct sequence s = {.hidden = hidden + token * width,
                                   .mask = batch->mask ? batch->mask + token : NULL,
                                   .length = batch->lengths[i],
                                   .width = width,
                                   .prompt = prompt};
        for (uint32_t k = 0; k < pooling->count; k++, out += width) {
            enum sw_pooling kind = pooling->kinds[k];
            if (kind == SW_POOLING_CLS || kind == SW_POOLING_LAST_TOKEN)
                take_one(&s, kind == SW_POOLING_LAST_TOKEN, out);
            else if (kind == SW_POOLING_MAX)
                take_most(&s, out);
            else
                take_mean(&s, kind, out);
        }
        token += batch->lengths[i];
    }
}

void swi_normalize_rows(float *rows, uint32_t count, uint32_t width)
{
    for (uint32_t r = 0; r < count; r++, rows += width) {
        double squares = 0;
        for (uint32_t i = 0; i < width; i++)
            squares += (double)rows[i] * (double)rows[i];
        if (squares > 0)
            for (uint32_t i = 0; i < width; i++)
                rows[i] = (float)((double)rows[i] / sqrt(squares));
    }
}
