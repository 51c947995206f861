/* SPDX-License-Identifier: MIT */
/* One pass: each component is leased for its turn only, its successors are asked for ahead of time,
 * and the place of the pass is published for the broker's policy. */
#include <errno.h>
#include <stdlib.h>

#include "core/deadline.h"
#include "encoder/handle.h"
#include "encoder/pooling.h"

/* ---- components' turns ----------------------------------------------------------------------- */

static int find_tensor(const void *context, const char *name, struct sw_tensor *tensor)
{
    return sw_component_tensor((const sw_component *)context, name, tensor);
}

/* Asks for the components after `component` that are not resident. */
static void prefetch_after(sw_bert *bert, uint32_t component)
{
    uint32_t wanted[64], count = 0, all = sw_model_component_count(bert->model);
    uint32_t ahead = all - 1 - component;
    if (ahead > bert->limits.prefetch_count)
        ahead = bert->limits.prefetch_count;
    for (uint32_t i = 1; i <= ahead; i++) {
        struct sw_component_info info = SW_INIT(struct sw_component_info);
        if (sw_model_component_info(bert->model, component + i, &info) == 0 && !info.resident)
            wanted[count++] = component + i;
        if (count && (count == sizeof wanted / sizeof wanted[0] || i == ahead)) {
            /* a hint: the demand that follows reports what is wrong */
            (void)sw_model_prefetch(bert->model, wanted, count);
            count = 0;
        }
    }
}

/* Whether the pass may go on to this component. */
static int check_limits(sw_bert *bert, const char *name)
{
    const struct swi_limits *limits = &bert->limits;
    if (limits->cancelled && __atomic_load_n(limits->cancelled, __ATOMIC_RELAXED))
        return swi_fail(&bert->error, -ECANCELED, "%s: cancelled before it", name);
    if (limits->deadline_ns != SWI_FOREVER && swi_now() >= limits->deadline_ns)
        return swi_fail(&bert->error, -ETIMEDOUT, "%s: the call's time was over before it", name);
    return 0;
}

/* This may look for the broker's successor, no longer than the pass may take. */
static void publish(sw_bert *bert, uint32_t component)
{
    const int32_t *outer = swi_called_off;
    uint64_t outer_ends = swi_call_ends;
    swi_called_off = bert->limits.cancelled;
    swi_call_ends = bert->limits.deadline_ns == SWI_FOREVER ? 0 : bert->limits.deadline_ns;
    sw_model_publish_cursor(bert->model, bert->lane, component, bert->pass, bert->step_ns);
    swi_called_off = outer;
    swi_call_ends = outer_ends;
}

static int acquire(sw_bert *bert, uint32_t component, const char *name, sw_component **ret)
{
    const struct swi_limits *limits = &bert->limits;
    bool limited = limits->deadline_ns != SWI_FOREVER;
    struct sw_wait wait = SW_INIT(struct sw_wait);
    if (limited) {
        wait.timeout_ms = swi_deadline_ms(limits->deadline_ns);
        wait.timeout_ms += wait.timeout_ms == 0; /* 0 would be the client's */
    }
    wait.cancelled = limits->cancelled;
    int r = sw_component_acquire_within(bert->model, component, &wait, ret);
    if (r == 0)
        return 0;
    (void)swi_bert_client_failure(bert, r, name);
    /* whatever the client calls it, it is the call's time that was over */
    if (r != -ECANCELED && limited && swi_now() >= limits->deadline_ns)
        r = bert->error.code = -ETIMEDOUT;
    return r;
}

int swi_bert_begin_turn(sw_bert *bert, uint32_t component, sw_component **ret,
                        struct swi_tensor_source *source)
{
    struct sw_component_info info = SW_INIT(struct sw_component_info);
    (void)sw_model_component_info(bert->model, component, &info);
    const char *name = info.name ? info.name : "component";
    uint64_t now = swi_now();
    if (bert->step_start) {
        uint64_t step = now - bert->step_start;
        bert->step_ns = bert->step_ns ? (bert->step_ns * 7 + step) / 8 : step;
    }
    bert->step_start = now;
    publish(bert, component);
    int r = check_limits(bert, name);
    if (r < 0)
        return r;
    bert->turns.uses++;
    bert->turns.hits += info.resident != 0;
    prefetch_after(bert, component);
    r = acquire(bert, component, name, ret);
    if (r < 0)
        return r;
    *source = (struct swi_tensor_source){.find = find_tensor, .context = *ret, .component = name};
    return 0;
}

