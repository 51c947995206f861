/* SPDX-License-Identifier: MIT */
/* The connection and the model behind a command. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "programs/bert/command.h"

static uint64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int worker_open(const char *command, const struct command_options *options, struct worker *worker)
{
    *worker = (struct worker){.command = command, .options = *options, .started_ns = now_ns()};
    worker->config.size = sizeof worker->config;
    char message[1024] = "";
    struct sw_client_options client = SW_INIT(struct sw_client_options);
    client.socket_path = options->socket;
    client.error = message;
    client.error_size = sizeof message;
    int result = sw_client_open(&client, &worker->client);
    if (result < 0)
        return command_fail(command, "%s", *message ? message : sw_strerror(result));
    struct sw_encoder_options encoder = SW_INIT(struct sw_encoder_options);
    encoder.threads = options->threads;
    encoder.error = message;
    encoder.error_size = sizeof message;
    result = sw_encoder_open(worker->client, options->model, &encoder, &worker->encoder);
    if (result < 0)
        return command_fail(command, "%s", *message ? message : sw_strerror(result));
    result = sw_encoder_get_config(worker->encoder, &worker->config);
    return result < 0 ? worker_fail(worker, result) : EXIT_DONE;
}

int worker_fail(const struct worker *worker, int code)
{
    char message[1024] = "";
    (void)sw_encoder_message(worker->encoder, message, sizeof message);
    return command_fail(worker->command, "%s", *message ? message : sw_strerror(code));
}

int worker_tokenizer(struct worker *worker, const sw_tokenizer **ret_tokenizer)
{
    int result = sw_encoder_tokenizer(worker->encoder, ret_tokenizer);
    return result < 0 ? worker_fail(worker, result) : EXIT_DONE;
}

void worker_close(struct worker *worker)
{
    if (worker->encoder)
        sw_encoder_close(worker->encoder);
    if (worker->client)
        sw_client_close(worker->client);
}

void worker_print_stats(const struct worker *worker, uint64_t texts, uint64_t cut)
{
    struct sw_inference_stats stats = SW_INIT(struct sw_inference_stats);
    struct sw_client_stats leases = SW_INIT(struct sw_client_stats);
    if (!worker->options.stats || sw_encoder_get_inference_stats(worker->encoder, &stats) < 0 ||
        sw_client_get_stats(worker->client, &leases) < 0)
        return;
    double seconds = (double)(now_ns() - worker->started_ns) / 1e9;
    (void)fprintf(stderr,
                  "%llu texts (%llu cut), %llu tokens, %llu passes in %.3f s: %.0f tokens/s\n"
                  "pass: mean %.3f ms, p50 %.3f ms, p99 %.3f ms; %llu bytes of working memory\n"
                  "leases: %llu hits, %llu misses; %llu bytes of weights mapped\n",
                  (unsigned long long)texts, (unsigned long long)cut,
                  (unsigned long long)stats.tokens, (unsigned long long)stats.passes, seconds,
                  seconds > 0 ? (double)stats.tokens / seconds : 0, stats.mean_ms, stats.p50_ms,
                  stats.p99_ms, (unsigned long long)stats.scratch_bytes,
                  (unsigned long long)leases.hits, (unsigned long long)leases.misses,
                  (unsigned long long)leases.mapped_bytes);
}
