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
#include "encoder/labels.h"

static int need_logits(sw_bert *bert, uint64_t count)
{
    if (count <= bert->logits_capacity)
        return 0;
    float *grown = count <= SIZE_MAX / sizeof *grown
                       ? realloc(bert->logits, (size_t)count * sizeof *grown)
                       : NULL;
    if (!grown)
        return swi_fail(&bert->error, -ENOMEM, "no memory for %llu logits; use a smaller batch",
                        (unsigned long long)count);
    bert->logits = grown;
    bert->logits_capacity = (size_t)count;
    return 0;
}

static int no_head(sw_bert *bert, const char *what)
{
    return swi_fail(&bert->error, SW_ENOCOMPONENT, "this model has no %s", what);
}

/* ---- sequence classification ----------------------------------------------------------------- */

/* transformers makes two labels where config.json names none. */
static uint32_t label_count(const sw_bert *bert)
{
    return bert->config.labels ? bert->config.labels : 2;
}

static int need_labels(sw_bert *bert)
{
    void *json = NULL;
    size_t size = 0;
    if (bert->head < 0)
        return no_head(bert, "head: it makes embeddings only");
    if (bert->labels)
        return 0;
    int r = sw_model_file(bert->model, "config.json", &json, &size);
    if (r < 0)
        return swi_bert_client_failure(bert, r, "config.json");
    struct swi_labels *labels = NULL;
    r = swi_labels_parse(json, size, label_count(bert), &labels, &bert->error);
    free(json);
    swi_bert_note(bert);
    bert->labels = labels;
    swi_bert_noted(bert);
    return r;
}

int sw_bert_get_classes(sw_bert *bert, struct sw_classes *classes)
{
    int r = 0;
    swi_bert_note(bert);
    const struct swi_labels *labels = bert->labels;
    swi_bert_noted(bert);
    if (!labels) {
        r = swi_bert_enter_quickly(bert);
        if (r == 0)
            r = swi_bert_leave(bert, need_labels(bert), NULL);
        labels = bert->labels;
    }
    if (r < 0)
        return r;
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

static int run_classifier(sw_bert *bert, const struct sw_bert_batch *batch, const float *pooled,
                          void *context)
{
    (void)context;
    sw_component *component = NULL;
    struct swi_tensor_source source;
    struct swi_linear classifier;
    int r = swi_bert_begin_turn(bert, (uint32_t)bert->head, &component, &source);
    if (r < 0)
        return r;
    if (!has_tensor(&source, "classifier.weight"))
        r = no_head(bert, "classifier");
    if (r == 0)
        r = swi_bind_linear(&source, "classifier", label_count(bert), bert->config.hidden,
                            &classifier, &bert->error);
    if (r == 0) {
        struct swi_projection projection = {.x = pooled,
                                            .stride = bert->config.hidden,
                                            .rows = batch->sequences,
                                            .linear = &classifier,
                                            .out = bert->logits,
                                            .out_stride = label_count(bert)};
        swi_encoder_project(bert->encoder, &projection);
    }
    return swi_bert_end_turn(bert, component, r);
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
        if (problem == SW_PROBLEM_SINGLE_LABEL)
            scores[i] = (float)(exp(x - largest) / sum);
        else
            scores[i] = problem == SW_PROBLEM_MULTI_LABEL ? (float)(1 / (1 + exp(-x))) : logits[i];
    }
}

