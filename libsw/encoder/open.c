/* SPDX-License-Identifier: MIT */
/* A handle of the engine: opening and closing it, and what it tells of itself. Passes are in
 * forward.c. */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/deadline.h"
#include "core/sized.h"
#include "encoder/handle.h"
#include "encoder/model_tokenizer.h"
#include "kernels/thread_pool.h"

/* ---- errors ---------------------------------------------------------------------------------- */

static int client_failure(sw_encoder *encoder, struct swi_error *error, int code, const char *what)
{
    char text[SWI_ERROR_TEXT] = "";
    int theirs = sw_client_message(encoder->client, text, sizeof text);
    return swi_fail(error, code, "%s%s%s", what ? what : "", what ? ": " : "",
                    theirs == code && *text ? text : sw_strerror(code));
}

int swi_encoder_client_failure(sw_encoder *encoder, int code, const char *what)
{
    return client_failure(encoder, &encoder->error, code, what);
}

int sw_encoder_message(const sw_encoder *encoder, char *text, size_t size)
{
    sw_encoder *mutable =
        (sw_encoder *)(uintptr_t)encoder; /* a lock may be taken on what is only read */
    swi_encoder_note(mutable);
    int code = encoder->last.code;
    if (size)
        (void)snprintf(text, size, "%s", encoder->last.text);
    swi_encoder_noted(mutable);
    return code;
}

/* ---- opening --------------------------------------------------------------------------------- */

static int need_component(sw_encoder *encoder, const char *name, uint32_t *ret)
{
    int found = sw_model_find(encoder->model, name);
    if (found < 0)
        return swi_fail(&encoder->error, SW_EFORMAT,
                        "the manifest has no component \"%s\", which config.json requires", name);
    *ret = (uint32_t)found;
    return 0;
}

/* Numbers the components of a pass. */
static int find_components(sw_encoder *encoder)
{
    char name[64];
    int r = need_component(encoder, "embeddings", &encoder->embeddings);
    if (r < 0)
        return r;
    encoder->pooler = sw_model_find(encoder->model, "pooler");
    encoder->head = sw_model_find(encoder->model, "head");
    uint32_t count = sw_model_component_count(encoder->model);
    encoder->layers = calloc(encoder->config.layers, sizeof *encoder->layers);
    encoder->words = calloc(count, sizeof *encoder->words);
    encoder->bound = calloc(encoder->config.layers, sizeof *encoder->bound);
    if (!encoder->layers || !encoder->words || !encoder->bound)
        return swi_fail(&encoder->error, -ENOMEM, "out of memory");
    for (uint32_t i = 0; r == 0 && i < encoder->config.layers; i++) {
        (void)snprintf(name, sizeof name, "layer_%u", i);
        r = need_component(encoder, name, &encoder->layers[i]);
    }
    for (; encoder->word_blocks < count; encoder->word_blocks++) {
        (void)snprintf(name, sizeof name, "embeddings_words_%u", encoder->word_blocks);
        int found = sw_model_find(encoder->model, name);
        if (found < 0)
            break;
        encoder->words[encoder->word_blocks] = (uint32_t)found;
    }
    const struct swi_modules *modules = &encoder->description.modules;
    for (uint32_t i = 0; r == 0 && i < modules->count; i++) {
        (void)snprintf(name, sizeof name, "module_%u", modules->after[i].number);
        if (swi_module_has_weights(&modules->after[i]))
            r = need_component(encoder, name, &encoder->modules[i]);
    }
    return r;
}

static int read_model_file(void *context, const char *path, void **ret_data, size_t *ret_size,
                           struct swi_error *error)
{
    sw_encoder *encoder = context;
    int r = sw_model_file(encoder->model, path, ret_data, ret_size);
    return r == 0 || r == SW_ENOCOMPONENT ? r : client_failure(encoder, error, r, path);
}

struct swi_files swi_encoder_files(sw_encoder *encoder)
{
    return (struct swi_files){.read = read_model_file, .context = encoder};
}

static int read_description(sw_encoder *encoder)
{
    struct swi_files files = swi_encoder_files(encoder);
    int r = swi_description_read(&files, &encoder->description, &encoder->error);
    encoder->config = encoder->description.config;
    return r;
}

