/* SPDX-License-Identifier: MIT */
/* One pass: each component is leased for its turn only, its successors are asked for ahead of time,
 * and the place of the pass is published for the broker's policy. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/deadline.h"
#include "encoder/handle.h"

/* ---- components' turns ----------------------------------------------------------------------- */

static int find_tensor(const void *context, const char *name, struct sw_tensor *tensor)
{
    return sw_component_tensor((const sw_component *)context, name, tensor);
}

/* Asks for the components after `component` that are not resident. */
static void prefetch_after(sw_encoder *encoder, uint32_t component)
{
    uint32_t wanted[64], count = 0, all = sw_model_component_count(encoder->model);
    uint32_t ahead = all - 1 - component;
    if (ahead > encoder->limits.prefetch_count)
        ahead = encoder->limits.prefetch_count;
    for (uint32_t i = 1; i <= ahead; i++) {
        struct sw_component_info info = SW_INIT(struct sw_component_info);
        if (sw_model_component_info(encoder->model, component + i, &info) == 0 && !info.resident)
            wanted[count++] = component + i;
        if (count && (count == sizeof wanted / sizeof wanted[0] || i == ahead)) {
            /* a hint: the demand that follows reports what is wrong */
            (void)sw_model_prefetch(encoder->model, wanted, count);
            count = 0;
        }
    }
}

/* Whether the pass may go on to this component. */
static int check_limits(sw_encoder *encoder, const char *name)
{
    const struct swi_limits *limits = &encoder->limits;
    if (limits->cancelled && __atomic_load_n(limits->cancelled, __ATOMIC_RELAXED))
        return swi_fail(&encoder->error, -ECANCELED, "cancelled before %s", name);
    if (limits->deadline_ns != SWI_FOREVER && swi_now() >= limits->deadline_ns)
        return swi_fail(&encoder->error, -ETIMEDOUT, "the deadline passed before %s", name);
    return 0;
}

/* This may look for the broker's successor, no longer than the pass may take. */
static void publish(sw_encoder *encoder, uint32_t component)
{
    const int32_t *outer = swi_cancelled;
    uint64_t outer_ends = swi_call_ends;
    swi_cancelled = encoder->limits.cancelled;
    swi_call_ends = encoder->limits.deadline_ns == SWI_FOREVER ? 0 : encoder->limits.deadline_ns;
    sw_model_publish_cursor(encoder->model, encoder->lane, component, encoder->pass,
                            encoder->step_ns);
    swi_cancelled = outer;
    swi_call_ends = outer_ends;
}

static int acquire(sw_encoder *encoder, uint32_t component, const char *name, sw_component **ret)
{
    const struct swi_limits *limits = &encoder->limits;
    bool limited = limits->deadline_ns != SWI_FOREVER;
    struct sw_wait wait = SW_INIT(struct sw_wait);
    if (limited) {
        wait.timeout_ms = swi_deadline_ms(limits->deadline_ns);
        wait.timeout_ms += wait.timeout_ms == 0; /* 0 would be the client's */
    }
    wait.cancelled = limits->cancelled;
    int r = sw_component_acquire_within(encoder->model, component, &wait, ret);
    if (r == 0)
        return 0;
    (void)swi_encoder_client_failure(encoder, r, name);
    /* whatever the client calls it, it is the call's time that was over */
    if (r != -ECANCELED && limited && swi_now() >= limits->deadline_ns)
        r = encoder->error.code = -ETIMEDOUT;
    return r;
}

int swi_encoder_begin_turn(sw_encoder *encoder, uint32_t component, sw_component **ret,
                           struct swi_tensor_source *source)
{
    struct sw_component_info info = SW_INIT(struct sw_component_info);
    (void)sw_model_component_info(encoder->model, component, &info);
    const char *name = info.name ? info.name : "component";
    uint64_t now = swi_now();
    if (encoder->step_start) {
        uint64_t step = now - encoder->step_start;
        encoder->step_ns = encoder->step_ns ? (encoder->step_ns * 7 + step) / 8 : step;
    }
    encoder->step_start = now;
    publish(encoder, component);
    int r = check_limits(encoder, name);
    if (r < 0)
        return r;
    encoder->turns.uses++;
    encoder->turns.hits += info.resident != 0;
    prefetch_after(encoder, component);
    r = acquire(encoder, component, name, ret);
    if (r < 0)
        return r;
    *source = (struct swi_tensor_source){.find = find_tensor, .context = *ret, .component = name};
    return 0;
}

