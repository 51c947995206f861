/* SPDX-License-Identifier: MIT */
/* swbench overhead: the cost of a warm forward through the public functions beyond the engine's
 * arithmetic.
 *
 * Two ways to the same result alternate on one model: sw_encoder_forward, with leases and releases,
 * the component cache, cursors, prefetch, checks, locks, figures and the copy of the result; and
 * the encoder alone, on weights leased and bound beforehand. The figure is the median over pairs of
 * their quotient, so that changes of the processor's speed affect both: by wall time, and by the
 * thread's processor time, which excludes other programs. Both run in this thread.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <sw/encoder.h>

#include "encoder/engine.h"
#include "lib/bench.h"
#include "lib/crew.h"
#include "lib/options.h"

struct settings {
    struct stage_options stage;
    unsigned sequences, length, rounds;
    bool json;
};

static bool take_cell(const char *text, void *place)
{
    struct settings *settings = place;
    char rest;
    return sscanf(text, "%ux%u%c", &settings->sequences, &settings->length, &rest) == 2 &&
           settings->sequences > 0 && settings->length > 0 && settings->sequences <= 4096 &&
           settings->length <= 4096;
}

static struct settings parse(int argc, char **argv)
{
    struct settings settings = {
        .stage = {.shape = "minilm-l6"}, .sequences = 1, .length = 16, .rounds = 1000};
    const struct cli_option table[] = {
        {"model", "DIR", "a chunk directory (default: a synthetic model of --shape)",
         .text = &settings.stage.model},
        {"shape", "NAME", "shape of the synthetic model (default: minilm-l6)",
         .text = &settings.stage.shape},
        {"cell", "BxL", "batch x length (default: 1x16)", .take = take_cell, .place = &settings,
         .expected = "BATCHxLENGTH, such as 1x16"},
        {"rounds", "N", "pairs of passes (default: 1000)", .number = &settings.rounds, .least = 1,
         .most = 1000000},
        {0},
    };
    bench_parse(argc, argv, "overhead",
                "Compare a warm forward through the public functions with the engine alone.", table,
                &settings.json);
    return settings;
}

/* ---- the engine alone ------------------------------------------------------------------------ */

struct bare {
    struct swi_encoder_config config;
    swi_engine *engine;
    struct swi_embedding_weights embeddings;
    struct swi_table *words; /* [word_count] */
    uint32_t word_count;
    struct swi_layer_weights *layers; /* [config.layers] */
    sw_component **held;              /* [held_count]: leased for as long as this lives */
    uint32_t held_count;
};

static int find(const void *context, const char *name, struct sw_tensor *tensor)
{
    return sw_component_tensor((const sw_component *)context, name, tensor);
}

static void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    if (!memory)
        bench_die("out of memory");
    return memory;
}

/* Leases the named component; false: the model has none. */
static bool lease(struct bare *bare, sw_client *client, sw_model *model, const char *name,
                  struct swi_tensor_source *ret)
{
    int number = sw_model_find(model, name);
    if (number < 0)
        return false;
    sw_component *component = NULL;
    bench_check(sw_component_acquire(model, (uint32_t)number, &component), client, name);
    bare->held[bare->held_count++] = component;
    *ret = (struct swi_tensor_source){.find = find, .context = component, .component = "bench"};
    return true;
}

static void bind(int result, const struct swi_error *error)
{
    if (result < 0)
        bench_die("%s", error->text);
}

