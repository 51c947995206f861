/* SPDX-License-Identifier: MIT */
/* From hidden states to a sentence's vector: pooling, the modules after it, truncation, length.
 *
 * Vectors are kept aside until the whole pass has succeeded, so that the caller's memory is untouched
 * on failure.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "encoder/handle.h"
#include "encoder/pooling.h"

/* What one request asks for, the model's defaults filled in. */
struct embedding {
    struct swi_pooling pooling;
    uint32_t pooled_width;
    uint32_t width;     /* of what the modules make */
    uint32_t size;      /* of a vector of the caller's: the first part of it */
    uint32_t prompt;    /* tokens at the start of each sequence that are not pooled */
    bool modules_scale; /* Normalize modules count */
    bool scale;         /* the vector is scaled to length 1 at the end */
    float *now, *next;  /* [sequences, widest] each; now holds the vectors */
};

/* ---- modules --------------------------------------------------------------------------------- */

/* What the kernels do not have. */
static void activate(enum swi_dense_activation activation, float *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        double x = (double)values[i], sigmoid = 1 / (1 + exp(-x));
        values[i] = (float)(activation == SWI_DENSE_SILU ? x * sigmoid : sigmoid);
    }
}

static void add_rows(float *to, const float *from, size_t count)
{
    for (size_t i = 0; i < count; i++)
        to[i] += from[i];
}

static void project(sw_encoder *encoder, const struct swi_linear *linear, uint32_t rows,
                    enum swi_activation activation, const float *from, float *to)
{
    struct swi_projection projection = {.x = from,
                                        .stride = linear->weight.k,
                                        .rows = rows,
                                        .linear = linear,
                                        .activation = activation,
                                        .out = to,
                                        .out_stride = linear->weight.n};
    swi_engine_project(encoder->engine, &projection);
}

/* next = activation(now · W^T + bias) [+ the residual], then the two change places. spare has room
 * for another set of vectors. */
static int run_dense(sw_encoder *encoder, const struct swi_module *module, uint32_t rows,
                     const struct swi_tensor_source *source, struct embedding *e, float *spare)
{
    static const enum swi_activation kernels[] = {
        [SWI_DENSE_IDENTITY] = SWI_ACT_NONE, [SWI_DENSE_TANH] = SWI_ACT_TANH,
        [SWI_DENSE_RELU] = SWI_ACT_RELU,     [SWI_DENSE_GELU] = SWI_ACT_GELU,
        [SWI_DENSE_SIGMOID] = SWI_ACT_NONE,  [SWI_DENSE_SILU] = SWI_ACT_NONE,
    };
    struct swi_linear linear = {0}, residual = {0};
    size_t count = (size_t)rows * module->out;
    bool projected = module->residual && module->in != module->out;
    int r = swi_bind_matrix(source, "linear.weight", module->out, module->in, &linear.weight,
                            &encoder->error);
    if (r == 0 && module->bias)
        r = swi_bind_vector(source, "linear.bias", module->out, &linear.bias, &encoder->error);
    if (r == 0 && projected)
        r = swi_bind_matrix(source, "residual.weight", module->out, module->in, &residual.weight,
                            &encoder->error);
    if (r < 0)
        return r;
    project(encoder, &linear, rows, kernels[module->activation], e->now, e->next);
    if (module->activation == SWI_DENSE_SIGMOID || module->activation == SWI_DENSE_SILU)
        activate(module->activation, e->next, count);
    if (projected)
        project(encoder, &residual, rows, SWI_ACT_NONE, e->now, spare);
    if (module->residual)
        add_rows(e->next, projected ? spare : e->now, count);
    float *done = e->next;
    e->next = e->now;
    e->now = done;
    return 0;
}

static int run_layer_norm(sw_encoder *encoder, const struct swi_module *module, uint32_t rows,
                          const struct swi_tensor_source *source, struct embedding *e)
{
    struct swi_norm norm;
    int r = swi_bind_norm(source, "norm", module->in, &norm, &encoder->error);
    for (uint32_t i = 0; r == 0 && i < rows; i++) {
        float *row = e->now + (size_t)i * module->in;
        swi_kernels()->layer_norm(row, row, norm.gamma, norm.beta, module->in, 1e-5f);
    }
    return r;
}

static int run_module(sw_encoder *encoder, uint32_t index, uint32_t rows, struct embedding *e,
                      float *spare)
{
    const struct swi_module *module = &encoder->description.modules.after[index];
    sw_component *component = NULL;
    struct swi_tensor_source source;
    if (module->kind == SWI_MODULE_NORMALIZE) {
        if (e->modules_scale)
            swi_normalize_rows(e->now, rows, module->in);
        return 0;
    }
    int r = swi_encoder_begin_turn(encoder, encoder->modules[index], &component, &source);
    if (r < 0)
        return r;
    r = module->kind == SWI_MODULE_DENSE ? run_dense(encoder, module, rows, &source, e, spare)
                                         : run_layer_norm(encoder, module, rows, &source, e);
    return swi_encoder_end_turn(encoder, component, r);
}

