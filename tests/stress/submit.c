/* SPDX-License-Identifier: MIT */
/* Threads submit, cancel, collect, close and query handles concurrently, with a real broker and
 * real models; then an executor is destroyed with requests in flight. Every request must end
 * exactly once; a success must have the right bits, and any other request must leave its vector
 * unchanged.
 *
 * A plain program, because Criterion does not run under ThreadSanitizer.
 *   submit-stress SECONDS
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <sw/sw.h>

enum { MODELS = 3, SUBMITTERS = 3, WIDTH = 128, BURST = 6 };

static char directory[] = "/tmp/sw-submit-stress.XXXXXX";
static pid_t broker;
static sw_client *client;
static sw_executor *executor;
static sw_encoder *shared;
static float expected[MODELS][WIDTH];
static _Atomic bool ending;
static _Atomic uint64_t submitted, ended, succeeded, cancelled, expired;

static void clean_up(void)
{
    char command[128];
    if (broker > 0) {
        (void)kill(broker, SIGKILL);
        (void)waitpid(broker, NULL, 0);
    }
    (void)snprintf(command, sizeof command, "rm -rf '%s'", directory);
    if (system(command) != 0)
        fprintf(stderr, "submit-stress: cannot remove %s\n", directory);
}

static _Noreturn void fail(const char *what, const char *why)
{
    fprintf(stderr, "submit-stress: %s: %s\n", what, why);
    clean_up();
    _exit(1);
}

static void must(const char *what, int code)
{
    if (code < 0)
        fail(what, sw_strerror(code));
}

/* ---- a broker -------------------------------------------------------------------------------- */

