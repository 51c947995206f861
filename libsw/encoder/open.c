/* SPDX-License-Identifier: MIT */
/* A handle of the engine: opening and closing it, and what it tells of itself. Passes are in
 * forward.c. */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/connection.h"
#include "core/sized.h"
#include "encoder/handle.h"
#include "encoder/pooling.h"
#include "kernels/thread_pool.h"

/* ---- errors ---------------------------------------------------------------------------------- */

static int client_failure(sw_bert *bert, struct swi_error *error, int code, const char *what)
{
    char text[SWI_ERROR_TEXT] = "";
    int theirs = sw_client_message(bert->client, text, sizeof text);
    return swi_fail(error, code, "%s: %s", what,
                    theirs == code && *text ? text : sw_strerror(code));
}

int swi_bert_client_failure(sw_bert *bert, int code, const char *what)
{
    return client_failure(bert, &bert->error, code, what);
}

int sw_bert_message(const sw_bert *bert, char *text, size_t size)
{
    sw_bert *mutable = (sw_bert *)(uintptr_t)bert; /* a lock may be taken on what is only read */
    swi_bert_note(mutable);
    int code = bert->last.code;
    if (size)
        (void)snprintf(text, size, "%s", bert->last.text);
    swi_bert_noted(mutable);
    return code;
}

/* ---- opening --------------------------------------------------------------------------------- */

static int need_component(sw_bert *bert, const char *name, uint32_t *ret)
{
    int found = sw_model_find(bert->model, name);
    if (found < 0)
        return swi_fail(&bert->error, SW_EFORMAT,
                        "the manifest has no component \"%s\", which config.json asks for", name);
    *ret = (uint32_t)found;
    return 0;
}

/* Numbers the components of a pass. */
static int find_components(sw_bert *bert)
{
    char name[64];
    int r = need_component(bert, "embeddings", &bert->embeddings);
    if (r < 0)
        return r;
    bert->pooler = sw_model_find(bert->model, "pooler");
    bert->head = sw_model_find(bert->model, "head");
    uint32_t count = sw_model_component_count(bert->model);
    bert->layers = calloc(bert->config.layers, sizeof *bert->layers);
    bert->words = calloc(count, sizeof *bert->words);
    bert->bound = calloc(bert->config.layers, sizeof *bert->bound);
    if (!bert->layers || !bert->words || !bert->bound)
        return swi_fail(&bert->error, -ENOMEM, "out of memory");
    for (uint32_t i = 0; r == 0 && i < bert->config.layers; i++) {
        (void)snprintf(name, sizeof name, "layer_%u", i);
        r = need_component(bert, name, &bert->layers[i]);
    }
    for (; bert->word_blocks < count; bert->word_blocks++) {
        (void)snprintf(name, sizeof name, "embeddings_words_%u", bert->word_blocks);
        int found = sw_model_find(bert->model, name);
        if (found < 0)
            break;
        bert->words[bert->word_blocks] = (uint32_t)found;
    }
    return r;
}

static int read_config(sw_bert *bert)
{
    void *json = NULL;
    size_t size = 0;
    int r = sw_model_file(bert->model, "config.json", &json, &size);
    if (r < 0)
        return swi_bert_client_failure(bert, r, "config.json");
    r = swi_bert_config_parse(json, size, &bert->config, &bert->error);
    free(json);
    return r;
}

static int apply_options(sw_bert *bert, const struct sw_bert_options *options)
{
    uint32_t threads = options->threads ? options->threads : 1;
    uint32_t cache_size =
        options->cache_size ? options->cache_size : sw_model_component_count(bert->model);
    bert->prefetch_count = options->no_prefetch      ? 0
                           : options->prefetch_count ? options->prefetch_count
                                                     : 2;
    if (threads > SWI_TEAM_MAX)
        return swi_fail(&bert->error, -EINVAL, "%u threads asked for; at most %u are possible",
                        threads, SWI_TEAM_MAX);
    int r = sw_model_set_cache_size(bert->model, cache_size);
    if (r == 0 && options->cache_bytes)
        r = sw_model_set_cache_bytes(bert->model, options->cache_bytes);
    if (r < 0)
        return swi_bert_client_failure(bert, r, "component cache");
    r = swi_encoder_create(&bert->config, threads, &bert->encoder);
    return r < 0 ? swi_fail(&bert->error, r, "cannot start an engine of %u threads: %s", threads,
                            sw_strerror(r))
                 : 0;
}