static int apply_options(sw_encoder *encoder, const struct sw_encoder_options *options)
{
    uint32_t threads = options->threads ? options->threads : 1;
    uint32_t cache_size =
        options->cache_size ? options->cache_size : sw_model_component_count(encoder->model);
    encoder->prefetch_count = options->no_prefetch      ? 0
                              : options->prefetch_count ? options->prefetch_count
                                                        : 2;
    if (threads > SWI_THREAD_POOL_MAX)
        return swi_fail(&encoder->error, -EINVAL,
                        "%u threads were requested; at most %u are possible", threads,
                        SWI_THREAD_POOL_MAX);
    int r = sw_model_set_cache_size(encoder->model, cache_size);
    if (r == 0 && options->cache_bytes)
        r = sw_model_set_cache_bytes(encoder->model, options->cache_bytes);
    if (r < 0)
        return swi_encoder_client_failure(encoder, r, "component cache");
    r = swi_engine_create(&encoder->config, threads, &encoder->engine);
    return r < 0 ? swi_fail(&encoder->error, r, "cannot start an engine of %u threads: %s", threads,
                            sw_strerror(r))
                 : 0;
}

static void destroy(sw_encoder *encoder)
{
    swi_lane_close(&encoder->requests); /* first: what runs uses all the rest */
    swi_engine_destroy(encoder->engine);
    sw_tokenizer_destroy(encoder->tokenizer);
    if (encoder->model)
        sw_model_close(encoder->model);
    free(encoder->layers);
    free(encoder->words);
    free(encoder->bound);
    free(encoder->logits);
    swi_description_fini(&encoder->description);
    if (encoder->process != swi_process()) {
        /* made anew: who waits on them is in the parent, and destroying would wait for them */
        (void)swi_condition_init(&encoder->idle);
    }
    pthread_cond_destroy(&encoder->idle);
    swi_fork_lock_fini(&encoder->notes);
    free(encoder);
}

/* Handles of one process take the lanes of the client's page in turn. */
static unsigned next_lane(void)
{
    static atomic_uint lanes;
    return atomic_fetch_add_explicit(&lanes, 1, memory_order_relaxed) % SW_CURSOR_LANES;
}

static int create(sw_client *client, const struct sw_encoder_options *options, sw_encoder **ret)
{
    sw_encoder *encoder = calloc(1, sizeof *encoder);
    if (!encoder)
        return -ENOMEM;
    int r = swi_fork_lock_init(&encoder->notes);
    if (r < 0) {
        free(encoder);
        return r;
    }
    (void)swi_condition_init(&encoder->idle);
    encoder->process = swi_process();
    encoder->client = client;
    encoder->lane = next_lane();
    encoder->pooler = encoder->head = -1;
    swi_lane_open(&encoder->requests, options->executor);
    *ret = encoder;
    return 0;
}

/* Opens model and engine. */
static int set_up(sw_encoder *encoder, const char *name, const struct sw_encoder_options *options)
{
    int r = sw_model_open(encoder->client, name, &encoder->model);
    if (r < 0)
        (void)swi_encoder_client_failure(encoder, r, NULL);
    if (r == 0)
        r = read_description(encoder);
    if (r == 0)
        r = find_components(encoder);
    if (r == 0)
        r = apply_options(encoder, options);
    return r;
}

int sw_encoder_open(sw_client *client, const char *name, const struct sw_encoder_options *options,
                    sw_encoder **ret_bert)
{
    struct sw_encoder_options known = {0};
    struct swi_error error = {0};
    sw_encoder *encoder = NULL;
    if (!client || !name || !ret_bert)
        return -EINVAL;
    int r = swi_sized_in(&known, sizeof known, options, options ? options->size : 0, &error);
    if (r == 0)
        r = create(client, &known, &encoder);
    if (r == 0) {
        r = set_up(encoder, name, &known);
        error = encoder->error;
    } else if (error.code == 0) {
        (void)swi_fail(&error, r, "cannot set up a handle: %s", sw_strerror(r));
    }
    if (r == 0) {
        *ret_bert = encoder;
        return 0;
    }
    /* what the client says about a model that it cannot open needs no name before it */
    bool opened = encoder && encoder->model;
    if (known.error && known.error_size)
        (void)snprintf(known.error, known.error_size, "%s%s%s", opened ? name : "",
                       opened ? ": " : "", error.text);
    sw_encoder_close(encoder);
    return r;
}