/* The widest vector on the way. */
static uint32_t widest_of(const sw_encoder *encoder, const struct embedding *e)
{
    uint32_t widest = e->pooled_width;
    for (uint32_t i = 0; i < encoder->description.modules.count; i++)
        if (encoder->description.modules.after[i].out > widest)
            widest = encoder->description.modules.after[i].out;
    return widest;
}

static int run(sw_encoder *encoder, const struct sw_encoder_batch *batch, const float *pooled,
               void *context)
{
    struct embedding *e = context;
    uint32_t rows = batch->sequences, hidden = encoder->config.hidden;
    size_t room = (size_t)rows * widest_of(encoder, e);
    e->now = encoder->logits;
    e->next = e->now + room;
    if (pooled)
        memcpy(e->now, pooled, (size_t)rows * hidden * sizeof(float));
    else
        swi_pool(&e->pooling, batch, swi_engine_hidden(encoder->engine), hidden, e->prompt, e->now);
    int r = 0;
    for (uint32_t i = 0; r == 0 && i < encoder->description.modules.count; i++)
        r = run_module(encoder, i, rows, e, encoder->logits + 2 * room);
    return r;
}

/* ---- the request ----------------------------------------------------------------------------- */

/* Pooling and widths. */
static int settle_widths(const sw_encoder *encoder, enum sw_pooling asked, struct embedding *e,
                         struct swi_error *error)
{
    const struct swi_description *d = &encoder->description;
    const struct swi_modules *modules = &d->modules;
    e->pooling = modules->pooling;
    if (asked != SW_POOLING_DEFAULT)
        e->pooling = (struct swi_pooling){
            .kinds = {asked}, .count = 1, .skip_prompt = modules->pooling.skip_prompt};
    if (e->pooling.count == 0)
        return swi_fail(error, SW_EUNSUPPORTED,
                        SWI_MODULES_FILE
                        " has no Pooling, so the model has no default pooling; name one");
    e->pooled_width = e->pooling.count * encoder->config.hidden;
    if (modules->count && modules->after[0].in != e->pooled_width)
        return swi_fail(
            error, -EINVAL,
            "this pooling yields vectors of %u numbers, but the model's %.40s takes %u; "
            "use the model's own pooling",
            e->pooled_width, modules->after[0].path, modules->after[0].in);
    e->width = modules->count ? modules->after[modules->count - 1].out : e->pooled_width;
    e->size = d->truncated && d->embedding_size < e->width ? d->embedding_size : e->width;
    return 0;
}

int sw_encoder_embedding_size(sw_encoder *encoder, enum sw_pooling pooling, uint32_t *ret_size)
{
    struct embedding e = {0};
    struct swi_error error = {0};
    int r = (unsigned)pooling > SW_POOLING_LAST_TOKEN
                ? swi_fail(&error, -EINVAL, "%d is not a valid pooling", (int)pooling)
                : settle_widths(encoder, pooling, &e, &error);
    if (r < 0)
        return swi_encoder_fail(encoder, &error);
    *ret_size = e.size;
    return 0;
}

static int settle(sw_encoder *encoder, const struct sw_encoder_request *request,
                  struct embedding *e)
{
    int r = settle_widths(encoder, request->pooling, e, &encoder->error);
    if (r < 0)
        return r;
    e->prompt = e->pooling.skip_prompt ? request->prompt_tokens : 0;
    e->modules_scale = request->normalize != SW_NORMALIZE_NO;
    e->scale = request->normalize == SW_NORMALIZE_YES;
    uint64_t needed = (uint64_t)e->size * request->batch->sequences;
    if (request->embeddings_capacity < needed)
        return swi_fail(&encoder->error, -EINVAL,
                        "embeddings has room for %zu floats; %u vectors of %u need %llu",
                        request->embeddings_capacity, request->batch->sequences, e->size,
                        (unsigned long long)needed);
    return 0;
}

int swi_encoder_work_embed(sw_encoder *encoder, const struct sw_encoder_request *request)
{
    const struct sw_encoder_batch *batch = request->batch;
    struct embedding e = {0};
    const struct swi_head head = {.run = run, .context = &e};
    const float *pooled = NULL;
    int r = settle(encoder, request, &e);
    if (r == 0)
        r = swi_encoder_need_logits(encoder,
                                    (uint64_t)batch->sequences * widest_of(encoder, &e) * 3);
    if (r == 0)
        r = swi_encoder_pass(encoder, batch,
                             e.pooling.kinds[0] == SW_POOLING_POOLER ? &pooled : NULL, &head);
    if (r < 0)
        return r;
    for (uint32_t i = 0; i < batch->sequences; i++)
        memcpy(request->embeddings + (size_t)i * e.size, e.now + (size_t)i * e.width,
               e.size * sizeof(float));
    if (e.scale)
        swi_normalize_rows(request->embeddings, batch->sequences, e.size);
    return 0;
}
