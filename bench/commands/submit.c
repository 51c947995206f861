/* SPDX-License-Identifier: MIT */
/* swbench submit: one event loop drives several models through an executor; how long does the loop
 * stall?
 *
 * The loop is an epoll over two descriptors: the executor's, and a timer that ticks every
 * millisecond in the place of all the other descriptors that a program's loop has. Whenever
 * requests have ended it collects them and submits as many again; of every ten that it submits it
 * calls one off.
 *
 * A stall is the time from epoll_wait's return to the next epoll_wait: so long would any other
 * descriptor have to wait. On a machine whose processors are shared, part of it is the scheduler's:
 * the time in which the loop's thread could have run and did not. The kernel counts that
 * (/proc/thread-self/schedstat); it is read right before and after each turn, outside of what is
 * timed, and reported by itself: the longest stall and the part of it on the run queue, and the
 * longest stall without that part. How late the timer's ticks are seen tells the same from the
 * other side, waiting in epoll_wait included. What a hypervisor takes while the thread runs cannot
 * be told apart in a turn; its share of the whole run is steal_percent.
 *
 * Beside it, in turns: the same loop calling sw_encoder_run itself, once for each model.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <sw/encoder.h>

#include "lib/bench.h"
#include "lib/crew.h"
#include "lib/options.h"

#define MODELS_MAX 64
#define TICK_NS    1000000u

struct settings {
    struct stage_options stage;
    unsigned models, threads, depth, tokens, requests, rounds;
    bool json;
};

static struct settings parse(int argc, char **argv)
{
    struct settings settings = {.stage = {.shape = "minilm-l6"},
                                .models = 8,
                                .threads = 1,
                                .depth = 4,
                                .tokens = 16,
                                .requests = 100,
                                .rounds = 5};
    const struct cli_option table[] = {
        {"model", "DIR", "a chunk directory to copy (default: a synthetic one)",
         .text = &settings.stage.model},
        {"shape", "NAME", "shape of the synthetic model (default: minilm-l6)",
         .text = &settings.stage.shape},
        {"models", "N", "number of models (default: 8)", .number = &settings.models, .least = 1,
         .most = MODELS_MAX},
        {"threads", "N", "threads of the executor (default: 1)", .number = &settings.threads,
         .least = 1, .most = 64},
        {"depth", "N", "requests in flight per model (default: 4)", .number = &settings.depth,
         .least = 1, .most = 64},
        {"tokens", "N", "tokens per request (default: 16)", .number = &settings.tokens, .least = 1,
         .most = 512},
        {"requests", "N", "requests per model and round (default: 100)",
         .number = &settings.requests, .least = 1, .most = 1000000},
        {"rounds", "N", "number of rounds (default: 5)", .number = &settings.rounds, .least = 1,
         .most = 1000},
        {0},
    };
    bench_parse(argc, argv, "submit",
                "Drive several models from one event loop and time how long the loop stalls.",
                table, &settings.json);
    return settings;
}

/* ---- models ---------------------------------------------------------------------------------- */

/* A catalog of copies, which the broker treats as different models. */
static void make_catalog(struct stage *stage, struct settings *settings)
{
    char catalog[128], copy[192], size[32];
    (void)snprintf(catalog, sizeof catalog, "%s/catalog", stage->directory);
    if (mkdir(catalog, 0700) < 0)
        bench_die("%s: %s", catalog, strerror(errno));
    for (unsigned i = 0; i < settings->models; i++) {
        (void)snprintf(copy, sizeof copy, "%s/m%u", catalog, i);
        bench_run((const char *const[]){"cp", "-a", stage->model_path, copy, NULL}, NULL);
    }
    uint64_t bytes = stage_model_bytes(stage) * settings->models;
    (void)snprintf(size, sizeof size, "%lluM", (unsigned long long)(bytes / 1000000 * 5 / 4 + 64));
    settings->stage.cache_size = size;
    (void)snprintf(stage->model_path, sizeof stage->model_path, "%s", catalog);
    stage_start_broker(stage, &settings->stage);
    settings->stage.cache_size = NULL;
}

struct slot {
    struct sw_encoder_request request;
    sw_encoder *encoder;
    float *vector;
};

