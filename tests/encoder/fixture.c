/* SPDX-License-Identifier: MIT */
/* See encoder/fixture.h. */
#include "encoder/fixture.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct sup_broker broker;
sw_client *client;

/* ---- broker and handles ---------------------------------------------------------------------- */

void serve_models(unsigned count, const char *layers, const char *cache_size)
{
    const char *catalog = sup_path("catalog");
    sup_mkdir(catalog);
    for (unsigned i = 0; i < count; i++)
        sup_synth(catalog, sup_format("m%u", i),
                  SUP_ARGS("--layers", layers, "--vocab-size", "1000", "--seed",
                           sup_format("%u", i + 1)));
    broker = sup_broker_start(catalog, cache_size, NULL);
    client = new_client(0);
}

sw_client *new_client(int timeout_ms)
{
    char message[512] = "";
    struct sw_client_options options = SW_INIT(struct sw_client_options);
    sw_client *made = NULL;
    options.socket_path = broker.socket;
    options.timeout_ms = timeout_ms;
    options.error = message;
    options.error_size = sizeof message;
    cr_assert_eq(sw_client_open(&options, &made), 0, "%s", message);
    return made;
}

void stop_serving(void)
{
    sw_client_close(client);
    cr_expect_eq(sup_broker_stop(&broker), 0);
}

void clear_arena(void)
{
    json_decref(sup_swctl(&broker, SUP_ARGS("clear")));
}

sw_executor *new_executor(uint32_t threads, uint32_t requests)
{
    char message[512] = "";
    struct sw_executor_options options = SW_INIT(struct sw_executor_options);
    sw_executor *executor = NULL;
    options.threads = threads;
    options.requests = requests;
    options.error = message;
    options.error_size = sizeof message;
    cr_assert_eq(sw_executor_create(&options, &executor), 0, "%s", message);
    return executor;
}

sw_encoder *open_model(const char *name, sw_executor *executor)
{
    char message[512] = "";
    struct sw_encoder_options options = SW_INIT(struct sw_encoder_options);
    sw_encoder *encoder = NULL;
    options.executor = executor;
    options.error = message;
    options.error_size = sizeof message;
    cr_assert_eq(sw_encoder_open(client, name, &options, &encoder), 0, "%s", message);
    return encoder;
}

void must(const sw_encoder *encoder, int result)
{
    char message[512] = "";
    sw_encoder_message(encoder, message, sizeof message);
    cr_assert_eq(result, 0, "%s: %s", sw_strerror(result), message);
}

void expect_failure(const sw_encoder *encoder, int result, int code, const char *part)
{
    char message[512] = "";
    cr_expect_eq(sw_encoder_message(encoder, message, sizeof message), code);
    cr_expect_eq(result, code, "%d instead of %d: %s", result, code, message);
    cr_expect(strstr(message, part), "\"%s\" should name %s", message, part);
}

/* ---- requests -------------------------------------------------------------------------------- */

struct ask *new_ask(void)
{
    static const uint32_t lengths[VECTORS] = {5, 3};
    static const int32_t ids[8] = {101, 7, 999, 0, 102, 101, 500, 102};
    struct ask *ask = calloc(1, sizeof *ask);
    cr_assert(ask);
    ask->batch = (struct sw_encoder_batch){
        .size = sizeof ask->batch, .sequences = VECTORS, .lengths = lengths, .ids = ids};
    ask->request = (struct sw_encoder_request){.size = sizeof ask->request,
                                               .work = SW_WORK_EMBED,
                                               .batch = &ask->batch,
                                               .pooling = SW_POOLING_MEAN,
                                               .embeddings = ask->vectors,
                                               .embeddings_capacity = SIZE_MAX,
                                               .context = ask};
    for (size_t i = 0; i < VECTORS * WIDTH; i++)
        ask->vectors[i] = 42;
    return ask;
}

struct ask *asks[16];

void make_asks(void)
{
    for (size_t i = 0; i < sizeof asks / sizeof asks[0]; i++)
        asks[i] = new_ask();
}

void free_asks(void)
{
    for (size_t i = 0; i < sizeof asks / sizeof asks[0]; i++)
        free(asks[i]);
}

