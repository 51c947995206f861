/* SPDX-License-Identifier: MIT */
/* What a pass can end with besides vectors: a sequence classifier, or the masked-language-model
 * head.
 *
 * A head's weights are the component "head"; the tied decoder is the word table itself, block by
 * block. Logits are kept aside until the whole pass has succeeded, so that callers' memory is
 * untouched on failure.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/sized.h"
#include "encoder/handle.h"

int swi_encoder_need_logits(sw_encoder *encoder, uint64_t count)
{
    if (count <= encoder->logits_capacity)
        return 0;
    float *grown = count <= SIZE_MAX / sizeof *grown
                       ? realloc(encoder->logits, (size_t)count * sizeof *grown)
                       : NULL;
    if (!grown)
        return swi_fail(&encoder->error, -ENOMEM, "no memory for %llu logits; use a smaller batch",
                        (unsigned long long)count);
    encoder->logits = grown;
    encoder->logits_capacity = (size_t)count;
    return 0;
}

static int no_head(sw_encoder *encoder, const char *what)
{
    return swi_fail(&encoder->error, SW_ENOCOMPONENT, "this model has no %s", what);
}

/* ---- sequence classification ----------------------------------------------------------------- */

static uint32_t label_count(const sw_encoder *encoder)
{
    return encoder->description.labels.count;
}

static int check_classifier(const sw_encoder *encoder, struct swi_error *error)
{
    if (encoder->head < 0)
        return swi_fail(error, SW_ENOCOMPONENT, "this model has no head: it makes embeddings only");
    return swi_description_check_classifier(&encoder->description, error);
}

int sw_encoder_get_classes(sw_encoder *encoder, struct sw_classes *classes)
{
    const struct swi_labels *labels = &encoder->description.labels;
    struct swi_error error = {0};
    if (check_classifier(encoder, &error) < 0)
        return swi_encoder_fail(encoder, &error);
    struct sw_classes now = {.count = labels->count,
                             .problem = labels->problem,
                             .names = (const char *const *)labels->names};
    return swi_sized_out(classes, classes->size, &now, sizeof now);
}

static bool has_tensor(const struct swi_tensor_source *source, const char *name)
{
    struct sw_tensor tensor = SW_INIT(struct sw_tensor);
    return source->find(source->context, name, &tensor) == 0;
}

static int run_classifier(sw_encoder *encoder, const struct sw_encoder_batch *batch,
                          const float *pooled, void *context)
{
    (void)context;
    sw_component *component = NULL;
    struct swi_tensor_source source;
    struct swi_linear classifier;
    int r = swi_encoder_begin_turn(encoder, (uint32_t)encoder->head, &component, &source);
    if (r < 0)
        return r;
    if (!has_tensor(&source, "classifier.weight"))
        r = no_head(encoder, "classifier");
    if (r == 0)
        r = swi_bind_linear(&source, "classifier", label_count(encoder), encoder->config.hidden,
                            &classifier, &encoder->error);
    if (r == 0) {
        struct swi_projection projection = {.x = pooled,
                                            .stride = encoder->config.hidden,
                                            .rows = batch->sequences,
                                            .linear = &classifier,
                                            .out = encoder->logits,
                                            .out_stride = label_count(encoder)};
        swi_engine_project(encoder->engine, &projection);
    }
    return swi_encoder_end_turn(encoder, component, r);
}

/* Few numbers, computed in double: the library's vector kernels are for rows of hundreds. */
static void score(enum sw_problem problem, const float *logits, uint32_t count, float *scores)
{
    double largest = -HUGE_VAL, sum = 0;
    for (uint32_t i = 0; i < count; i++)
        largest = fmax(largest, (double)logits[i]);
    for (uint32_t i = 0; i < count; i++)
        sum += exp((double)logits[i] - largest);
    for (uint32_t i = 0; i < count; i++) {
        double x = (double)logits[i];
        if (problem == SW_PROBLEM_REGRESSION)
            scores[i] = logits[i];
        else if (problem == SW_PROBLEM_SINGLE_LABEL && count > 1)
            scores[i] = (float)(exp(x - largest) / sum);
        else
            scores[i] = (float)(1 / (1 + exp(-x)));
    }
}