static void destroy(sw_bert *bert)
{
    swi_lane_close(&bert->requests); /* first: what runs uses all the rest */
    swi_bert_watch_fini(bert);
    swi_encoder_destroy(bert->encoder);
    sw_tokenizer_destroy(bert->tokenizer);
    if (bert->model)
        sw_model_close(bert->model);
    free(bert->layers);
    free(bert->words);
    free(bert->bound);
    free(bert->logits);
    swi_labels_destroy(bert->labels);
    if (bert->process != swi_process()) {
        /* made anew: who waits on them is in the parent, and destroying would wait for them */
        (void)swi_condition_init(&bert->idle);
        (void)swi_condition_init(&bert->told);
    }
    pthread_cond_destroy(&bert->idle);
    pthread_cond_destroy(&bert->told);
    swi_fork_lock_fini(&bert->notes);
    free(bert);
}

/* Handles of one process take the lanes of the client's page in turn. */
static unsigned next_lane(void)
{
    static atomic_uint lanes;
    return atomic_fetch_add_explicit(&lanes, 1, memory_order_relaxed) % SW_CURSOR_LANES;
}

static int create(sw_client *client, const struct sw_bert_options *options, sw_bert **ret)
{
    sw_bert *bert = calloc(1, sizeof *bert);
    if (!bert)
        return -ENOMEM;
    int r = swi_fork_lock_init(&bert->notes);
    if (r < 0) {
        free(bert);
        return r;
    }
    (void)swi_condition_init(&bert->idle);
    (void)swi_condition_init(&bert->told);
    bert->process = swi_process();
    bert->client = client;
    bert->lane = next_lane();
    bert->pooler = bert->head = -1;
    swi_lane_open(&bert->requests, options->executor);
    *ret = bert;
    return 0;
}

/* Opens model and engine. */
static int set_up(sw_bert *bert, const char *name, const struct sw_bert_options *options)
{
    int r = sw_model_open(bert->client, name, &bert->model);
    if (r < 0)
        (void)swi_bert_client_failure(bert, r, "opening");
    if (r == 0)
        r = read_config(bert);
    if (r == 0)
        r = find_components(bert);
    if (r == 0)
        r = apply_options(bert, options);
    return r;
}

int sw_bert_open(sw_client *client, const char *name, const struct sw_bert_options *options,
                 sw_bert **ret_bert)
{
    struct sw_bert_options known = {0};
    struct swi_error error = {0};
    sw_bert *bert = NULL;
    if (!client || !name || !ret_bert)
        return -EINVAL;
    int r = swi_sized_in(&known, sizeof known, options, options ? options->size : 0, &error);
    if (r == 0)
        r = create(client, &known, &bert);
    if (r == 0) {
        r = set_up(bert, name, &known);
        error = bert->error;
    } else if (error.code == 0) {
        (void)swi_fail(&error, r, "cannot set up a handle: %s", sw_strerror(r));
    }
    if (r == 0) {
        *ret_bert = bert;
        return 0;
    }
    if (known.error && known.error_size)
        (void)snprintf(known.error, known.error_size, "%s: %s", name, error.text);
    sw_bert_close(bert);
    return r;
}

void sw_bert_close(sw_bert *bert)
{
    if (bert)
        destroy(bert);
}

/* ---- what a handle tells --------------------------------------------------------------------- */

sw_model *sw_bert_model(sw_bert *bert)
{
    return bert->model;
}

int sw_bert_get_config(const sw_bert *bert, struct sw_bert_config *config)
{
    const struct swi_bert_config *c = &bert->config;
    const struct sw_bert_config now = {
        .layers = c->layers,
        .hidden_size = c->hidden,
        .heads = c->heads,
        .intermediate_size = c->intermediate,
        .vocab_size = c->vocab,
        .max_positions = c->positions,
        .type_vocab_size = c->types,
        .labels = bert->head >= 0 ? c->labels : 0,
        .has_pooler = bert->pooler >= 0,
    };
    return swi_sized_out(config, config->size, &now, sizeof now);
}