struct world {
    const struct settings *settings;
    sw_client *client;
    sw_executor *executor;
    sw_encoder *berts[MODELS_MAX];
    struct sw_encoder_batch batch;
    uint32_t length;
    int32_t ids[512];
    struct slot *slots; /* [models · depth] */
    int loop, timer, schedstat;
    uint64_t tick_ns; /* when the next tick is due */

    uint64_t submitted, cancelled, ended;
    struct series stalls, stalls_own, late, late_own, requests, submits, blocking;
    double longest, longest_queued; /* ms: of one turn, and its part on the run queue */
};

static void check(const sw_encoder *encoder, int result)
{
    char text[512] = "";
    if (result >= 0)
        return;
    (void)sw_encoder_message(encoder, text, sizeof text);
    bench_die("%s", text[0] ? text : sw_strerror(result));
}

static void open_models(struct world *world)
{
    const struct settings *settings = world->settings;
    struct sw_executor_options how = SW_INIT(struct sw_executor_options);
    struct sw_encoder_options options = SW_INIT(struct sw_encoder_options);
    struct sw_encoder_config config = SW_INIT(struct sw_encoder_config);
    char name[16];
    how.threads = settings->threads;
    how.requests = settings->models * settings->depth;
    if (sw_executor_create(&how, &world->executor) < 0)
        bench_die("cannot create an executor");
    options.executor = world->executor;
    world->slots = calloc(how.requests, sizeof *world->slots);
    if (!world->slots)
        bench_die("out of memory");
    for (unsigned m = 0; m < settings->models; m++) {
        (void)snprintf(name, sizeof name, "m%u", m);
        bench_check(sw_encoder_open(world->client, name, &options, &world->berts[m]), world->client,
                    name);
        check(world->berts[m], sw_encoder_get_config(world->berts[m], &config));
        for (unsigned i = 0; i < settings->depth; i++) {
            struct slot *slot = &world->slots[m * settings->depth + i];
            slot->encoder = world->berts[m];
            slot->vector = calloc(config.hidden_size, sizeof(float));
            if (!slot->vector)
                bench_die("out of memory");
            slot->request = (struct sw_encoder_request){.size = sizeof slot->request,
                                                        .work = SW_WORK_EMBED,
                                                        .batch = &world->batch,
                                                        .pooling = SW_POOLING_MEAN,
                                                        .normalize = 1,
                                                        .embeddings = slot->vector,
                                                        .embeddings_capacity = config.hidden_size,
                                                        .context = slot};
        }
    }
    for (uint32_t i = 0; i < settings->tokens; i++)
        world->ids[i] = (int32_t)((1000 + (uint64_t)i * 7919) % config.vocab_size);
    world->length = settings->tokens;
    world->batch = (struct sw_encoder_batch){
        .size = sizeof world->batch, .sequences = 1, .lengths = &world->length, .ids = world->ids};
}

/* ---- clocks ---------------------------------------------------------------------------------- */

/* The time that this thread has waited for a processor, in nanoseconds. */
static uint64_t run_queue_ns(const struct world *world)
{
    char text[96];
    unsigned long long ran = 0, waited = 0;
    ssize_t length = pread(world->schedstat, text, sizeof text - 1, 0);
    if (length <= 0)
        return 0;
    text[length] = 0;
    return sscanf(text, "%llu %llu", &ran, &waited) == 2 ? waited : 0;
}

/* Ticks of all processors since the machine started: all, and those that a hypervisor took. */
static void processor_ticks(unsigned long long *all, unsigned long long *stolen)
{
    unsigned long long ticks[8] = {0};
    FILE *file = fopen("/proc/stat", "re");
    *all = *stolen = 0;
    if (!file)
        return;
    if (fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &ticks[0], &ticks[1], &ticks[2],
               &ticks[3], &ticks[4], &ticks[5], &ticks[6], &ticks[7]) == 8) {
        for (int i = 0; i < 8; i++)
            *all += ticks[i];
        *stolen = ticks[7];
    }
    fclose(file);
}

static double ms(uint64_t ns)
{
    return (double)ns / 1e6;
}

static double without(double whole, double part)
{
    return whole > part ? whole - part : 0;
}

/* ---- the loop -------------------------------------------------------------------------------- */