int swi_encoder_work_classify(sw_encoder *encoder, const struct sw_encoder_request *request)
{
    const struct sw_encoder_batch *batch = request->batch;
    const float *pooled = NULL;
    const struct swi_head head = {.run = run_classifier};
    int r = check_classifier(encoder, &encoder->error);
    uint32_t count = label_count(encoder);
    if (r == 0)
        r = swi_encoder_need_logits(encoder, (uint64_t)batch->sequences * count);
    if (r == 0)
        r = swi_encoder_pass(encoder, batch, &pooled, &head);
    if (r == 0 && request->logits)
        memcpy(request->logits, encoder->logits,
               (size_t)batch->sequences * count * sizeof *request->logits);
    for (uint32_t i = 0; r == 0 && request->scores && i < batch->sequences; i++)
        score(encoder->description.labels.problem, encoder->logits + (size_t)i * count, count,
              request->scores + (size_t)i * count);
    return r;
}

/* ---- masked language model ------------------------------------------------------------------- */

struct fill {
    const uint32_t *tokens;
    uint32_t count;
    float *states; /* [count, hidden], transformed */
    bool tied;     /* the decoder is the word table */
};

/* logits[count, rows] of a part of the vocabulary. */
static void decode(sw_encoder *encoder, const struct fill *fill, const struct swi_matrix *weight,
                   uint32_t first_row)
{
    struct swi_linear linear = {.weight = *weight};
    struct swi_projection projection = {.x = fill->states,
                                        .stride = encoder->config.hidden,
                                        .rows = fill->count,
                                        .linear = &linear,
                                        .out = encoder->logits + first_row,
                                        .out_stride = encoder->config.vocab};
    swi_engine_project(encoder->engine, &projection);
}

/* states = LayerNorm(activation(hidden · W^T + bias)); and the decoder, where the head has its own.
 */
static int transform(sw_encoder *encoder, struct fill *fill)
{
    uint32_t hidden = encoder->config.hidden;
    sw_component *component = NULL;
    struct swi_tensor_source source;
    struct swi_linear dense;
    struct swi_norm norm;
    struct swi_matrix decoder;
    int r = swi_encoder_begin_turn(encoder, (uint32_t)encoder->head, &component, &source);
    if (r < 0)
        return r;
    if (!has_tensor(&source, "cls.predictions.bias"))
        r = no_head(encoder, "masked-language-model head");
    fill->tied = r == 0 && !has_tensor(&source, "cls.predictions.decoder.weight");
    if (r == 0)
        r = swi_bind_linear(&source, "cls.predictions.transform.dense", hidden, hidden, &dense,
                            &encoder->error);
    if (r == 0)
        r = swi_bind_norm(&source, "cls.predictions.transform.LayerNorm", hidden, &norm,
                          &encoder->error);
    if (r == 0 && !fill->tied)
        r = swi_bind_matrix(&source, "cls.predictions.decoder.weight", encoder->config.vocab,
                            hidden, &decoder, &encoder->error);
    if (r == 0) {
        float *gathered = swi_engine_spare(encoder->engine);
        fill->states = gathered + (size_t)fill->count * hidden;
        for (uint32_t i = 0; i < fill->count; i++)
            memcpy(gathered + (size_t)i * hidden,
                   swi_engine_hidden(encoder->engine) + (size_t)fill->tokens[i] * hidden,
                   hidden * sizeof(float));
        struct swi_projection projection = {.x = gathered,
                                            .stride = hidden,
                                            .rows = fill->count,
                                            .linear = &dense,
                                            .activation = encoder->config.activation,
                                            .out = fill->states,
                                            .out_stride = hidden};
        swi_engine_project(encoder->engine, &projection);
        for (uint32_t i = 0; i < fill->count; i++) {
            float *row = fill->states + (size_t)i * hidden;
            swi_kernels()->layer_norm(row, row, norm.gamma, norm.beta, hidden,
                                      encoder->config.epsilon);
        }
        if (!fill->tied)
            decode(encoder, fill, &decoder, 0);
    }
    return swi_encoder_end_turn(encoder, component, r);
}