int swi_bert_end_turn(sw_bert *bert, sw_component *component, int r)
{
    int released = sw_component_release(component);
    if (released == SW_EREVOKED)
        return swi_fail(&bert->error, released,
                        "the broker took a lease away during a pass, twice; see swctl clients for "
                        "this client's quota");
    return r < 0 ? r : released;
}

/* ---- embeddings ------------------------------------------------------------------------------ */

uint32_t swi_bert_block_start(const sw_bert *bert, uint32_t block)
{
    return (uint32_t)((uint64_t)bert->config.vocab * block / bert->word_blocks);
}

static int check_first_row(sw_bert *bert, const sw_component *component, uint32_t want)
{
    const char *text = sw_component_metadata(component, "first_row");
    char *end = NULL;
    if (text && *text && strtoull(text, &end, 10) == want && *end == 0)
        return 0;
    return swi_fail(&bert->error, SW_EFORMAT,
                    "a block of word embeddings begins at row %s instead of %u; make the chunks "
                    "again with this release's swchunk",
                    text ? text : "(none)", want);
}

int swi_bert_bind_block(sw_bert *bert, uint32_t block, const sw_component *component,
                        const struct swi_tensor_source *source, struct swi_table *ret)
{
    uint32_t first = swi_bert_block_start(bert, block);
    int r = check_first_row(bert, component, first);
    if (r == 0)
        r = swi_bind_table(source, "word_embeddings.weight",
                           swi_bert_block_start(bert, block + 1) - first, bert->config.hidden, ret,
                           &bert->error);
    if (r == 0)
        ret->first_row = first;
    return r;
}

static int add_word_block(sw_bert *bert, uint32_t block)
{
    uint32_t first = swi_bert_block_start(bert, block);
    if (!swi_encoder_uses_words(bert->encoder, first,
                                swi_bert_block_start(bert, block + 1) - first))
        return 0;
    sw_component *component = NULL;
    struct swi_tensor_source source;
    int r = swi_bert_begin_turn(bert, bert->words[block], &component, &source);
    if (r < 0)
        return r;
    struct swi_table table;
    r = swi_bert_bind_block(bert, block, component, &source, &table);
    if (r == 0)
        swi_encoder_add_words(bert->encoder, &table);
    return swi_bert_end_turn(bert, component, r);
}

static int embed(sw_bert *bert)
{
    sw_component *component = NULL;
    struct swi_tensor_source source;
    int r = swi_bert_begin_turn(bert, bert->embeddings, &component, &source);
    if (r < 0)
        return r;
    struct swi_embedding_weights weights;
    r = swi_bind_embeddings(&source, &bert->config, &weights, &bert->error);
    if (r == 0 && bert->word_blocks == 0) {
        struct swi_table words;
        r = swi_bind_table(&source, "word_embeddings.weight", bert->config.vocab,
                           bert->config.hidden, &words, &bert->error);
        if (r == 0)
            swi_encoder_add_words(bert->encoder, &words);
    }
    for (uint32_t block = 0; r == 0 && block < bert->word_blocks; block++)
        r = add_word_block(bert, block);
    if (r == 0)
        swi_encoder_embed(bert->encoder, &weights);
    return swi_bert_end_turn(bert, component, r);
}

/* ---- layers and pooler ----------------------------------------------------------------------- */

/* Looking a layer's tensors up by name costs microseconds, a hundredth of a short pass: done again
 * only where the chunk has moved. */