static void bind_words(struct bare *bare, sw_client *client, sw_model *model,
                       const struct swi_tensor_source *embeddings)
{
    struct swi_error error = {0};
    struct swi_tensor_source source;
    char name[64];
    uint32_t vocab = bare->config.vocab, hidden = bare->config.hidden, blocks = 0;
    while (snprintf(name, sizeof name, "embeddings_words_%u", blocks) > 0 &&
           sw_model_find(model, name) >= 0)
        blocks++;
    bare->word_count = blocks ? blocks : 1;
    bare->words = allocate(bare->word_count, sizeof *bare->words);
    if (!blocks)
        bind(swi_bind_table(embeddings, "word_embeddings.weight", vocab, hidden, bare->words,
                            &error),
             &error);
    for (uint32_t i = 0; i < blocks; i++) {
        /* where swchunk cuts: sw-chunk(5) */
        uint32_t first = (uint32_t)((uint64_t)vocab * i / blocks);
        uint32_t end = (uint32_t)((uint64_t)vocab * (i + 1) / blocks);
        (void)snprintf(name, sizeof name, "embeddings_words_%u", i);
        (void)lease(bare, client, model, name, &source);
        bind(swi_bind_table(&source, "word_embeddings.weight", end - first, hidden, &bare->words[i],
                            &error),
             &error);
        bare->words[i].first_row = first;
    }
}

static struct bare bare_open(sw_client *client, sw_model *model)
{
    struct bare bare = {0};
    struct swi_error error = {0};
    struct swi_tensor_source source;
    void *json = NULL;
    size_t size = 0;
    char name[64];
    bench_check(sw_model_file(model, "config.json", &json, &size), client, "config.json");
    bind(swi_encoder_config_parse(json, size, &bare.config, &error), &error);
    free(json);
    bare.held = allocate(sw_model_component_count(model), sizeof(sw_component *));
    bare.layers = allocate(bare.config.layers, sizeof *bare.layers);
    if (swi_engine_create(&bare.config, 1, &bare.engine) < 0)
        bench_die("cannot create an encoder");
    if (!lease(&bare, client, model, "embeddings", &source))
        bench_die("the model has no embeddings");
    bind(swi_bind_embeddings(&source, &bare.config, &bare.embeddings, &error), &error);
    bind_words(&bare, client, model, &source);
    for (uint32_t i = 0; i < bare.config.layers; i++) {
        (void)snprintf(name, sizeof name, "layer_%u", i);
        if (!lease(&bare, client, model, name, &source))
            bench_die("the model has no %s", name);
        bind(swi_bind_layer(&source, &bare.config, &bare.layers[i], &error), &error);
    }
    return bare;
}

static void bare_close(struct bare *bare)
{
    for (uint32_t i = 0; i < bare->held_count; i++)
        (void)sw_component_release(bare->held[i]);
    swi_engine_destroy(bare->engine);
    free(bare->words);
    free(bare->layers);
    free(bare->held);
}

/* The time of a pass in nanoseconds. */
struct cost {
    double wall, processor;
};

static double processor_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static struct cost begin(void)
{
    double processor = processor_ns();
    return (struct cost){.wall = (double)bench_now_ns(), .processor = processor};
}

static struct cost since(struct cost start)
{
    double wall = (double)bench_now_ns();
    return (struct cost){.wall = wall - start.wall, .processor = processor_ns() - start.processor};
}

static struct cost bare_pass(struct bare *bare, const struct sw_encoder_batch *batch)
{
    struct cost start = begin();
    if (swi_engine_begin(bare->engine, batch) < 0)
        bench_die("out of memory");
    for (uint32_t i = 0; i < bare->word_count; i++)
        swi_engine_add_words(bare->engine, &bare->words[i]);
    swi_engine_embed(bare->engine, &bare->embeddings);
    for (uint32_t i = 0; i < bare->config.layers; i++)
        (void)swi_engine_layer(bare->engine, &bare->layers[i]); /* one thread: cannot fail */
    return since(start);
}

/* ---- pairs ----------------------------------------------------------------------------------- */

static struct cost public_pass(sw_encoder *encoder, const struct sw_encoder_batch *batch,
                               float *hidden)
{
    struct sw_encoder_output output = SW_INIT(struct sw_encoder_output);
    output.last_hidden_state = hidden;
    struct cost start = begin();
    int result = sw_encoder_forward(encoder, batch, &output);
    struct cost cost = since(start);
    char text[512] = "";
    (void)sw_encoder_message(encoder, text, sizeof text);
    if (result < 0)
        bench_die("%s", text[0] ? text : sw_strerror(result));
    return cost;
}