static void open_loop(struct world *world)
{
    struct epoll_event event = {.events = EPOLLIN};
    world->schedstat = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
    world->loop = epoll_create1(EPOLL_CLOEXEC);
    world->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    int executors = sw_executor_fd(world->executor);
    if (world->schedstat < 0 || world->loop < 0 || world->timer < 0 || executors < 0)
        bench_die("cannot set up an event loop: %s", strerror(errno));
    event.data.fd = executors;
    int result = epoll_ctl(world->loop, EPOLL_CTL_ADD, executors, &event);
    event.data.fd = world->timer;
    if (result < 0 || epoll_ctl(world->loop, EPOLL_CTL_ADD, world->timer, &event) < 0)
        bench_die("cannot set up an event loop: %s", strerror(errno));
}

static void start_timer(struct world *world)
{
    world->tick_ns = bench_now_ns() + TICK_NS;
    struct itimerspec when = {.it_interval = {.tv_nsec = TICK_NS},
                              .it_value = {.tv_sec = (time_t)(world->tick_ns / 1000000000u),
                                           .tv_nsec = (long)(world->tick_ns % 1000000000u)}};
    if (timerfd_settime(world->timer, TFD_TIMER_ABSTIME, &when, NULL) < 0)
        bench_die("cannot set a timer: %s", strerror(errno));
}

static void submit(struct world *world, struct slot *slot)
{
    uint64_t id = 0, start = bench_now_ns();
    check(slot->encoder, sw_encoder_submit(slot->encoder, &slot->request, &id));
    series_add(&world->submits, (double)(bench_now_ns() - start) / 1e3);
    if (++world->submitted % 10 == 0)
        (void)sw_executor_cancel(world->executor, id); /* it may have ended already */
}

static void collect(struct world *world, uint64_t most)
{
    struct sw_completion done = SW_INIT(struct sw_completion);
    int result;
    while ((result = sw_executor_collect(world->executor, &done)) == 1) {
        if (done.result == -ECANCELED)
            world->cancelled++;
        else if (done.result < 0)
            bench_die("%s", done.message);
        else
            series_add(&world->requests, done.queued_ms + done.run_ms);
        world->ended++;
        if (world->submitted < most)
            submit(world, done.context);
    }
    if (result < 0)
        bench_die("cannot collect: %s", sw_strerror(result));
}

/* The loop's time away from epoll_wait, and how much of it was spent on the run queue. Returns the
 * run queue's count. */
static uint64_t note_turn(struct world *world, uint64_t start_ns, uint64_t queued_before)
{
    uint64_t end = bench_now_ns(), queued = run_queue_ns(world);
    double stall = ms(end - start_ns), waited = ms(queued - queued_before);
    series_add(&world->stalls, stall);
    series_add(&world->stalls_own, without(stall, waited));
    if (stall > world->longest) {
        world->longest = stall;
        world->longest_queued = waited;
    }
    return queued;
}

/* One turn; queued_before is the run queue's count at the end of the turn before. Returns it now.
 */
static uint64_t turn(struct world *world, uint64_t most, uint64_t queued_before)
{
    struct epoll_event events[2];
    int count = epoll_wait(world->loop, events, 2, 30000);
    if (count <= 0)
        bench_die("no progress for half a minute");
    uint64_t queued = run_queue_ns(world), start = bench_now_ns();
    for (int i = 0; i < count; i++) {
        if (events[i].data.fd != world->timer) {
            collect(world, most);
            continue;
        }
        uint64_t ticks = 0;
        if (read(world->timer, &ticks, sizeof ticks) != sizeof ticks)
            continue;
        double late = start > world->tick_ns ? ms(start - world->tick_ns) : 0;
        series_add(&world->late, late);
        series_add(&world->late_own, without(late, ms(queued - queued_before)));
        world->tick_ns += ticks * TICK_NS;
    }
    return note_turn(world, start, queued);
}

/* Returns the seconds it took. */
static double round_of_requests(struct world *world)
{
    const struct settings *settings = world->settings;
    uint64_t most = world->submitted + (uint64_t)settings->requests * settings->models;
    start_timer(world);
    uint64_t queued = run_queue_ns(world), start = bench_now_ns();
    for (unsigned i = 0; i < settings->models * settings->depth && world->submitted < most; i++)
        submit(world, &world->slots[i]);
    queued = note_turn(world, start, queued); /* a loop would submit from inside a turn */
    while (world->ended < most)
        queued = turn(world, most, queued);
    return (double)(bench_now_ns() - start) / 1e9;
}

