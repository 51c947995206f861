/* SPDX-License-Identifier: MIT */
/* swbench serve: keeps a BERT model open and times passes on request.
 *
 * For comparisons in which several engines stay loaded and take turns in short bursts
 * (bench/peers). Requests are lines on stdin; each is answered by one line of JSON on stdout:
 *
 *   (start)         {"ready":true,"engine":…,"threads":…,"load_ms":…}
 *   batch L L L …   sequences of these lengths, with synthetic ids: {"sequences":…,"tokens":…}
 *   run N           N passes of the batch, by wall and process time: {"ns":[…],"cpu_ns":[…]}
 *   quit            exit, like the end of the input
 *
 * A request that fails is answered with {"error":…}. Only last_hidden_state is computed, and only
 * sw_encoder_forward is timed. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <sw/sw.h>

#include "lib/bench.h"
#include "lib/options.h"

#define SEQUENCES_MAX 4096
#define PASSES_MAX    100000

struct server {
    sw_encoder *encoder;
    struct sw_encoder_config config;
    uint32_t lengths[SEQUENCES_MAX];
    uint32_t sequences; /* 0: no batch yet */
    uint32_t tokens;
    int32_t *ids;  /* [tokens] */
    float *hidden; /* [tokens, hidden_size] */
};

struct settings {
    struct stage_options stage;
    uint32_t threads;
};

static struct settings parse(int argc, char **argv)
{
    struct settings settings = {.stage = {.shape = "minilm-l6"}, .threads = 1};
    const struct cli_option table[] = {
        {"model", "DIR", "a chunk directory (default: a synthetic minilm-l6)",
         .text = &settings.stage.model},
        {"socket", "PATH", "a running broker that serves the model (default: start one)",
         .text = &settings.stage.socket},
        {"threads", "N", "threads of the engine (default: 1)", .number = &settings.threads,
         .least = 1, .most = 1024},
        {0},
    };
    bench_parse(
        argc, argv, "serve",
        "Keep a BERT model open and time passes on request, for comparisons in alternation.\n"
        "Read lines: 'batch LENGTH…', 'run COUNT', 'quit'; answer each with a line of JSON.",
        table, NULL);
    return settings;
}

static void answer(json_t *object)
{
    if (!object || json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(12)) < 0)
        bench_die("cannot write an answer");
    putchar('\n');
    fflush(stdout);
    json_decref(object);
}

static void answer_error(const char *message)
{
    answer(json_pack("{s:s}", "error", message));
}

/* The next number of a request; 0 if it is not a number from 1 to max. False: end of the line. */
static bool next_number(char **rest, uint32_t max, uint32_t *ret)
{
    const char *word = strtok_r(NULL, " \t\r\n", rest);
    if (!word)
        return false;
    char *end;
    errno = 0;
    unsigned long value = strtoul(word, &end, 10);
    *ret = errno || *end || value > max ? 0 : (uint32_t)value;
    return true;
}

static void serve_batch(struct server *server, char **rest)
{
    uint32_t count = 0, tokens = 0, length;
    server->sequences = 0;
    while (next_number(rest, server->config.max_positions, &length)) {
        if (length == 0 || count == SEQUENCES_MAX) {
            answer_error(length ? "batch: too many sequences"
                                : "batch takes lengths, from 1 to the model's positions");
            return;
        }
        server->lengths[count++] = length;
        tokens += length;
    }
    if (!count) {
        answer_error("batch takes lengths, from 1 to the model's positions");
        return;
    }
    server->sequences = count;
    server->tokens = tokens;
    size_t values = (size_t)server->tokens * server->config.hidden_size;
    free(server->ids);
    free(server->hidden);
    server->ids = malloc(server->tokens * sizeof *server->ids);
    server->hidden = malloc(values * sizeof *server->hidden);
    if (!server->ids || !server->hidden)
        bench_die("no memory for %u tokens", server->tokens);
    for (uint32_t t = 0; t < server->tokens; t++)
        server->ids[t] = (int32_t)((uint64_t)t * 7919 % server->config.vocab_size);
    answer(json_pack("{s:I, s:I}", "sequences", (json_int_t)server->sequences, "tokens",
                     (json_int_t)server->tokens));
}

static uint64_t processor_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void serve_run(struct server *server, char **rest)
{
    uint32_t passes = 0;
    if (!next_number(rest, PASSES_MAX, &passes) || passes == 0 || !server->sequences) {
        answer_error(passes ? "run needs a batch first" : "run takes a number of passes");
        return;
    }
    struct sw_encoder_batch batch = SW_INIT(struct sw_encoder_batch);
    batch.sequences = server->sequences;
    batch.lengths = server->lengths;
    batch.ids = server->ids;
    struct sw_encoder_output output = SW_INIT(struct sw_encoder_output);
    output.last_hidden_state = server->hidden;
    json_t *wall = json_array(), *processor = json_array();
    for (uint32_t pass = 0; pass < passes; pass++) {
        uint64_t began = processor_ns(), start = bench_now_ns();
        int result = sw_encoder_forward(server->encoder, &batch, &output);
        uint64_t wall_ns = bench_now_ns() - start, processor_time = processor_ns() - began;
        if (result < 0) {
            char text[512] = "";
            (void)sw_encoder_message(server->encoder, text, sizeof text);
            json_decref(wall);
            json_decref(processor);
            answer_error(text[0] ? text : sw_strerror(result));
            return;
        }
        json_array_append_new(wall, json_integer((json_int_t)wall_ns));
        json_array_append_new(processor, json_integer((json_int_t)processor_time));
    }
    answer(json_pack("{s:o, s:o}", "ns", wall, "cpu_ns", processor));
}

static void serve(struct server *server)
{
    char *line = NULL;
    size_t capacity = 0;
    while (getline(&line, &capacity, stdin) > 0) {
        char *rest;
        const char *request = strtok_r(line, " \t\r\n", &rest);
        if (request && strcmp(request, "quit") == 0)
            break;
        if (request && strcmp(request, "batch") == 0)
            serve_batch(server, &rest);
        else if (request && strcmp(request, "run") == 0)
            serve_run(server, &rest);
        else
            answer_error("unknown request; use batch, run or quit");
    }
    free(line);
}

int bench_serve(int argc, char **argv)
{
    struct settings settings = parse(argc, argv);
    struct stage stage;
    stage_open(&stage, &settings.stage);
    uint64_t start = bench_now_ns();
    sw_client *client = stage_connect(&stage, "swbench serve");
    struct sw_encoder_options options = SW_INIT(struct sw_encoder_options);
    options.threads = settings.threads;
    struct server server = {.config = SW_INIT(struct sw_encoder_config)};
    bench_check(sw_encoder_open(client, stage.model_name, &options, &server.encoder), client,
                stage.model_name);
    bench_check(sw_encoder_get_config(server.encoder, &server.config), client, stage.model_name);
    char engine[64];
    (void)snprintf(engine, sizeof engine, "surfing-weights %s", sw_version());
    answer(json_pack("{s:b, s:s, s:I, s:f}", "ready", 1, "engine", engine, "threads",
                     (json_int_t)settings.threads, "load_ms",
                     (double)(bench_now_ns() - start) / 1e6));
    serve(&server);
    sw_encoder_close(server.encoder);
    sw_client_close(client);
    stage_close(&stage);
    free(server.ids);
    free(server.hidden);
    return 0;
}