static void measure(const struct settings *settings, struct report *report, sw_encoder *encoder,
                    struct bare *bare)
{
    uint32_t tokens = settings->sequences * settings->length;
    if (settings->length > bare->config.positions)
        bench_die("this model takes %u tokens", bare->config.positions);
    struct sw_encoder_batch batch = SW_INIT(struct sw_encoder_batch);
    uint32_t *lengths = allocate(settings->sequences, sizeof *lengths);
    int32_t *ids = allocate(tokens, sizeof *ids);
    float *hidden = allocate((size_t)tokens * bare->config.hidden, sizeof *hidden);
    for (uint32_t i = 0; i < settings->sequences; i++)
        lengths[i] = settings->length;
    for (uint32_t i = 0; i < tokens; i++)
        ids[i] = (int32_t)((1000 + (uint64_t)i * 7919) % bare->config.vocab);
    batch.sequences = settings->sequences;
    batch.lengths = lengths;
    batch.ids = ids;
    struct series ratios = {0}, by_processor = {0}, whole = {0}, alone = {0};
    for (unsigned round = 0; round < settings->rounds + 20; round++) {
        struct cost a = {0}, b;
        if (round % 2)
            a = public_pass(encoder, &batch, hidden);
        b = bare_pass(bare, &batch);
        if (round % 2 == 0)
            a = public_pass(encoder, &batch, hidden);
        if (round < 20) /* memory grows, caches fill */
            continue;
        series_add(&ratios, a.wall / b.wall);
        series_add(&by_processor, a.processor / b.processor);
        series_add(&whole, a.wall / 1e3);
        series_add(&alone, b.wall / 1e3);
    }
    if (memcmp(hidden, swi_engine_hidden(bare->engine),
               (size_t)tokens * bare->config.hidden * sizeof *hidden))
        bench_die("the two ways gave different results");
    report_number(report, "public_us_p50", series_median(&whole), 1,
                  "public functions, us, median");
    report_number(report, "engine_us_p50", series_median(&alone), 1, "engine alone, us, median");
    report_number(report, "ratio", series_median(&ratios), 4, "quotient, median of pairs");
    report_number(report, "overhead_percent", 100 * (series_median(&ratios) - 1), 2,
                  "overhead, percent");
    report_number(report, "ratio_processor", series_median(&by_processor), 4,
                  "quotient of processor time, median");
    report_number(report, "overhead_processor_percent", 100 * (series_median(&by_processor) - 1), 2,
                  "overhead of processor time, percent");
    series_fini(&ratios);
    series_fini(&by_processor);
    series_fini(&whole);
    series_fini(&alone);
    free(lengths);
    free(ids);
    free(hidden);
}

int bench_overhead(int argc, char **argv)
{
    struct settings settings = parse(argc, argv);
    struct stage stage;
    struct report report;
    stage_open(&stage, &settings.stage);
    sw_client *client = stage_connect(&stage, "swbench overhead");
    sw_encoder *encoder = NULL;
    bench_check(sw_encoder_open(client, stage.model_name, NULL, &encoder), client,
                stage.model_name);
    struct bare bare = bare_open(client, sw_encoder_model(encoder));
    report_init(&report, "overhead");
    report_string(&report, "model", stage.model_name, "model");
    report_integer(&report, "sequences", settings.sequences, "sequences");
    report_integer(&report, "length", settings.length, "tokens of each");
    report_integer(&report, "rounds", settings.rounds, "pairs");
    measure(&settings, &report, encoder, &bare);
    bare_close(&bare);
    sw_encoder_close(encoder);
    sw_client_close(client);
    report_print(&report, settings.json);
    stage_close(&stage);
    return 0;
}