static void round_of_calls(struct world *world)
{
    for (unsigned m = 0; m < world->settings->models; m++) {
        uint64_t start = bench_now_ns();
        check(world->berts[m],
              sw_encoder_run(world->berts[m], &world->slots[m * world->settings->depth].request));
        series_add(&world->blocking, ms(bench_now_ns() - start));
    }
}

/* ---- the report ------------------------------------------------------------------------------ */

static void report_series(struct report *report, struct series *series, const char *what,
                          const char *unit, const char *words)
{
    static const struct {
        const char *suffix, *words;
        double quantile;
    } parts[] = {{"p50", "median", 0.5}, {"p99", "99th percentile", 0.99}, {"max", "longest", 1}};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        char key[64], label[96];
        (void)snprintf(key, sizeof key, "%s_%s_%s", what, unit, parts[i].suffix);
        (void)snprintf(label, sizeof label, "%s, %s, %s", words, unit, parts[i].words);
        report_number(report, key, series_quantile(series, parts[i].quantile), 3, label);
    }
}

static void print(struct world *world, double seconds, double steal)
{
    const struct settings *settings = world->settings;
    struct report report;
    report_init(&report, "submit");
    report_integer(&report, "models", settings->models, "models");
    report_integer(&report, "threads", settings->threads, "threads of the executor");
    report_integer(&report, "depth", settings->depth, "requests in flight per model");
    report_integer(&report, "tokens", settings->tokens, "tokens of a request");
    report_integer(&report, "requests", (int64_t)world->ended, "requests");
    report_integer(&report, "cancelled", (int64_t)world->cancelled, "of them cancelled");
    report_integer(&report, "turns", (int64_t)world->stalls.count, "turns of the loop");
    report_number(&report, "requests_per_s", (double)world->ended / seconds, 0, "requests/s");
    report_series(&report, &world->requests, "request", "ms", "a request, queue and pass");
    report_series(&report, &world->submits, "submit", "us", "a submission");
    report_series(&report, &world->stalls, "loop_stall", "ms", "stall of the loop");
    report_number(&report, "loop_stall_max_run_queue_ms", world->longest_queued, 3,
                  "  on the run queue, of the longest, ms");
    report_series(&report, &world->stalls_own, "loop_stall_own", "ms",
                  "stall without the run queue");
    report_series(&report, &world->late, "tick_late", "ms", "a tick seen late");
    report_series(&report, &world->late_own, "tick_late_own", "ms", "  without the run queue");
    report_series(&report, &world->blocking, "blocking_stall", "ms",
                  "stall by calling sw_encoder_run");
    report_number(&report, "steal_percent", steal, 2, "processor time stolen, percent");
    report_print(&report, settings->json);
}

static void close_all(struct world *world)
{
    for (unsigned m = 0; m < world->settings->models; m++)
        sw_encoder_close(world->berts[m]);
    sw_executor_destroy(world->executor);
    sw_client_close(world->client);
    for (unsigned i = 0; i < world->settings->models * world->settings->depth; i++)
        free(world->slots[i].vector);
    free(world->slots);
    struct series *const all[] = {&world->stalls,   &world->stalls_own, &world->late,
                                  &world->late_own, &world->requests,   &world->submits,
                                  &world->blocking};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        series_fini(all[i]);
    close(world->loop);
    close(world->timer);
    close(world->schedstat);
}

int bench_submit(int argc, char **argv)
{
    struct settings settings = parse(argc, argv);
    struct world world = {.settings = &settings};
    struct stage stage;
    stage_prepare(&stage, &settings.stage);
    make_catalog(&stage, &settings);
    world.client = stage_connect(&stage, "swbench submit");
    open_models(&world);
    open_loop(&world);
    round_of_calls(&world); /* weights arrive */
    series_fini(&world.blocking);
    double seconds = 0;
    unsigned long long all[2], stolen[2];
    processor_ticks(&all[0], &stolen[0]);
    for (unsigned round = 0; round < settings.rounds; round++) {
        seconds += round_of_requests(&world);
        round_of_calls(&world);
    }
    processor_ticks(&all[1], &stolen[1]);
    double steal =
        all[1] > all[0] ? 100.0 * (double)(stolen[1] - stolen[0]) / (double)(all[1] - all[0]) : 0;
    print(&world, seconds, steal);
    close_all(&world);
    stage_close(&stage);
    return 0;
}