void *run_blocking(void *argument)
{
    struct blocking *blocking = argument;
    blocking->thread = gettid();
    blocking->result = sw_encoder_run(blocking->encoder, &blocking->ask->request);
    return NULL;
}

void await_asleep(struct blocking *blocking)
{
    char state = 0;
    for (int tries = 0; state != 'S'; tries++) {
        cr_assert_lt(tries, 10000, "the thread does not wait");
        sup_sleep_ms(1);
        if (blocking->thread == 0)
            continue;
        FILE *stat = fopen(sup_format("/proc/self/task/%d/stat", blocking->thread), "re");
        cr_assert(stat && fscanf(stat, "%*d (%*[^)]) %c", &state) == 1);
        (void)fclose(stat);
    }
}

void submit(sw_encoder *encoder, struct ask *ask)
{
    must(encoder, sw_encoder_submit(encoder, &ask->request, &ask->id));
    cr_assert_neq(ask->id, 0);
}

bool is_untouched(const struct ask *ask)
{
    for (size_t i = 0; i < VECTORS * WIDTH; i++)
        if (ask->vectors[i] != 42)
            return false;
    return true;
}

bool same_vectors(const struct ask *a, const struct ask *b)
{
    return memcmp(a->vectors, b->vectors, sizeof a->vectors) == 0;
}

bool readable(sw_executor *executor, int timeout_ms)
{
    struct pollfd poller = {.fd = sw_executor_fd(executor), .events = POLLIN};
    cr_assert_geq(poller.fd, 0);
    return poll(&poller, 1, timeout_ms) == 1 && (poller.revents & POLLIN);
}

struct sw_completion next_completion(sw_executor *executor)
{
    struct sw_completion completion = SW_INIT(struct sw_completion);
    int result = 0;
    while (result == 0) {
        cr_assert(readable(executor, 30000), "no completion in half a minute");
        result = sw_executor_collect(executor, &completion);
    }
    cr_assert_eq(result, 1, "%s", sw_strerror(result));
    return completion;
}

void expect_nothing_more(sw_executor *executor)
{
    struct sw_completion completion = SW_INIT(struct sw_completion);
    cr_expect_eq(sw_executor_collect(executor, &completion), 0);
    cr_expect_not(readable(executor, 0));
}

struct sw_executor_stats executor_stats(sw_executor *executor)
{
    struct sw_executor_stats stats = SW_INIT(struct sw_executor_stats);
    cr_assert_eq(sw_executor_get_stats(executor, &stats), 0);
    return stats;
}

/* ---- the gate -------------------------------------------------------------------------------- */

_Atomic int turns_taken;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t moved = PTHREAD_COND_INITIALIZER;
static int turns_left = -1; /* < 0: open */
static int waiting;

int __real_sw_component_acquire_within(sw_model *model, uint32_t component,
                                       const struct sw_wait *wait, sw_component **ret_component);
int __wrap_sw_component_acquire_within(sw_model *model, uint32_t component,
                                       const struct sw_wait *wait, sw_component **ret_component);

int __wrap_sw_component_acquire_within(sw_model *model, uint32_t component,
                                       const struct sw_wait *wait, sw_component **ret_component)
{
    pthread_mutex_lock(&gate);
    waiting++;
    pthread_cond_broadcast(&moved);
    while (turns_left == 0)
        pthread_cond_wait(&moved, &gate);
    waiting--;
    if (turns_left > 0)
        turns_left--;
    pthread_mutex_unlock(&gate);
    turns_taken++;
    return __real_sw_component_acquire_within(model, component, wait, ret_component);
}

void gate_close_after(int turns)
{
    pthread_mutex_lock(&gate);
    turns_left = turns;
    pthread_mutex_unlock(&gate);
}

void gate_open(void)
{
    pthread_mutex_lock(&gate);
    turns_left = -1;
    pthread_cond_broadcast(&moved);
    pthread_mutex_unlock(&gate);
}

void gate_await(void)
{
    pthread_mutex_lock(&gate);
    while (turns_left != 0 || waiting == 0)
        pthread_cond_wait(&moved, &gate);
    pthread_mutex_unlock(&gate);
}