void sw_encoder_close(sw_encoder *encoder)
{
    if (encoder)
        destroy(encoder);
}

/* ---- what a handle tells --------------------------------------------------------------------- */

sw_model *sw_encoder_model(sw_encoder *encoder)
{
    return encoder->model;
}

int sw_encoder_get_config(const sw_encoder *encoder, struct sw_encoder_config *config)
{
    const struct swi_encoder_config *c = &encoder->config;
    const struct sw_encoder_config now = {
        .layers = c->layers,
        .hidden_size = c->hidden,
        .heads = c->heads,
        .intermediate_size = c->intermediate,
        .vocab_size = c->vocab,
        .max_positions = c->positions,
        .type_vocab_size = c->types,
        .labels = encoder->head >= 0 ? c->labels : 0,
        .has_pooler = encoder->pooler >= 0,
        .embedding_size = encoder->description.embedding_size,
        .max_tokens = encoder->description.max_tokens,
        .similarity = encoder->description.similarity,
    };
    return swi_sized_out(config, config->size, &now, sizeof now);
}

int sw_encoder_get_inference_stats(sw_encoder *encoder, struct sw_inference_stats *stats)
{
    struct sw_cache_info cache = SW_INIT(struct sw_cache_info);
    struct sw_inference_stats now = {0};
    int r = sw_model_get_cache_info(encoder->model, &cache);
    if (r < 0)
        return r;
    struct swi_latencies *latencies = malloc(sizeof *latencies); /* sorted without the lock */
    if (!latencies)
        return -ENOMEM;
    swi_encoder_note(encoder);
    *latencies = encoder->latencies;
    struct swi_hits looks = {.hits = cache.hits - encoder->past_hits,
                             .uses = cache.hits + cache.misses - encoder->past_hits -
                                     encoder->past_misses};
    now.scratch_bytes = encoder->scratch_bytes;
    now.failed_passes = encoder->failed_passes;
    now.arena_hit_rate = swi_hit_rate(encoder->arena);
    swi_encoder_noted(encoder);
    now.cache_hit_rate = swi_hit_rate(looks);
    swi_latencies_get(latencies, &now);
    free(latencies);
    return swi_sized_out(stats, stats->size, &now, sizeof now);
}

void sw_encoder_reset_inference_stats(sw_encoder *encoder)
{
    struct sw_cache_info cache = SW_INIT(struct sw_cache_info);
    (void)sw_model_get_cache_info(encoder->model, &cache); /* cannot fail: the size is set */
    swi_encoder_note(encoder);
    encoder->latencies.passes = encoder->latencies.tokens = 0;
    encoder->failed_passes = 0;
    encoder->arena = (struct swi_hits){0};
    encoder->past_hits = cache.hits;
    encoder->past_misses = cache.misses;
    swi_encoder_noted(encoder);
}

/* ---- the component cache --------------------------------------------------------------------- */

/* Layers' numbers → components'. */
static int components_of(sw_encoder *encoder, const uint32_t *layers, size_t count, uint32_t **ret)
{
    uint32_t *components = calloc(count ? count : 1, sizeof *components);
    if (!components)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        if (layers[i] >= encoder->config.layers) {
            struct swi_error error = {0};
            (void)swi_fail(&error, -EINVAL, "layer %u: this model has layers 0 to %u", layers[i],
                           encoder->config.layers - 1);
            free(components);
            return swi_encoder_fail(encoder, &error);
        }
        components[i] = encoder->layers[layers[i]];
    }
    *ret = components;
    return 0;
}

/* Runs a client call on some components and keeps its message. */
static int on_components(sw_encoder *encoder, int (*call)(sw_model *, const uint32_t *, size_t),
                         const uint32_t *components, size_t count, const char *what)
{
    int r = call(encoder->model, components, count);
    if (r == 0)
        return 0;
    struct swi_error error = {0};
    (void)client_failure(encoder, &error, r, what);
    return swi_encoder_fail(encoder, &error);
}

int sw_encoder_warmup(sw_encoder *encoder, const uint32_t *layers, size_t count)
{
    uint32_t *components = NULL;
    int r = components_of(encoder, layers, count, &components);
    if (r == 0)
        r = on_components(encoder, sw_model_warmup, components, count, "warm-up");
    free(components);
    return r;
}

