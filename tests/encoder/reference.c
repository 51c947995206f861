/* SPDX-License-Identifier: MIT */
/* BERT by its definition, in double, one token after the other: slow, and too plain to be wrong in the
 * same way as the engine. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "encoder/model_parts.h"
#include "kernels/random.h"

/* out[n] = x[k] · W^T + b */
static void linear(const struct bert_model *model, const char *prefix, const double *x, uint32_t n,
                   uint32_t k, double *out)
{
    const float *w = bert_model_values(model, "%s.weight", prefix);
    const float *b = bert_model_values(model, "%s.bias", prefix);
    for (uint32_t i = 0; i < n; i++) {
        double sum = (double)b[i];
        for (uint32_t j = 0; j < k; j++)
            sum += x[j] * (double)w[(size_t)i * k + j];
        out[i] = sum;
    }
}

static void norm(const struct bert_model *model, const char *prefix, double *x, uint32_t n)
{
    const float *gamma = bert_model_values(model, "%s.weight", prefix);
    const float *beta = bert_model_values(model, "%s.bias", prefix);
    double mean = 0, variance = 0;
    for (uint32_t i = 0; i < n; i++)
        mean += x[i] / n;
    for (uint32_t i = 0; i < n; i++)
        variance += (x[i] - mean) * (x[i] - mean) / n;
    for (uint32_t i = 0; i < n; i++)
        x[i] = (x[i] - mean) / sqrt(variance + (double)model->config.epsilon) * (double)gamma[i] +
               (double)beta[i];
}

static double activate(double x, enum swi_activation activation)
{
    switch (activation) {
    case SWI_ACT_GELU:
        return 0.5 * x * (1.0 + erf(x * sqrt(0.5)));
    case SWI_ACT_GELU_TANH:
        return 0.5 * x * (1.0 + tanh(sqrt(2.0 / acos(-1.0)) * (x + 0.044715 * x * x * x)));
    case SWI_ACT_RELU:
        return fmax(x, 0.0);
    case SWI_ACT_TANH:
        return tanh(x);
    case SWI_ACT_NONE:
        break;
    }
    return x;
}

/* context[length, h] from qkv: q, k and v of [length, h] each */
static void attend(const struct swi_encoder_config *c, double *const qkv[3], const uint8_t *mask,
                   uint32_t length, double *context)
{
    uint32_t h = c->hidden, size = h / c->heads;
    double *weights = aligned_bytes(length * sizeof *weights);
    for (uint32_t head = 0; head < c->heads; head++) {
        for (uint32_t t = 0; t < length; t++) {
            double most = -1e300, total = 0;
            for (uint32_t u = 0; u < length; u++) {
                double score = 0;
                for (uint32_t i = 0; i < size; i++)
                    score += qkv[0][t * h + head * size + i] * qkv[1][u * h + head * size + i];
                weights[u] = mask && !mask[u] ? -1e200 : score / sqrt((double)size);
                most = fmax(most, weights[u]);
            }
            for (uint32_t u = 0; u < length; u++)
                total += weights[u] = exp(weights[u] - most);
            for (uint32_t i = 0; i < size; i++) {
                double sum = 0;
                for (uint32_t u = 0; u < length; u++)
                    sum += weights[u] / total * qkv[2][u * h + head * size + i];
                context[t * h + head * size + i] = sum;
            }
        }
    }
    free(weights);
}

static void layer(const struct bert_model *model, uint32_t number, const uint8_t *mask,
                  uint32_t length, double *x)
{
    static const char *const names[3] = {"query", "key", "value"};
    const struct swi_encoder_config *c = &model->config;
    uint32_t h = c->hidden;
    char prefix[96];
    double *qkv[3], *context = aligned_bytes(length * h * sizeof *context);
    double *inner = aligned_bytes(c->intermediate * sizeof *inner);
    double *out = aligned_bytes(h * sizeof *out);
    for (int i = 0; i < 3; i++) {
        qkv[i] = aligned_bytes(length * h * sizeof(double));
        (void)snprintf(prefix, sizeof prefix, "encoder.layer.%u.attention.self.%s", number,
                       names[i]);
        for (uint32_t t = 0; t < length; t++)
            linear(model, prefix, x + t * h, h, h, qkv[i] + t * h);
    }
    attend(c, qkv, mask, length, context);
    for (uint32_t t = 0; t < length; t++) {
        (void)snprintf(prefix, sizeof prefix, "encoder.layer.%u.attention.output.dense", number);
        linear(model, prefix, context + t * h, h, h, out);
        for (uint32_t i = 0; i < h; i++)
            x[t * h + i] += out[i];
        (void)snprintf(prefix, sizeof prefix, "encoder.layer.%u.attention.output.LayerNorm",
                       number);
        norm(model, prefix, x + t * h, h);
        (void)snprintf(prefix, sizeof prefix, "encoder.layer.%u.intermediate.dense", number);
        linear(model, prefix, x + t * h, c->intermediate, h, inner);
        for (uint32_t i = 0; i < c->intermediate; i++)
            inner[i] = activate(inner[i], c->activation);
        (void)snprintf(prefix, sizeof prefix, "encoder.layer.%u.output.dense", number);
        linear(model, prefix, inner, h, c->intermediate, out);
        for (uint32_t i = 0; i < h; i++)
            x[t * h + i] += out[i];
        (void)snprintf(prefix, sizeof prefix, "encoder.layer.%u.output.LayerNorm", number);
        norm(model, prefix, x + t * h, h);
    }
    for (int i = 0; i < 3; i++)
        free(qkv[i]);
    free(context);
    free(inner);
    free(out);
}

void bert_model_reference(const struct bert_model *model, const struct sw_encoder_batch *batch,
                          double *hidden, double *pooled)
{
    const struct swi_encoder_config *c = &model->config;
    const float *words = bert_model_values(model, "embeddings.word_embeddings.weight");
    const float *positions = bert_model_values(model, "embeddings.position_embeddings.weight");
    const float *types = bert_model_values(model, "embeddings.token_type_embeddings.weight");
    uint32_t h = c->hidden, first = 0;
    for (uint32_t s = 0; s < batch->sequences; s++) {
        uint32_t length = batch->lengths[s];
        double *x = hidden + (size_t)first * h;
        for (uint32_t t = 0; t < length; t++) {
            size_t id = (size_t)batch->ids[first + t];
            size_t type = batch->type_ids ? (size_t)batch->type_ids[first + t] : 0;
            for (uint32_t i = 0; i < h; i++)
                x[t * h + i] = (double)words[id * h + i] + (double)types[type * h + i] +
                               (double)positions[t * h + i];
            norm(model, "embeddings.LayerNorm", x + t * h, h);
        }
        for (uint32_t i = 0; i < c->layers; i++)
            layer(model, i, batch->mask ? batch->mask + first : NULL, length, x);
        if (pooled) {
            linear(model, "pooler.dense", x, h, h, pooled + (size_t)s * h);
            for (uint32_t i = 0; i < h; i++)
                pooled[(size_t)s * h + i] = tanh(pooled[(size_t)s * h + i]);
        }
        first += length;
    }
}