static pid_t start(const char *const argv[])
{
    pid_t child = fork();
    if (child == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (!freopen("/dev/null", "w", stdout))
            _exit(127);
        execv(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    if (child < 0)
        fail("fork", strerror(errno));
    return child;
}

static void start_broker(void)
{
    static char catalog[64], path[96], seed[4], address[64];
    int status = 0;
    if (!mkdtemp(directory))
        fail("mkdtemp", strerror(errno));
    (void)snprintf(catalog, sizeof catalog, "%s/catalog", directory);
    (void)snprintf(address, sizeof address, "%s/sock", directory);
    if (mkdir(catalog, 0700) < 0)
        fail(catalog, strerror(errno));
    for (int i = 0; i < MODELS; i++) {
        (void)snprintf(path, sizeof path, "%s/m%d", catalog, i);
        (void)snprintf(seed, sizeof seed, "%d", i + 1);
        pid_t child =
            start((const char *const[]){SW_BUILD_DIR "/swchunk", "synth", "bert-tiny", path,
                                        "--vocab-size", "500", "--seed", seed, NULL});
        if (waitpid(child, &status, 0) != child || status)
            fail("swchunk synth", "failed");
    }
    broker = start((const char *const[]){SW_BUILD_DIR "/swbrokerd", "--chunks-dir", catalog,
                                         "--cache-size", "32M", "--socket", address, NULL});
    struct sw_client_options options = SW_INIT(struct sw_client_options);
    options.socket_path = address;
    int result = -ENOENT;
    for (int i = 0; i < 600 && (result = sw_client_open(&options, &client)) < 0; i++) {
        if (waitpid(broker, NULL, WNOHANG) == broker)
            fail("swbrokerd", "ended");
        (void)poll(NULL, 0, 50);
    }
    must("connecting", result);
}

/* ---- requests -------------------------------------------------------------------------------- */

struct ask {
    struct sw_encoder_batch batch;
    struct sw_encoder_request request;
    uint32_t length;
    int32_t ids[4];
    float vector[WIDTH];
    int model;
    _Atomic int ends;
};

static struct ask *new_ask(int model)
{
    struct ask *ask = calloc(1, sizeof *ask);
    if (!ask)
        fail("calloc", "no memory");
    ask->model = model;
    ask->length = 4;
    for (int i = 0; i < 4; i++)
        ask->ids[i] = 17 * i + 3;
    ask->batch = (struct sw_encoder_batch){
        .size = sizeof ask->batch, .sequences = 1, .lengths = &ask->length, .ids = ask->ids};
    ask->request = (struct sw_encoder_request){.size = sizeof ask->request,
                                               .work = SW_WORK_EMBED,
                                               .batch = &ask->batch,
                                               .pooling = SW_POOLING_MEAN,
                                               .embeddings = ask->vector,
                                               .embeddings_capacity = SIZE_MAX,
                                               .context = ask};
    return ask;
}

static bool is_zero(const struct ask *ask)
{
    static const float zeros[WIDTH];
    return memcmp(ask->vector, zeros, sizeof zeros) == 0;
}

static void judge(struct ask *ask, int result, const char *message)
{
    if (atomic_fetch_add(&ask->ends, 1) != 0)
        fail("a request", "ended twice");
    if (result == 0) {
        succeeded++;
        if (memcmp(ask->vector, expected[ask->model], sizeof ask->vector))
            fail("a success", "with other bits");
        return;
    }
    if (result == -ECANCELED)
        cancelled++;
    else if (result == -ETIMEDOUT)
        expired++;
    else
        fail("a request", message);
    if (!is_zero(ask))
        fail("a request that failed", "wrote its vector");
}

static void *collector(void *unused)
{
    (void)unused;
    struct pollfd poller = {.fd = sw_executor_fd(executor), .events = POLLIN};
    while (!ending || ended < submitted) {
        struct sw_completion done = SW_INIT(struct sw_completion);
        int result = sw_executor_collect(executor, &done);
        must("collect", result);
        if (result == 0) {
            (void)poll(&poller, 1, 100);
            continue;
        }
        judge(done.context, done.result, done.message);
        free(done.context);
        ended++;
    }
    return NULL;
}

static sw_encoder *open_model(int model)
{
    struct sw_encoder_options options = SW_INIT(struct sw_encoder_options);
    char name[16];
    sw_encoder *encoder = NULL;
    options.executor = executor;
    (void)snprintf(name, sizeof name, "m%d", model);
    must(name, sw_encoder_open(client, name, &options, &encoder));
    return encoder;
}

static void submit_one(sw_encoder *encoder, int model, unsigned *seed)
{
    struct ask *ask = new_ask(model);
    uint64_t id = 0;
    if (rand_r(seed) % 4 == 0)
        ask->request.timeout_ms = 1 + rand_r(seed) % 5;
    submitted++;
    int result = sw_encoder_submit(encoder, &ask->request, &id);
    if (result == SW_EFULL) { /* the collector lags */
        submitted--;
        free(ask);
        (void)poll(NULL, 0, 1);
        return;
    }
    must("submit", result);
    if (rand_r(seed) % 3 == 0) {
        result = sw_executor_cancel(executor, id);
        if (result != -ENOENT)
            must("cancel", result);
    }
}

/* Makes all other calls on a handle meanwhile. */
static void disturb(sw_encoder *encoder, unsigned *seed)
{
    struct sw_inference_stats stats = SW_INIT(struct sw_inference_stats);
    struct sw_executor_stats figures = SW_INIT(struct sw_executor_stats);
    char text[64];
    switch (rand_r(seed) % 6) {
    case 0:
        must("stats", sw_encoder_get_inference_stats(encoder, &stats));
        break;
    case 1:
        must("cache size", sw_encoder_set_cache_size(encoder, (uint32_t)(rand_r(seed) % 4)));
        break;
    case 2:
        sw_encoder_clear_cache(encoder);
        break;
    case 3:
        sw_encoder_reset_inference_stats(encoder);
        break;
    case 4:
        must("figures", sw_executor_get_stats(executor, &figures));
        break;
    default:
        (void)sw_encoder_message(encoder, text, sizeof text);
    }
}

static void *submitter(void *number)
{
    unsigned seed = *(const unsigned *)number;
    while (!ending) {
        int model = rand_r(&seed) % MODELS;
        sw_encoder *encoder = open_model(model);
        for (int i = 0; i < BURST; i++) {
            submit_one(encoder, model, &seed);
            submit_one(shared, 0, &seed);
            disturb(rand_r(&seed) % 2 ? encoder : shared, &seed);
        }
        sw_encoder_close(encoder); /* some requests are still queued or running */
    }
    return NULL;
}

/* Blocking calls on the shared handle; another thread sometimes cancels one through its word. */
static int32_t word;

static void *canceller(void *unused)
{
    (void)unused;
    for (int32_t value = 0; !ending; value = !value) {
        __atomic_store_n(&word, value, __ATOMIC_RELAXED);
        (void)poll(NULL, 0, 1);
    }
    return NULL;
}

static void call_until(uint64_t end_ms)
{
    struct timespec now;
    do {
        struct ask *ask = new_ask(0);
        char text[128] = "";
        ask->request.cancelled = &word;
        int result = sw_encoder_run(shared, &ask->request);
        (void)sw_encoder_message(shared, text, sizeof text);
        judge(ask, result, text);
        free(ask);
        (void)clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000 < end_ms);
}

static void make_executor(uint32_t threads)
{
    struct sw_executor_options options = SW_INIT(struct sw_executor_options);
    options.threads = threads;
    options.requests = 64;
    must("creating an executor", sw_executor_create(&options, &executor));
}

/* Destroys an executor while a thread submits and nobody collects: a refusal must state the reason.
 */
static void destroy_in_flight(void)
{
    struct ask *asks[24];
    make_executor(2);
    sw_encoder *berts[2] = {open_model(1), open_model(2)};
    uint64_t id;
    for (int i = 0; i < 24; i++) {
        asks[i] = new_ask(1 + i % 2);
        must("submit", sw_encoder_submit(berts[i % 2], &asks[i]->request, &id));
    }
    sw_executor_destroy(executor);
    for (int i = 0; i < 24; i++) {
        if (!is_zero(asks[i]) &&
            memcmp(asks[i]->vector, expected[asks[i]->model], sizeof expected[0]))
            fail("a request of a destroyed executor", "half wrote its vector");
        free(asks[i]);
    }
    struct ask *late = new_ask(1);
    if (sw_encoder_submit(berts[0], &late->request, &id) != -ESHUTDOWN)
        fail("a submission to a destroyed executor", "was not refused");
    free(late);
    sw_encoder_close(berts[0]);
    sw_encoder_close(berts[1]);
}

int main(int argc, char **argv)
{
    unsigned seconds = argc > 1 ? (unsigned)atoi(argv[1]) : 3;
    static unsigned numbers[SUBMITTERS];
    pthread_t threads[SUBMITTERS], other[2];
    start_broker();
    make_executor(2);
    for (int i = 0; i < MODELS; i++) {
        sw_encoder *encoder = open_model(i);
        struct ask *ask = new_ask(i);
        must("a first pass", sw_encoder_run(encoder, &ask->request));
        memcpy(expected[i], ask->vector, sizeof expected[i]);
        free(ask);
        sw_encoder_close(encoder);
    }
    shared = open_model(0);
    if (pthread_create(&other[0], NULL, collector, NULL) ||
        pthread_create(&other[1], NULL, canceller, NULL))
        fail("pthread_create", "no thread");
    for (unsigned i = 0; i < SUBMITTERS; i++) {
        numbers[i] = i + 1;
        if (pthread_create(&threads[i], NULL, submitter, &numbers[i]))
            fail("pthread_create", "no thread");
    }
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    call_until(((uint64_t)now.tv_sec + seconds) * 1000);
    ending = true;
    for (int i = 0; i < SUBMITTERS; i++)
        (void)pthread_join(threads[i], NULL);
    for (int i = 0; i < 2; i++)
        (void)pthread_join(other[i], NULL);
    sw_encoder_close(shared);
    sw_executor_destroy(executor);
    for (int i = 0; i < 5; i++)
        destroy_in_flight();
    sw_client_close(client);
    clean_up();
    printf("submit-stress: %llu requests ended: %llu succeeded, %llu cancelled, %llu expired\n",
           (unsigned long long)ended, (unsigned long long)succeeded, (unsigned long long)cancelled,
           (unsigned long long)expired);
    if (!succeeded || !cancelled) {
        fprintf(stderr, "submit-stress: some kind of ending never occurred\n");
        return 1;
    }
    return 0;
}
