/* SPDX-License-Identifier: MIT */
/* The public calls that run a pass, all of them a struct sw_encoder_request by the time they do.
 * Results are copied out only when the whole pass has succeeded. */
#include <errno.h>
#include <string.h>

#include "core/deadline.h"
#include "core/sized.h"
#include "encoder/handle.h"

/* ---- works ----------------------------------------------------------------------------------- */

static size_t tokens_of(const struct sw_encoder_batch *batch)
{
    size_t tokens = 0;
    for (uint32_t i = 0; i < batch->sequences; i++)
        tokens += batch->lengths[i];
    return tokens;
}

static int work_forward(sw_encoder *encoder, const struct sw_encoder_request *request)
{
    const struct sw_encoder_batch *batch = request->batch;
    const float *pooled = NULL;
    size_t width = encoder->config.hidden;
    int r = swi_encoder_pass(encoder, batch, request->pooler_output ? &pooled : NULL, NULL);
    if (r == 0 && request->last_hidden_state)
        memcpy(request->last_hidden_state, swi_engine_hidden(encoder->engine),
               tokens_of(batch) * width * sizeof(float));
    if (r == 0 && request->pooler_output)
        memcpy(request->pooler_output, pooled, batch->sequences * width * sizeof(float));
    return r;
}

static int work(sw_encoder *encoder, const struct sw_encoder_request *request)
{
    switch (request->work) {
    case SW_WORK_FORWARD:
        return work_forward(encoder, request);
    case SW_WORK_EMBED:
        return swi_encoder_work_embed(encoder, request);
    case SW_WORK_CLASSIFY:
        return swi_encoder_work_classify(encoder, request);
    case SW_WORK_FILL:
        return swi_encoder_work_fill(encoder, request);
    }
    return -EINVAL; /* swi_encoder_take_request lets none other pass */
}

/* ---- requests -------------------------------------------------------------------------------- */

int swi_encoder_take_request(const struct sw_encoder_request *given,
                             struct sw_encoder_request *request, struct sw_encoder_batch *batch,
                             struct swi_error *error)
{
    *request = (struct sw_encoder_request){0};
    *batch = (struct sw_encoder_batch){0};
    if (!given)
        return swi_fail(error, -EINVAL, "the request is NULL");
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
        return swi_fail(error, -EINVAL, "%d is not a valid kind of work", (int)request->work);
    if (request->timeout_ms < 0)
        return swi_fail(error, -EINVAL, "a timeout of %d ms is not valid", request->timeout_ms);
    if ((unsigned)request->pooling > SW_POOLING_LAST_TOKEN)
        return swi_fail(error, -EINVAL, "%d is not a valid pooling", (int)request->pooling);
    if ((unsigned)request->normalize > SW_NORMALIZE_NO)
        return swi_fail(error, -EINVAL, "%d is not a valid normalisation", (int)request->normalize);
    if (request->work == SW_WORK_EMBED && !request->embeddings)
        return swi_fail(error, -EINVAL, "the request has no buffer for its embeddings");
    if (request->work == SW_WORK_FILL && request->token_count &&
        (!request->tokens || !request->logits))
        return swi_fail(error, -EINVAL,
                        "the request has no tokens to fill, or no buffer for logits");
    return 0;
}

struct swi_limits swi_encoder_limits(const sw_encoder *encoder,
                                     const struct sw_encoder_request *request)
{
    struct swi_limits limits = {.deadline_ns = SWI_FOREVER, .cancelled = request->cancelled};
    if (request->timeout_ms)
        limits.deadline_ns = swi_deadline_in(request->timeout_ms);
    limits.prefetch_count =
        request->prefetch_count ? request->prefetch_count : encoder->prefetch_count;
    if (request->no_prefetch)
        limits.prefetch_count = 0;
    return limits;
}

int swi_encoder_run(sw_encoder *encoder, const struct sw_encoder_request *request,
                    const struct swi_limits *limits, struct swi_error *ret_error)
{
    int r = swi_encoder_enter(encoder, limits, ret_error);
    if (r < 0)
        return r;
    encoder->turns = (struct swi_hits){0};
    r = work(encoder, request);
    return swi_encoder_leave(encoder, r, ret_error);
}

int sw_encoder_run(sw_encoder *encoder, const struct sw_encoder_request *request)
{
    struct sw_encoder_request known;
    struct sw_encoder_batch batch;
    struct swi_error error = {0};
    if (swi_encoder_take_request(request, &known, &batch, &error) < 0)
        return swi_encoder_fail(encoder, &error);
    struct swi_limits limits = swi_encoder_limits(encoder, &known);
    return swi_encoder_run(encoder, &known, &limits, &error);
}

/* ---- short forms ----------------------------------------------------------------------------- */

int sw_encoder_forward(sw_encoder *encoder, const struct sw_encoder_batch *batch,
                       const struct sw_encoder_output *output)
{
    struct sw_encoder_output known = {0};
    struct swi_error error = {0};
    struct sw_encoder_request request = SW_INIT(struct sw_encoder_request);
    if (swi_sized_in(&known, sizeof known, output, output ? output->size : 0, &error) < 0)
        return swi_encoder_fail(encoder, &error);
    request.work = SW_WORK_FORWARD;
    request.batch = batch;
    request.last_hidden_state = known.last_hidden_state;
    request.pooler_output = known.pooler_output;
    return sw_encoder_run(encoder, &request);
}

int sw_encoder_embed(sw_encoder *encoder, const struct sw_encoder_batch *batch,
                     enum sw_pooling pooling, enum sw_normalize normalize, float *embeddings,
                     size_t capacity)
{
    struct sw_encoder_request request = SW_INIT(struct sw_encoder_request);
    request.work = SW_WORK_EMBED;
    request.batch = batch;
    request.pooling = pooling;
    request.normalize = normalize;
    request.embeddings = embeddings;
    request.embeddings_capacity = capacity;
    return sw_encoder_run(encoder, &request);
}

int sw_encoder_classify(sw_encoder *encoder, const struct sw_encoder_batch *batch, float *logits,
                        float *scores)
{
    struct sw_encoder_request request = SW_INIT(struct sw_encoder_request);
    request.work = SW_WORK_CLASSIFY;
    request.batch = batch;
    request.logits = logits;
    request.scores = scores;
    return sw_encoder_run(encoder, &request);
}

int sw_encoder_fill(sw_encoder *encoder, const struct sw_encoder_batch *batch,
                    const uint32_t *tokens, uint32_t count, float *logits)
{
    struct sw_encoder_request request = SW_INIT(struct sw_encoder_request);
    request.work = SW_WORK_FILL;
    request.batch = batch;
    request.tokens = tokens;
    request.token_count = count;
    request.logits = logits;
    return sw_encoder_run(encoder, &request);
}