int sw_bert_get_inference_stats(sw_bert *bert, struct sw_inference_stats *stats)
{
    struct sw_cache_info cache = SW_INIT(struct sw_cache_info);
    struct sw_inference_stats now = {0};
    int r = sw_model_get_cache_info(bert->model, &cache);
    if (r < 0)
        return r;
    struct swi_latencies *latencies = malloc(sizeof *latencies); /* sorted without the lock */
    if (!latencies)
        return -ENOMEM;
    swi_bert_note(bert);
    *latencies = bert->latencies;
    struct swi_hits looks = {.hits = cache.hits - bert->past_hits,
                             .uses =
                                 cache.hits + cache.misses - bert->past_hits - bert->past_misses};
    now.scratch_bytes = bert->scratch_bytes;
    now.failed_passes = bert->failed_passes;
    now.arena_hit_rate = swi_hit_rate(bert->arena);
    swi_bert_noted(bert);
    now.cache_hit_rate = swi_hit_rate(looks);
    swi_latencies_get(latencies, &now);
    free(latencies);
    return swi_sized_out(stats, stats->size, &now, sizeof now);
}

void sw_bert_reset_inference_stats(sw_bert *bert)
{
    struct sw_cache_info cache = SW_INIT(struct sw_cache_info);
    (void)sw_model_get_cache_info(bert->model, &cache); /* cannot fail: the size is set */
    swi_bert_note(bert);
    bert->latencies.passes = bert->latencies.tokens = 0;
    bert->failed_passes = 0;
    bert->arena = (struct swi_hits){0};
    bert->past_hits = cache.hits;
    bert->past_misses = cache.misses;
    swi_bert_noted(bert);
}

/* ---- the component cache --------------------------------------------------------------------- */

/* Layers' numbers → components'. */
static int components_of(sw_bert *bert, const uint32_t *layers, size_t count, uint32_t **ret)
{
    uint32_t *components = calloc(count ? count : 1, sizeof *components);
    if (!components)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        if (layers[i] >= bert->config.layers) {
            struct swi_error error = {0};
            (void)swi_fail(&error, -EINVAL, "layer %u: this model has layers 0 to %u", layers[i],
                           bert->config.layers - 1);
            free(components);
            return swi_bert_fail(bert, &error);
        }
        components[i] = bert->layers[layers[i]];
    }
    *ret = components;
    return 0;
}

/* Runs a client call on some components and keeps its message. */
static int on_components(sw_bert *bert, int (*call)(sw_model *, const uint32_t *, size_t),
                         const uint32_t *components, size_t count, const char *what)
{
    int r = call(bert->model, components, count);
    if (r == 0)
        return 0;
    struct swi_error error = {0};
    (void)client_failure(bert, &error, r, what);
    return swi_bert_fail(bert, &error);
}

int sw_bert_warmup(sw_bert *bert, const uint32_t *layers, size_t count)
{
    uint32_t *components = NULL;
    int r = components_of(bert, layers, count, &components);
    if (r == 0)
        r = on_components(bert, sw_model_warmup, components, count, "warm-up");
    free(components);
    return r;
}

int sw_bert_prefetch_next_layers(sw_bert *bert, uint32_t current, uint32_t count)
{
    uint32_t last = bert->config.layers - 1;
    if (current > last) {
        struct swi_error error = {0};
        (void)swi_fail(&error, -EINVAL, "layer %u: this model has layers 0 to %u", current, last);
        return swi_bert_fail(bert, &error);
    }
    if (current == last || count == 0)
        return 0;
    /* a layer's number and its component's go up together */
    uint32_t next = current + 1, most = last - current;
    return on_components(bert, sw_model_prefetch, bert->layers + next, count < most ? count : most,
                         "prefetch");
}

int sw_bert_get_cache_info(sw_bert *bert, struct sw_cache_info *info)
{
    return sw_model_get_cache_info(bert->model, info);
}

int sw_bert_cached_names(sw_bert *bert, const char **names, size_t capacity)
{
    return sw_model_cached_names(bert->model, names, capacity);
}

int sw_bert_set_cache_size(sw_bert *bert, uint32_t components)
{
    return sw_model_set_cache_size(bert->model, components);
}

int sw_bert_set_cache_bytes(sw_bert *bert, uint64_t bytes)
{
    return sw_model_set_cache_bytes(bert->model, bytes);
}

void sw_bert_clear_cache(sw_bert *bert)
{
    sw_model_clear_cache(bert->model);
}
