/* SPDX-License-Identifier: MIT */
/* Two or more models on one executor, driven by poll: no thread of the program waits for a model.
 *
 *     example-event-loop MODEL[,MODEL...] TEXT...
 *
 * Submits every text to every model and prints a line per completion, in the order of arrival:
 * model, the first number of the embedding, the text. A real loop has more descriptors to poll. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sw/sw.h>

enum { MODELS_MAX = 8, DEADLINE_MS = 10000 };

struct job {
    const char *model, *text;
    struct sw_encoding tokens; /* inputs and outputs stay in place until the completion arrives */
    float *vector;
};

static int fail(int code, const char *message)
{
    fprintf(stderr, "event_loop: %s\n", message && *message ? message : sw_strerror(code));
    return code;
}

static int submit(sw_encoder *encoder, const char *model, const char *text)
{
    struct sw_encoder_config config = SW_INIT(struct sw_encoder_config);
    struct sw_encode_options options = SW_INIT(struct sw_encode_options);
    struct sw_encoder_batch batch = SW_INIT(struct sw_encoder_batch);
    struct sw_encoder_request request = SW_INIT(struct sw_encoder_request);
    const sw_tokenizer *tokenizer;
    uint64_t id;
    struct job *job = calloc(1, sizeof *job);
    int result = job ? sw_encoder_get_config(encoder, &config) : -ENOMEM;
    if (result == 0)
        result = sw_encoder_tokenizer(encoder, &tokenizer);
    options.max_tokens = config.max_positions;
    if (result == 0)
        result =
            sw_tokenizer_encode(tokenizer, text, strlen(text), NULL, 0, &options, &job->tokens);
    if (result == 0 && !(job->vector = malloc(config.embedding_size * sizeof *job->vector)))
        result = -ENOMEM;
    if (result == 0) {
        job->model = model, job->text = text;
        batch.sequences = 1, batch.lengths = &job->tokens.count, batch.ids = job->tokens.ids;
        request.work = SW_WORK_EMBED;
        request.batch = &batch; /* copied; the arrays that it points to are borrowed */
        request.embeddings = job->vector;
        request.embeddings_capacity = config.embedding_size;
        request.timeout_ms = DEADLINE_MS;
        request.context = job;
        result = sw_encoder_submit(encoder, &request, &id);
    }
    if (result < 0 && job) {
        sw_encoding_fini(&job->tokens);
        free(job->vector);
        free(job);
    }
    return result;
}

/* Takes every completion there is. Returns the code of the first request that failed, or 0. */
static int collect(sw_executor *executor, int *in_flight)
{
    struct sw_completion done = SW_INIT(struct sw_completion);
    int result = 0;
    for (; sw_executor_collect(executor, &done) == 1; --*in_flight) {
        struct job *job = done.context;
        if (done.result == 0)
            printf("%s %.9g %s\n", job->model, (double)job->vector[0], job->text);
        else if (result == 0)
            result = fail(done.result, done.message);
        sw_encoding_fini(&job->tokens);
        free(job->vector);
        free(job);
    }
    return result;
}

static int run(sw_executor *executor, sw_encoder **encoders, char **names, int count, char **texts)
{
    struct pollfd ready = {.fd = sw_executor_fd(executor), .events = POLLIN};
    int in_flight = 0, result = 0;
    for (; *texts && result == 0; texts++)
        for (int i = 0; i < count && result == 0; i++) {
            result = submit(encoders[i], names[i], *texts);
            if (result == 0)
                in_flight++;
            else
                fail(result, NULL);
        }
    while (in_flight > 0) {
        if (poll(&ready, 1, -1) < 0 && errno != EINTR)
            return fail(-errno, NULL);
        int failed = collect(executor, &in_flight);
        result = result ? result : failed;
    }
    return result;
}

int main(int argc, char **argv)
{
    char why[512] = "", *names[MODELS_MAX];
    struct sw_client_options session = SW_INIT(struct sw_client_options);
    struct sw_executor_options threads = SW_INIT(struct sw_executor_options);
    struct sw_encoder_options options = SW_INIT(struct sw_encoder_options);
    sw_client *client = NULL;
    sw_executor *executor = NULL;
    sw_encoder *encoders[MODELS_MAX];
    int opened = 0;
    if (argc < 3) {
        fprintf(stderr, "Usage: event_loop MODEL[,MODEL...] TEXT...\n");
        return 2;
    }
    session.error = options.error = threads.error = why;
    session.error_size = options.error_size = threads.error_size = sizeof why;
    threads.threads = 2;
    int result = sw_client_open(&session, &client);
    if (result == 0)
        result = sw_executor_create(&threads, &executor);
    options.executor = executor;
    for (char *name = strtok(argv[1], ","); result == 0 && name; name = strtok(NULL, ",")) {
        if (opened == MODELS_MAX)
            result = -E2BIG;
        else if ((result = sw_encoder_open(client, name, &options, &encoders[opened])) == 0)
            names[opened++] = name;
    }
    if (result < 0)
        fail(result, why);
    else
        result = run(executor, encoders, names, opened, argv + 2);
    for (int i = 0; i < opened; i++)
        sw_encoder_close(encoders[i]);
    sw_executor_destroy(executor);
    sw_client_close(client);
    return result < 0;
}