int sw_encoder_prefetch_next_layers(sw_encoder *encoder, uint32_t current, uint32_t count)
{
    uint32_t last = encoder->config.layers - 1;
    if (current > last) {
        struct swi_error error = {0};
        (void)swi_fail(&error, -EINVAL, "layer %u: this model has layers 0 to %u", current, last);
        return swi_encoder_fail(encoder, &error);
    }
    if (current == last || count == 0)
        return 0;
    /* a layer's number and its component's go up together */
    uint32_t next = current + 1, most = last - current;
    return on_components(encoder, sw_model_prefetch, encoder->layers + next,
                         count < most ? count : most, "prefetch");
}

int sw_encoder_get_cache_info(sw_encoder *encoder, struct sw_cache_info *info)
{
    return sw_model_get_cache_info(encoder->model, info);
}

int sw_encoder_cached_names(sw_encoder *encoder, const char **names, size_t capacity)
{
    return sw_model_cached_names(encoder->model, names, capacity);
}

int sw_encoder_set_cache_size(sw_encoder *encoder, uint32_t components)
{
    return sw_model_set_cache_size(encoder->model, components);
}

int sw_encoder_set_cache_bytes(sw_encoder *encoder, uint64_t bytes)
{
    return sw_model_set_cache_bytes(encoder->model, bytes);
}

void sw_encoder_clear_cache(sw_encoder *encoder)
{
    sw_model_clear_cache(encoder->model);
}

/* ---- text ------------------------------------------------------------------------------------ */

/* Inside swi_encoder_enter. */
static int make_tokenizer(sw_encoder *encoder)
{
    struct swi_files files = swi_encoder_files(encoder);
    sw_tokenizer *made = NULL;
    int r = swi_model_tokenizer(&files, &encoder->description, &made, &encoder->error);
    swi_encoder_note(encoder);
    encoder->tokenizer = made;
    swi_encoder_noted(encoder);
    return r;
}

int sw_encoder_tokenizer(sw_encoder *encoder, const sw_tokenizer **ret_tokenizer)
{
    swi_encoder_note(encoder);
    const sw_tokenizer *tokenizer = encoder->tokenizer;
    swi_encoder_noted(encoder);
    if (!tokenizer) {
        int r = swi_encoder_enter_quickly(encoder);
        if (r == 0)
            r = swi_encoder_leave(encoder, encoder->tokenizer ? 0 : make_tokenizer(encoder), NULL);
        if (r < 0)
            return r;
        tokenizer = encoder->tokenizer;
    }
    *ret_tokenizer = tokenizer;
    return 0;
}

/* How many tokens of an encoded text are the prompt's: those of the prompt by itself, without the
 * last [SEP]. */
static int count_tokens(sw_encoder *encoder, const char *text, uint32_t *ret)
{
    const sw_tokenizer *tokenizer;
    struct sw_encoding encoding = {0};
    struct sw_encode_options options = SW_INIT(struct sw_encode_options);
    options.max_tokens = encoder->description.max_tokens;
    int r = sw_encoder_tokenizer(encoder, &tokenizer);
    if (r < 0)
        return r;
    r = sw_tokenizer_encode(tokenizer, text, strlen(text), NULL, 0, &options, &encoding);
    *ret = encoding.count - 1;
    sw_encoding_fini(&encoding);
    struct swi_error error;
    return r < 0 ? swi_encoder_fail(encoder,
                                    (swi_fail(&error, r, "the prompt cannot be encoded"), &error))
                 : 0;
}

int sw_encoder_prompt(sw_encoder *encoder, const char *name, const char **ret_text,
                      uint32_t *ret_tokens)
{
    const struct swi_description *d = &encoder->description;
    const char *text = name ? swi_description_prompt(d, name) : d->default_prompt;
    struct swi_error error = {0};
    uint32_t tokens = 0;
    if (!text) {
        (void)swi_fail(&error, SW_ENOCOMPONENT, "the model has no prompt \"%.60s\"", name);
        return swi_encoder_fail(encoder, &error);
    }
    int r = *text && d->modules.pooling.skip_prompt ? count_tokens(encoder, text, &tokens) : 0;
    if (r < 0)
        return r;
    *ret_text = text;
    if (ret_tokens)
        *ret_tokens = tokens;
    return 0;
}