int swi_bert_work_classify(sw_bert *bert, const struct sw_bert_request *request)
{
    const struct sw_bert_batch *batch = request->batch;
    const float *pooled = NULL;
    const struct swi_head head = {.run = run_classifier};
    int r = need_labels(bert);
    uint32_t count = label_count(bert);
    if (r == 0)
        r = need_logits(bert, (uint64_t)batch->sequences * count);
    if (r == 0)
        r = swi_bert_pass(bert, batch, &pooled, &head);
    if (r == 0 && request->logits)
        memcpy(request->logits, bert->logits,
               (size_t)batch->sequences * count * sizeof *request->logits);
    for (uint32_t i = 0; r == 0 && request->scores && i < batch->sequences; i++)
        score(bert->labels->problem, bert->logits + (size_t)i * count, count,
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
static void decode(sw_bert *bert, const struct fill *fill, const struct swi_matrix *weight,
                   uint32_t first_row)
{
    struct swi_linear linear = {.weight = *weight};
    struct swi_projection projection = {.x = fill->states,
                                        .stride = bert->config.hidden,
                                        .rows = fill->count,
                                        .linear = &linear,
                                        .out = bert->logits + first_row,
                                        .out_stride = bert->config.vocab};
    swi_encoder_project(bert->encoder, &projection);
}

/* states = LayerNorm(activation(hidden · W^T + bias)); and the decoder, where the head has its own.
 */
static int transform(sw_bert *bert, struct fill *fill)
{
    uint32_t hidden = bert->config.hidden;
    sw_component *component = NULL;
    struct swi_tensor_source source;
    struct swi_linear dense;
    struct swi_norm norm;
    struct swi_matrix decoder;
    int r = swi_bert_begin_turn(bert, (uint32_t)bert->head, &component, &source);
    if (r < 0)
        return r;
    if (!has_tensor(&source, "cls.predictions.bias"))
        r = no_head(bert, "masked-language-model head");
    fill->tied = r == 0 && !has_tensor(&source, "cls.predictions.decoder.weight");
    if (r == 0)
        r = swi_bind_linear(&source, "cls.predictions.transform.dense", hidden, hidden, &dense,
                            &bert->error);
    if (r == 0)
        r = swi_bind_norm(&source, "cls.predictions.transform.LayerNorm", hidden, &norm,
                          &bert->error);
    if (r == 0 && !fill->tied)
        r = swi_bind_matrix(&source, "cls.predictions.decoder.weight", bert->config.vocab, hidden,
                            &decoder, &bert->error);
    if (r == 0) {
        float *gathered = swi_encoder_spare(bert->encoder);
        fill->states = gathered + (size_t)fill->count * hidden;
        for (uint32_t i = 0; i < fill->count; i++)
            memcpy(gathered + (size_t)i * hidden,
                   swi_encoder_hidden(bert->encoder) + (size_t)fill->tokens[i] * hidden,
                   hidden * sizeof(float));
        struct swi_projection projection = {.x = gathered,
                                            .stride = hidden,
                                            .rows = fill->count,
                                            .linear = &dense,
                                            .activation = bert->config.activation,
                                            .out = fill->states,
                                            .out_stride = hidden};
        swi_encoder_project(bert->encoder, &projection);
        for (uint32_t i = 0; i < fill->count; i++) {
            float *row = fill->states + (size_t)i * hidden;
            swi_kernels()->layer_norm(row, row, norm.gamma, norm.beta, hidden,
                                      bert->config.epsilon);
        }
        if (!fill->tied)
            decode(bert, fill, &decoder, 0);
    }
    return swi_bert_end_turn(bert, component, r);
}

/* One component that holds words: block number, or the embeddings when they are not cut. */
static int decode_words(sw_bert *bert, const struct fill *fill, uint32_t block)
{
    sw_component *component = NULL;
    struct swi_tensor_source source;
    struct swi_table table;
    uint32_t number = bert->word_blocks ? bert->words[block] : bert->embeddings;
    int r = swi_bert_begin_turn(bert, number, &component, &source);
    if (r < 0)
        return r;
    if (bert->word_blocks)
        r = swi_bert_bind_block(bert, block, component, &source, &table);
    else
        r = swi_bind_table(&source, "word_embeddings.weight", bert->config.vocab,
                           bert->config.hidden, &table, &bert->error);
    if (r == 0) {
        struct swi_matrix weight = {.data = table.data,
                                    .n = table.rows,
                                    .k = bert->config.hidden,
                                    .dtype = table.dtype,
                                    .layout = SW_LAYOUT_ROWS};
        decode(bert, fill, &weight, table.first_row);
    }
    return swi_bert_end_turn(bert, component, r);
}

static int add_bias(sw_bert *bert, const struct fill *fill)
{
    uint32_t vocab = bert->config.vocab;
    sw_component *component = NULL;
    struct swi_tensor_source source;
    const float *bias;
    int r = swi_bert_begin_turn(bert, (uint32_t)bert->head, &component, &source);
    if (r < 0)
        return r;
    r = swi_bind_vector(&source, "cls.predictions.bias", vocab, &bias, &bert->error);
    for (uint32_t i = 0; r == 0 && i < fill->count; i++) {
        float *row = bert->logits + (size_t)i * vocab;
        for (uint32_t word = 0; word < vocab; word++)
            row[word] += bias[word];
    }
    return swi_bert_end_turn(bert, component, r);
}

static int run_fill(sw_bert *bert, const struct sw_bert_batch *batch, const float *pooled,
                    void *context)
{
    struct fill *fill = context;
    (void)pooled;
    uint64_t tokens = 0;
    for (uint32_t i = 0; i < batch->sequences; i++)
        tokens += batch->lengths[i];
    for (uint32_t i = 0; i < fill->count; i++) {
        if (fill->tokens[i] >= tokens || fill->count > tokens)
            return swi_fail(&bert->error, -EINVAL,
                            "token %u (number %u of %u to fill) is not in a batch of %llu tokens",
                            fill->tokens[i], i + 1, fill->count, (unsigned long long)tokens);
    }
    int r = transform(bert, fill);
    uint32_t blocks = bert->word_blocks ? bert->word_blocks : 1;
    for (uint32_t block = 0; r == 0 && fill->tied && block < blocks; block++)
        r = decode_words(bert, fill, block);
    return r == 0 ? add_bias(bert, fill) : r;
}

int swi_bert_work_fill(sw_bert *bert, const struct sw_bert_request *request)
{
    struct fill fill = {.tokens = request->tokens, .count = request->token_count};
    const struct swi_head head = {.run = run_fill, .context = &fill};
    uint64_t total = (uint64_t)fill.count * bert->config.vocab;
    int r =
        bert->head < 0 ? no_head(bert, "head: it makes embeddings only") : need_logits(bert, total);
    if (r == 0)
        r = swi_bert_pass(bert, request->batch, NULL, &head);
    if (r == 0 && total)
        memcpy(request->logits, bert->logits, (size_t)total * sizeof *request->logits);
    return r;
}
