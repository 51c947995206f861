/* SPDX-License-Identifier: MIT */
/* The public calls that run a pass, all of them a struct sw_bert_request by the time they do.
 * Results are copied out only when the whole pass has succeeded. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/deadline.h"
#include "core/sized.h"
#include "encoder/handle.h"
#include "encoder/pooling.h"

/* ---- works ----------------------------------------------------------------------------------- */

static size_t tokens_of(const struct sw_bert_batch *batch)
{
    size_t tokens = 0;
    for (uint32_t i = 0; i < batch->sequences; i++)
        tokens += batch->lengths[i];
    return tokens;
}

static int work_forward(sw_bert *bert, const struct sw_bert_request *request)
{
    const struct sw_bert_batch *batch = request->batch;
    const float *pooled = NULL;
    size_t width = bert->config.hidden;
    int r = swi_bert_pass(bert, batch, request->pooler_output ? &pooled : NULL, NULL);
    if (r == 0 && request->last_hidden_state)
        memcpy(request->last_hidden_state, swi_encoder_hidden(bert->encoder),
               tokens_of(batch) * width * sizeof(float));
    if (r == 0 && request->pooler_output)
        memcpy(request->pooler_output, pooled, batch->sequences * width * sizeof(float));
    return r;
}

/* What the model's own pooling is, read once. */
static int default_pooling(sw_bert *bert)
{
    void *json = NULL;
    size_t size = 0;
    if (bert->pooling != SW_POOLING_DEFAULT)
        return 0;
    int r = sw_model_file(bert->model, "1_Pooling/config.json", &json, &size);
    if (r == SW_ENOCOMPONENT) {
        bert->pooling = SW_POOLING_MEAN;
        return 0;
    }
    if (r < 0)
        return swi_bert_client_failure(bert, r, "1_Pooling/config.json");
    r = swi_pooling_parse(json, size, &bert->pooling, &bert->error);
    free(json);
    return r;
}

static int work_embed(sw_bert *bert, const struct sw_bert_request *request)
{
    const struct sw_bert_batch *batch = request->batch;
    const float *pooled = NULL;
    uint32_t width = bert->config.hidden;
    enum sw_pooling pooling = request->pooling;
    int r = 0;
    if (pooling == SW_POOLING_DEFAULT) {
        r = default_pooling(bert);
        pooling = bert->pooling;
    }
    if (r == 0)
        r = swi_bert_pass(bert, batch, pooling == SW_POOLING_POOLER ? &pooled : NULL, NULL);
    if (r < 0)
        return r;
    if (pooling == SW_POOLING_POOLER)
        memcpy(request->embeddings, pooled, batch->sequences * (size_t)width * sizeof(float));
    else
        swi_pool(pooling, batch, swi_encoder_hidden(bert->encoder), width, request->embeddings);
    if (request->normalize)
        swi_normalize_rows(request->embeddings, batch->sequences, width);
    return 0;
}

static int work(sw_bert *bert, const struct sw_bert_request *request)
{
    switch (request->work) {
    case SW_WORK_FORWARD:
        return work_forward(bert, request);
    case SW_WORK_EMBED:
        return work_embed(bert, request);
    case SW_WORK_CLASSIFY:
        return swi_bert_work_classify(bert, request);
    case SW_WORK_FILL:
        return swi_bert_work_fill(bert, request);
    }
    return -EINVAL; /* swi_bert_take_request lets none other pass */
}

/* ---- requests -------------------------------------------------------------------------------- */

