/* SPDX-License-Identifier: MIT */
/* Pooling. Sums run over tokens in their order, each column by itself, so that a sequence's vector does
 * not depend on the rest of the batch. */
#include "encoder/pooling.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <string.h>

static void add_row(float *sum, const float *row, uint32_t width)
{
    for (uint32_t i = 0; i < width; i++)
        sum[i] += row[i];
}

static void raise_to_row(float *most, const float *row, uint32_t width)
{
    for (uint32_t i = 0; i < width; i++)
        most[i] = row[i] > most[i] ? row[i] : most[i];
}

void swi_pool(enum sw_pooling pooling, const struct sw_encoder_batch *batch, const float *hidden,
              uint32_t width, float *out)
{
    uint32_t token = 0;
    for (uint32_t s = 0; s < batch->sequences; s++, out += width) {
        uint32_t end = token + batch->lengths[s], seen = 0;
        if (pooling == SW_POOLING_CLS) {
            memcpy(out, hidden + (size_t)token * width, width * sizeof *out);
            token = end;
            continue;
        }
        memset(out, 0, width * sizeof *out);
        for (; token < end; token++) {
            const float *row = hidden + (size_t)token * width;
            if (batch->mask && !batch->mask[token])
                continue;
            if (pooling == SW_POOLING_MAX && seen)
                raise_to_row(out, row, width);
            else
                add_row(out, row, width);
            seen++;
        }
        for (uint32_t i = 0; pooling == SW_POOLING_MEAN && seen && i < width; i++)
            out[i] /= (float)seen;
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

int swi_pooling_parse(const void *json, size_t size, enum sw_pooling *ret, struct swi_error *error)
{
    static const struct {
        const char *key;
        enum sw_pooling pooling;
    } kinds[] = {
        {"pooling_mode_cls_token", SW_POOLING_CLS},
        {"pooling_mode_mean_tokens", SW_POOLING_MEAN},
        {"pooling_mode_max_tokens", SW_POOLING_MAX},
        {"pooling_mode_mean_sqrt_len_tokens", SW_POOLING_DEFAULT},
        {"pooling_mode_weightedmean_tokens", SW_POOLING_DEFAULT},
        {"pooling_mode_lasttoken", SW_POOLING_DEFAULT},
    };
    json_error_t where;
    json_t *root = json_loadb(json, size, 0, &where);
    if (!root)
        return json_error_code(&where) == json_error_out_of_memory
                   ? swi_fail(error, -ENOMEM, "1_Pooling/config.json: out of memory")
                   : swi_fail(error, SW_EFORMAT, "1_Pooling/config.json: line %d: %s", where.line,
                              where.text);
    enum sw_pooling found = SW_POOLING_DEFAULT;
    unsigned count = 0;
    int r = 0;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (!json_is_true(json_object_get(root, kinds[i].key)))
            continue;
        if (kinds[i].pooling == SW_POOLING_DEFAULT)
            r = swi_fail(error, SW_EUNSUPPORTED,
                         "1_Pooling/config.json: %s is not supported; name a pooling yourself",
                         kinds[i].key);
        found = kinds[i].pooling;
        count++;
    }
    if (r == 0 && count != 1)
        r = swi_fail(error, SW_EUNSUPPORTED,
                     "1_Pooling/config.json: %u kinds of pooling are on, one is supported; name a "
                     "pooling yourself",
                     count);
    json_decref(root);
    if (r == 0)
        *ret = found;
    return r;
}
