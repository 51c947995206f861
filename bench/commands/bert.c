/* SPDX-License-Identifier: MIT */
/* swbench bert: whole passes in tokens per second, through libsw's public functions, as in a
 * worker.
 *
 * The ids are synthetic, which costs the same as real ones. A cell BxL is a batch of B sequences of
 * L tokens. For comparisons with other engines see swbench serve.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sw/encoder.h>

#include "lib/bench.h"
#include "lib/options.h"

struct settings {
    struct stage_options stage;
    const char *cells;
    uint32_t threads;
    unsigned rounds;
    bool json;
};

static struct settings parse(int argc, char **argv)
{
    struct settings settings = {.stage = {.shape = "minilm-l6", .synth = {"--dtype", "f16"}},
                                .cells = "1x16,1x128,8x128,1x512",
                                .threads = 1,
                                .rounds = 15};
    const struct cli_option table[] = {
        {"model", "DIR", "a chunk directory (default: a synthetic model of --shape)",
         .text = &settings.stage.model},
        {"shape", "NAME", "shape of the synthetic model (default: minilm-l6)",
         .text = &settings.stage.shape},
        {"dtype", "T", "its element type: f32, f16 or bf16 (default: f16)",
         .text = &settings.stage.synth[1]},
        {"socket", "PATH", "a running broker that serves the model (default: start one)",
         .text = &settings.stage.socket},
        {"threads", "N", "threads of the engine (default: 1)", .number = &settings.threads,
         .least = 1, .most = 64},
        {"cells", "A,B,...", "batch x length (default: 1x16,1x128,8x128,1x512)",
         .text = &settings.cells},
        {"rounds", "N", "passes of each cell (default: 15)", .number = &settings.rounds, .least = 1,
         .most = 100000},
        {0},
    };
    bench_parse(argc, argv, "bert", "Measure whole passes of a BERT model.", table, &settings.json);
    return settings;
}

/* ---- an engine and a batch ------------------------------------------------------------------- */

struct engine {
    sw_client *client;
    sw_encoder *encoder;
    struct sw_encoder_config config;
    struct sw_encoder_batch batch;
    uint32_t *lengths;
    int32_t *ids;
    float *hidden;
    uint32_t tokens;
};

static struct engine engine_open(sw_client *client, const char *name, uint32_t threads)
{
    struct engine engine = {.client = client};
    char error[512] = "";
    struct sw_encoder_options options = SW_INIT(struct sw_encoder_options);
    options.threads = threads;
    options.error = error;
    options.error_size = sizeof error;
    int result = sw_encoder_open(client, name, &options, &engine.encoder);
    if (result < 0)
        bench_die("%s", error[0] ? error : sw_strerror(result));
    engine.config.size = sizeof engine.config;
    sw_encoder_get_config(engine.encoder, &engine.config);
    engine.batch.size = sizeof engine.batch;
    return engine;
}

static void engine_close(struct engine *engine)
{
    sw_encoder_close(engine->encoder);
    sw_client_close(engine->client);
    free(engine->lengths);
    free(engine->ids);
    free(engine->hidden);
}

static void engine_check(const struct engine *engine, int result)
{
    char text[512] = "";
    if (result >= 0)
        return;
    sw_encoder_message(engine->encoder, text, sizeof text);
    bench_die("%s", text[0] ? text : sw_strerror(result));
}

static void *grow(void *memory, size_t bytes)
{
    void *larger = realloc(memory, bytes);
    if (!larger)
        bench_die("out of memory");
    return larger;
}

/* Allocates room for so many sequences and tokens. */
static void engine_reserve(struct engine *engine, uint32_t sequences, uint32_t tokens)
{
    engine->lengths = grow(engine->lengths, sequences * sizeof *engine->lengths);
    engine->ids = grow(engine->ids, tokens * sizeof *engine->ids);
    engine->hidden =
        grow(engine->hidden, (size_t)tokens * engine->config.hidden_size * sizeof(float));
    engine->batch.sequences = sequences;
    engine->batch.lengths = engine->lengths;
    engine->batch.ids = engine->ids;
    engine->tokens = tokens;
}