int swi_encoder_end_turn(sw_encoder *encoder, sw_component *component, int r)
{
    int released = sw_component_release(component);
    if (released == SW_EREVOKED)
        return swi_fail(&encoder->error, released,
                        "the broker revoked a lease during the pass twice; see swctl clients for "
                        "this client's quota");
    return r < 0 ? r : released;
}

/* ---- embeddings ------------------------------------------------------------------------------ */

uint32_t swi_encoder_block_start(const sw_encoder *encoder, uint32_t block)
{
    return (uint32_t)((uint64_t)encoder->config.vocab * block / encoder->word_blocks);
}

static int check_first_row(sw_encoder *encoder, const sw_component *component, uint32_t want)
{
    const char *text = sw_component_metadata(component, "first_row");
    char *end = NULL;
    if (text && *text && strtoull(text, &end, 10) == want && *end == 0)
        return 0;
    return swi_fail(&encoder->error, SW_EFORMAT,
                    "a block of word embeddings begins at row %s instead of %u; import the model "
                    "again with this release's swchunk",
                    text ? text : "(none)", want);
}

int swi_encoder_bind_block(sw_encoder *encoder, uint32_t block, const sw_component *component,
                           const struct swi_tensor_source *source, struct swi_table *ret)
{
    uint32_t first = swi_encoder_block_start(encoder, block);
    int r = check_first_row(encoder, component, first);
    if (r == 0)
        r = swi_bind_table(source, "word_embeddings.weight",
                           swi_encoder_block_start(encoder, block + 1) - first,
                           encoder->config.hidden, ret, &encoder->error);
    if (r == 0)
        ret->first_row = first;
    return r;
}

static int add_word_block(sw_encoder *encoder, uint32_t block)
{
    uint32_t first = swi_encoder_block_start(encoder, block);
    if (!swi_engine_uses_words(encoder->engine, first,
                               swi_encoder_block_start(encoder, block + 1) - first))
        return 0;
    sw_component *component = NULL;
    struct swi_tensor_source source;
    int r = swi_encoder_begin_turn(encoder, encoder->words[block], &component, &source);
    if (r < 0)
        return r;
    struct swi_table table;
    r = swi_encoder_bind_block(encoder, block, component, &source, &table);
    if (r == 0)
        swi_engine_add_words(encoder->engine, &table);
    return swi_encoder_end_turn(encoder, component, r);
}

static int embed(sw_encoder *encoder)
{
    sw_component *component = NULL;
    struct swi_tensor_source source;
    int r = swi_encoder_begin_turn(encoder, encoder->embeddings, &component, &source);
    if (r < 0)
        return r;
    struct swi_embedding_weights weights;
    r = swi_bind_embeddings(&source, &encoder->config, &weights, &encoder->error);
    if (r == 0 && encoder->word_blocks == 0) {
        struct swi_table words;
        r = swi_bind_table(&source, "word_embeddings.weight", encoder->config.vocab,
                           encoder->config.hidden, &words, &encoder->error);
        if (r == 0)
            swi_engine_add_words(encoder->engine, &words);
    }
    for (uint32_t block = 0; r == 0 && block < encoder->word_blocks; block++)
        r = add_word_block(encoder, block);
    if (r == 0)
        swi_engine_embed(encoder->engine, &weights);
    return swi_encoder_end_turn(encoder, component, r);
}

/* ---- layers and pooler ----------------------------------------------------------------------- */

/* Looking a layer's tensors up by name costs microseconds, a hundredth of a short pass: done again
 * only where the chunk has moved. */
static int bind_layer(sw_encoder *encoder, uint32_t layer, const sw_component *component,
                      const struct swi_tensor_source *source)
{
    struct swi_bound *bound = &encoder->bound[layer];
    struct sw_tensor first = SW_INIT(struct sw_tensor);
    if (sw_component_tensor_at(component, 0, &first) == 0 && bound->first == first.data)
        return 0;
    bound->first = NULL;
    int r = swi_bind_layer(source, &encoder->config, &bound->weights, &encoder->error);
    if (r == 0)
        bound->first = first.data;
    return r;
}