/* One component that holds words: block number, or the embeddings when they are not cut. */
static int decode_words(sw_encoder *encoder, const struct fill *fill, uint32_t block)
{
    sw_component *component = NULL;
    struct swi_tensor_source source;
    struct swi_table table;
    uint32_t number = encoder->word_blocks ? encoder->words[block] : encoder->embeddings;
    int r = swi_encoder_begin_turn(encoder, number, &component, &source);
    if (r < 0)
        return r;
    if (encoder->word_blocks)
        r = swi_encoder_bind_block(encoder, block, component, &source, &table);
    else
        r = swi_bind_table(&source, "word_embeddings.weight", encoder->config.vocab,
                           encoder->config.hidden, &table, &encoder->error);
    if (r == 0) {
        struct swi_matrix weight = {.data = table.data,
                                    .n = table.rows,
                                    .k = encoder->config.hidden,
                                    .dtype = table.dtype,
                                    .layout = SW_LAYOUT_ROWS};
        decode(encoder, fill, &weight, table.first_row);
    }
    return swi_encoder_end_turn(encoder, component, r);
}

static int add_bias(sw_encoder *encoder, const struct fill *fill)
{
    uint32_t vocab = encoder->config.vocab;
    sw_component *component = NULL;
    struct swi_tensor_source source;
    const float *bias;
    int r = swi_encoder_begin_turn(encoder, (uint32_t)encoder->head, &component, &source);
    if (r < 0)
        return r;
    r = swi_bind_vector(&source, "cls.predictions.bias", vocab, &bias, &encoder->error);
    for (uint32_t i = 0; r == 0 && i < fill->count; i++) {
        float *row = encoder->logits + (size_t)i * vocab;
        for (uint32_t word = 0; word < vocab; word++)
            row[word] += bias[word];
    }
    return swi_encoder_end_turn(encoder, component, r);
}

static int run_fill(sw_encoder *encoder, const struct sw_encoder_batch *batch, const float *pooled,
                    void *context)
{
    struct fill *fill = context;
    (void)pooled;
    uint64_t tokens = 0;
    for (uint32_t i = 0; i < batch->sequences; i++)
        tokens += batch->lengths[i];
    for (uint32_t i = 0; i < fill->count; i++) {
        if (fill->tokens[i] >= tokens || fill->count > tokens)
            return swi_fail(&encoder->error, -EINVAL,
                            "token %u (number %u of %u to fill) is not in a batch of %llu tokens",
                            fill->tokens[i], i + 1, fill->count, (unsigned long long)tokens);
    }
    int r = transform(encoder, fill);
    uint32_t blocks = encoder->word_blocks ? encoder->word_blocks : 1;
    for (uint32_t block = 0; r == 0 && fill->tied && block < blocks; block++)
        r = decode_words(encoder, fill, block);
    return r == 0 ? add_bias(encoder, fill) : r;
}

int swi_encoder_work_fill(sw_encoder *encoder, const struct sw_encoder_request *request)
{
    struct fill fill = {.tokens = request->tokens, .count = request->token_count};
    const struct swi_head head = {.run = run_fill, .context = &fill};
    uint64_t total = (uint64_t)fill.count * encoder->config.vocab;
    int r = encoder->head < 0 ? no_head(encoder, "head: it makes embeddings only")
                              : swi_encoder_need_logits(encoder, total);
    if (r == 0)
        r = swi_encoder_pass(encoder, request->batch, NULL, &head);
    if (r == 0 && total)
        memcpy(request->logits, encoder->logits, (size_t)total * sizeof *request->logits);
    return r;
}