/* The same synthetic ids for every engine that is compared. */
static void engine_set_batch(struct engine *engine, const uint32_t *lengths, uint32_t sequences)
{
    uint32_t tokens = 0, at = 0;
    for (uint32_t s = 0; s < sequences; s++)
        tokens += lengths[s];
    engine_reserve(engine, sequences, tokens);
    for (uint32_t s = 0; s < sequences; s++) {
        engine->lengths[s] = lengths[s];
        for (uint32_t i = 0; i < lengths[s]; i++)
            engine->ids[at++] =
                (int32_t)((1000 + (s * 131 + i * 7919) % 25000) % engine->config.vocab_size);
    }
}

/* Returns the time of the pass in seconds. */
static double engine_pass(struct engine *engine)
{
    struct sw_encoder_output output = SW_INIT(struct sw_encoder_output);
    output.last_hidden_state = engine->hidden;
    uint64_t start = bench_now_ns();
    int result = sw_encoder_forward(engine->encoder, &engine->batch, &output);
    uint64_t end = bench_now_ns();
    engine_check(engine, result);
    return (double)(end - start) / 1e9;
}

/* ---- by itself ------------------------------------------------------------------------------- */

static void measure_cell(struct report *report, struct engine *engine, const char *cell,
                         unsigned rounds)
{
    unsigned batch, length;
    char rest, key[64], label[64];
    if (sscanf(cell, "%ux%u%c", &batch, &length, &rest) != 2 || batch == 0 || length == 0 ||
        batch > 4096 || length > engine->config.max_positions)
        bench_die("--cells takes BATCHxLENGTH, such as 8x128, of at most %u tokens, not '%s'",
                  engine->config.max_positions, cell);
    uint32_t *lengths = grow(NULL, batch * sizeof *lengths);
    for (unsigned i = 0; i < batch; i++)
        lengths[i] = length;
    engine_set_batch(engine, lengths, batch);
    free(lengths);
    struct series rates = {0};
    engine_pass(engine); /* weights arrive, memory grows */
    engine_pass(engine);
    for (unsigned round = 0; round < rounds; round++)
        series_add(&rates, engine->tokens / engine_pass(engine));
    (void)snprintf(key, sizeof key, "tokens_per_s_%ux%u", batch, length);
    (void)snprintf(label, sizeof label, "%u x %u, tokens/s, median", batch, length);
    report_number(report, key, series_median(&rates), 0, label);
    (void)snprintf(key, sizeof key, "tokens_per_s_p10_%ux%u", batch, length);
    report_number(report, key, series_quantile(&rates, 0.1), 0, "  slowest tenth");
    series_fini(&rates);
}

static void measure(const struct settings *settings, struct engine *engine, const char *name)
{
    struct report report;
    struct sw_inference_stats stats = SW_INIT(struct sw_inference_stats);
    char *cells = strdup(settings->cells), *rest = cells;
    report_init(&report, "bert");
    report_string(&report, "model", name, "model");
    report_integer(&report, "layers", engine->config.layers, "layers");
    report_integer(&report, "hidden_size", engine->config.hidden_size, "hidden size");
    report_integer(&report, "threads", settings->threads, "threads");
    report_integer(&report, "rounds", settings->rounds, NULL);
    for (char *cell; (cell = strsep(&rest, ","));)
        measure_cell(&report, engine, cell, settings->rounds);
    sw_encoder_get_inference_stats(engine->encoder, &stats);
    report_integer(&report, "scratch_bytes", (int64_t)stats.scratch_bytes,
                   "private working memory, bytes");
    free(cells);
    report_print(&report, settings->json);
}

int bench_bert(int argc, char **argv)
{
    struct settings settings = parse(argc, argv);
    struct stage stage;
    stage_open(&stage, &settings.stage);
    sw_client *client = stage_connect(&stage, "swbench bert");
    struct engine engine = engine_open(client, stage.model_name, settings.threads);
    measure(&settings, &engine, stage.model_name);
    engine_close(&engine);
    stage_close(&stage);
    return 0;
}