static int bind_layer(sw_bert *bert, uint32_t layer, const sw_component *component,
                      const struct swi_tensor_source *source)
{
    struct swi_bound *bound = &bert->bound[layer];
    struct sw_tensor first = SW_INIT(struct sw_tensor);
    if (sw_component_tensor_at(component, 0, &first) == 0 && bound->first == first.data)
        return 0;
    bound->first = NULL;
    int r = swi_bind_layer(source, &bert->config, &bound->weights, &bert->error);
    if (r == 0)
        bound->first = first.data;
    return r;
}

static int run_layer(sw_bert *bert, uint32_t layer)
{
    sw_component *component = NULL;
    struct swi_tensor_source source;
    int r = swi_bert_begin_turn(bert, bert->layers[layer], &component, &source);
    if (r < 0)
        return r;
    r = bind_layer(bert, layer, component, &source);
    if (r == 0) {
        r = swi_encoder_layer(bert->encoder, &bert->bound[layer].weights);
        if (r < 0)
            (void)swi_fail(&bert->error, r, "cannot start %u threads in this child process",
                           swi_encoder_threads(bert->encoder));
    }
    return swi_bert_end_turn(bert, component, r);
}

static int run_pooler(sw_bert *bert, const struct sw_bert_batch *batch, const float **ret_pooled)
{
    uint32_t hidden = bert->config.hidden;
    sw_component *component = NULL;
    struct swi_tensor_source source;
    int r = swi_bert_begin_turn(bert, (uint32_t)bert->pooler, &component, &source);
    if (r < 0)
        return r;
    struct swi_linear dense;
    r = swi_bind_linear(&source, "dense", hidden, hidden, &dense, &bert->error);
    if (r == 0) {
        float *first = swi_encoder_spare(bert->encoder);
        float *pooled = first + (size_t)batch->sequences * hidden;
        swi_pool(SW_POOLING_CLS, batch, swi_encoder_hidden(bert->encoder), hidden, first);
        struct swi_projection projection = {.x = first,
                                            .stride = hidden,
                                            .rows = batch->sequences,
                                            .linear = &dense,
                                            .activation = SWI_ACT_TANH,
                                            .out = pooled,
                                            .out_stride = hidden};
        swi_encoder_project(bert->encoder, &projection);
        *ret_pooled = pooled;
    }
    return swi_bert_end_turn(bert, component, r);
}

static int pass_once(sw_bert *bert, const struct sw_bert_batch *batch, const float **ret_pooled,
                     const struct swi_head *head)
{
    if (swi_encoder_begin(bert->encoder, batch) < 0)
        return swi_fail(&bert->error, -ENOMEM, "no memory for a batch of this size");
    bert->step_start = 0;
    int r = embed(bert);
    for (uint32_t layer = 0; r == 0 && layer < bert->config.layers; layer++)
        r = run_layer(bert, layer);
    if (r == 0 && ret_pooled)
        r = run_pooler(bert, batch, ret_pooled);
    if (r == 0 && head)
        r = head->run(bert, batch, ret_pooled ? *ret_pooled : NULL, head->context);
    return r;
}

int swi_bert_pass(sw_bert *bert, const struct sw_bert_batch *batch, const float **ret_pooled,
                  const struct swi_head *head)
{
    uint32_t tokens = 0;
    int r = swi_batch_check(batch, &bert->config, &tokens, &bert->error);
    if (r < 0)
        return r;
    if (ret_pooled && bert->pooler < 0)
        return swi_fail(&bert->error, SW_ENOCOMPONENT,
                        "this model has no pooler; take cls, mean or max pooling");
    uint64_t start = swi_now();
    bert->pass++;
    r = pass_once(bert, batch, ret_pooled, head);
    if (r == SW_EREVOKED)
        r = pass_once(bert, batch, ret_pooled, head);
    uint64_t ns = swi_now() - start;
    swi_bert_note(bert);
    if (r == 0)
        swi_latencies_add(&bert->latencies, ns, tokens);
    else
        bert->failed_passes++;
    bert->arena.hits += bert->turns.hits;
    bert->arena.uses += bert->turns.uses;
    swi_bert_noted(bert);
    return r;
}