int swi_bert_take_request(const struct sw_bert_request *given, struct sw_bert_request *request,
                          struct sw_bert_batch *batch, struct swi_error *error)
{
    *request = (struct sw_bert_request){0};
    *batch = (struct sw_bert_batch){0};
    if (!given)
        return swi_fail(error, -EINVAL, "there is no request");
    int r = swi_sized_in(request, sizeof *request, given, given->size, error);
    if (r < 0)
        return r;
    if (!request->batch)
        return swi_fail(error, -EINVAL, "the request has no batch");
    r = swi_sized_in(batch, sizeof *batch, request->batch, request->batch->size, error);
    if (r < 0)
        return r;
    request->batch = batch;
    if (request->work < SW_WORK_FORWARD || request->work > SW_WORK_FILL)
        return swi_fail(error, -EINVAL, "%d is not a kind of work", (int)request->work);
    if (request->timeout_ms < 0)
        return swi_fail(error, -EINVAL, "a timeout of %d ms", request->timeout_ms);
    if ((unsigned)request->pooling > SW_POOLING_POOLER)
        return swi_fail(error, -EINVAL, "%d is not a kind of pooling", (int)request->pooling);
    if (request->work == SW_WORK_EMBED && !request->embeddings)
        return swi_fail(error, -EINVAL, "the request has no place for its embeddings");
    if (request->work == SW_WORK_FILL && request->token_count &&
        (!request->tokens || !request->logits))
        return swi_fail(error, -EINVAL,
                        "the request has no tokens to fill, or no place for logits");
    return 0;
}

struct swi_limits swi_bert_limits(const sw_bert *bert, const struct sw_bert_request *request)
{
    struct swi_limits limits = {.deadline_ns = SWI_FOREVER, .cancelled = request->cancelled};
    if (request->timeout_ms)
        limits.deadline_ns = swi_deadline_in(request->timeout_ms);
    limits.prefetch_count =
        request->prefetch_count ? request->prefetch_count : bert->prefetch_count;
    if (request->no_prefetch)
        limits.prefetch_count = 0;
    return limits;
}

int swi_bert_run(sw_bert *bert, const struct sw_bert_request *request,
                 const struct swi_limits *limits, struct swi_error *ret_error)
{
    int r = swi_bert_enter(bert, limits, ret_error);
    if (r < 0)
        return r;
    bert->turns = (struct swi_hits){0};
    r = work(bert, request);
    struct swi_hits turns = bert->turns;
    (void)swi_bert_leave(bert, r, ret_error);
    if (turns.uses)
        swi_bert_watch(bert, turns);
    return r;
}

int sw_bert_run(sw_bert *bert, const struct sw_bert_request *request)
{
    struct sw_bert_request known;
    struct sw_bert_batch batch;
    struct swi_error error = {0};
    if (swi_bert_take_request(request, &known, &batch, &error) < 0)
        return swi_bert_fail(bert, &error);
    struct swi_limits limits = swi_bert_limits(bert, &known);
    return swi_bert_run(bert, &known, &limits, &error);
}

/* ---- short forms ----------------------------------------------------------------------------- */

int sw_bert_forward(sw_bert *bert, const struct sw_bert_batch *batch,
                    const struct sw_bert_output *output)
{
    struct sw_bert_output known = {0};
    struct swi_error error = {0};
    struct sw_bert_request request = SW_INIT(struct sw_bert_request);
    if (swi_sized_in(&known, sizeof known, output, output ? output->size : 0, &error) < 0)
        return swi_bert_fail(bert, &error);
    request.work = SW_WORK_FORWARD;
    request.batch = batch;
    request.last_hidden_state = known.last_hidden_state;
    request.pooler_output = known.pooler_output;
    return sw_bert_run(bert, &request);
}

int sw_bert_embed(sw_bert *bert, const struct sw_bert_batch *batch, enum sw_pooling pooling,
                  int normalize, float *embeddings)
{
    struct sw_bert_request request = SW_INIT(struct sw_bert_request);
    request.work = SW_WORK_EMBED;
    request.batch = batch;
    request.pooling = pooling;
    request.normalize = normalize;
    request.embeddings = embeddings;
    return sw_bert_run(bert, &request);
}

int sw_bert_classify(sw_bert *bert, const struct sw_bert_batch *batch, float *logits, float *scores)
{
    struct sw_bert_request request = SW_INIT(struct sw_bert_request);
    request.work = SW_WORK_CLASSIFY;
    request.batch = batch;
    request.logits = logits;
    request.scores = scores;
    return sw_bert_run(bert, &request);
}

int sw_bert_fill(sw_bert *bert, const struct sw_bert_batch *batch, const uint32_t *tokens,
                 uint32_t count, float *logits)
{
    struct sw_bert_request request = SW_INIT(struct sw_bert_request);
    request.work = SW_WORK_FILL;
    request.batch = batch;
    request.tokens = tokens;
    request.token_count = count;
    request.logits = logits;
    return sw_bert_run(bert, &request);
}