static int run_layer(sw_encoder *encoder, uint32_t layer)
{
    sw_component *component = NULL;
    struct swi_tensor_source source;
    int r = swi_encoder_begin_turn(encoder, encoder->layers[layer], &component, &source);
    if (r < 0)
        return r;
    r = bind_layer(encoder, layer, component, &source);
    if (r == 0) {
        r = swi_engine_layer(encoder->engine, &encoder->bound[layer].weights);
        if (r < 0)
            (void)swi_fail(&encoder->error, r, "cannot start %u threads in this child process",
                           swi_engine_threads(encoder->engine));
    }
    return swi_encoder_end_turn(encoder, component, r);
}

static int run_pooler(sw_encoder *encoder, const struct sw_encoder_batch *batch,
                      const float **ret_pooled)
{
    uint32_t hidden = encoder->config.hidden;
    sw_component *component = NULL;
    struct swi_tensor_source source;
    int r = swi_encoder_begin_turn(encoder, (uint32_t)encoder->pooler, &component, &source);
    if (r < 0)
        return r;
    struct swi_linear dense;
    r = swi_bind_linear(&source, "dense", hidden, hidden, &dense, &encoder->error);
    if (r == 0) {
        float *first = swi_engine_spare(encoder->engine);
        float *pooled = first + (size_t)batch->sequences * hidden;
        const float *token = swi_engine_hidden(encoder->engine);
        for (uint32_t i = 0; i < batch->sequences; token += (size_t)batch->lengths[i++] * hidden)
            memcpy(first + (size_t)i * hidden, token, hidden * sizeof *first);
        struct swi_projection projection = {.x = first,
                                            .stride = hidden,
                                            .rows = batch->sequences,
                                            .linear = &dense,
                                            .activation = SWI_ACT_TANH,
                                            .out = pooled,
                                            .out_stride = hidden};
        swi_engine_project(encoder->engine, &projection);
        *ret_pooled = pooled;
    }
    return swi_encoder_end_turn(encoder, component, r);
}

static int pass_once(sw_encoder *encoder, const struct sw_encoder_batch *batch,
                     const float **ret_pooled, const struct swi_head *head)
{
    if (swi_engine_begin(encoder->engine, batch) < 0)
        return swi_fail(&encoder->error, -ENOMEM, "no memory for a batch of this size");
    encoder->step_start = 0;
    int r = embed(encoder);
    for (uint32_t layer = 0; r == 0 && layer < encoder->config.layers; layer++)
        r = run_layer(encoder, layer);
    if (r == 0 && ret_pooled)
        r = run_pooler(encoder, batch, ret_pooled);
    if (r == 0 && head)
        r = head->run(encoder, batch, ret_pooled ? *ret_pooled : NULL, head->context);
    return r;
}

int swi_encoder_pass(sw_encoder *encoder, const struct sw_encoder_batch *batch,
                     const float **ret_pooled, const struct swi_head *head)
{
    uint32_t tokens = 0;
    int r = swi_batch_check(batch, &encoder->config, &tokens, &encoder->error);
    if (r < 0)
        return r;
    if (ret_pooled && encoder->pooler < 0)
        return swi_fail(&encoder->error, SW_ENOCOMPONENT,
                        "this model has no pooler; use cls, mean or max pooling");
    uint64_t start = swi_now();
    encoder->pass++;
    r = pass_once(encoder, batch, ret_pooled, head);
    if (r == SW_EREVOKED)
        r = pass_once(encoder, batch, ret_pooled, head);
    uint64_t ns = swi_now() - start;
    swi_encoder_note(encoder);
    if (r == 0)
        swi_latencies_add(&encoder->latencies, ns, tokens);
    else
        encoder->failed_passes++;
    encoder->arena.hits += encoder->turns.hits;
    encoder->arena.uses += encoder->turns.uses;
    swi_encoder_noted(encoder);
    return r;
}
