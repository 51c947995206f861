/* SPDX-License-Identifier: MIT */
/* swbench redis: loading a model's chunks into the arena through a Redis on a Unix socket, compared
 * with loading them from local files.
 *
 * Two brokers, one Redis: the first broker reads only files; the second prefers the Redis and only
 * reads from it. In turns each evicts the model and loads it again. Measured are the wall time from
 * the request to the answer and the processor time of the broker and, for the Redis, of the server.
 * Files are read with O_DIRECT, so the page cache plays no part.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/crew.h"
#include "lib/options.h"
#include "lib/redis.h"

struct settings {
    struct stage_options stage;
    unsigned rounds;
    bool json;
};

static struct settings parse(int argc, char **argv)
{
    struct settings settings = {.stage = {.shape = "bert-base"}, .rounds = 7};
    const struct cli_option table[] = {
        {"model", "DIR", "a chunk directory (default: a synthetic bert-base, f16)",
         .text = &settings.stage.model},
        {"rounds", "N", "number of rounds (default: 7)", .number = &settings.rounds, .least = 1,
         .most = 10000},
        {0},
    };
    bench_parse(argc, argv, "redis",
                "Load a model through a Redis on a Unix socket and from its files, in turns.",
                table, &settings.json);
    return settings;
}

/* The processor time of a process in seconds. */
static double cpu_seconds(pid_t pid)
{
    char path[64], text[1024];
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "r");
    size_t size = file ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file)
        fclose(file);
    text[size] = 0;
    const char *rest = strrchr(text, ')'); /* a program's name may hold anything */
    unsigned long user, kernel;
    if (!rest || sscanf(rest + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
                        &kernel) != 2)
        bench_die("cannot read %s", path);
    return (double)(user + kernel) / (double)sysconf(_SC_CLK_TCK);
}

static json_t *ask(const struct stage *stage, const char *verb, const char *model)
{
    json_t *request = json_pack("{s:s}", "verb", verb);
    if (model)
        (void)json_object_set_new(request, "model", json_string(model));
    return stage_ask(stage, request);
}

/* One integer of a part of stats. */
static int64_t part_stat(const struct stage *stage, const char *part, const char *key)
{
    json_t *stats = ask(stage, "stats", NULL);
    int64_t value = json_integer_value(json_object_get(json_object_get(stats, part), key));
    json_decref(stats);
    return value;
}

static void wait_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

/* Waits until the broker has a connection for that purpose. */
static void wait_connected(const struct stage *stage, const char *purpose)
{
    for (int tries = 0; tries < 1000; tries++) {
        json_t *stats = ask(stage, "stats", NULL);
        const json_t *redis = json_object_get(stats, "redis");
        bool up = json_is_true(json_object_get(json_object_get(redis, purpose), "up"));
        json_decref(stats);
        if (up)
            return;
        wait_ms(10);
    }
    bench_die("the broker does not connect to its Redis; was it built with the Redis tier?");
}

struct side {
    struct stage *stage;
    pid_t server; /* 0: none beside the broker */
    struct series seconds, cpu;
};

static double side_cpu(const struct side *side)
{
    return cpu_seconds(side->stage->broker) + (side->server ? cpu_seconds(side->server) : 0);
}

/* Evicts the model and loads it again. */
static void load_once(struct side *side, bool count)
{
    json_decref(ask(side->stage, "clear", NULL));
    double cpu = side_cpu(side);
    uint64_t begin_ns = bench_now_ns();
    json_decref(ask(side->stage, "warm", side->stage->model_name));
    double seconds = (double)(bench_now_ns() - begin_ns) / 1e9;
    if (!count)
        return;
    series_add(&side->seconds, seconds);
    series_add(&side->cpu, side_cpu(side) - cpu);
}

static double mean(const struct series *series)
{
    double sum = 0;
    for (size_t i = 0; i < series->count; i++)
        sum += series->values[i];
    return sum / (double)series->count;
}

static void report_side(struct report *report, struct side *side, uint64_t bytes,
                        const char *const keys[3], const char *const labels[3])
{
    double gigabytes = (double)bytes / 1e9;
    report_number(report, keys[0], gigabytes / series_median(&side->seconds), 3, labels[0]);
    report_number(report, keys[1], gigabytes / series_quantile(&side->seconds, 0.9), 3, labels[1]);
    /* the clock of processors ticks too seldom for a median of single loads */
    report_number(report, keys[2], mean(&side->cpu) / gigabytes, 3, labels[2]);
}

static void fill(struct stage *stage, const struct stage_options *options)
{
    stage_start_broker(stage, options);
    wait_connected(stage, "writes");
    json_decref(ask(stage, "push", stage->model_name));
    stage_stop_broker(stage);
}

int bench_redis(int argc, char **argv)
{
    struct settings settings = parse(argc, argv);
    struct stage stage, other;
    struct redis redis;
    struct report report;
    char url[160];
    stage_prepare(&stage, &settings.stage);
    if (!redis_start(&redis, stage.directory, "x", 1))
        bench_die("redis-server is not installed (bash broker/dependencies.sh --tests)");
    (void)snprintf(url, sizeof url, "unix://%s/redis.sock", stage.directory);
    struct stage_options files = settings.stage, tier = settings.stage, writer = settings.stage;
    tier.broker[0] = writer.broker[0] = "--redis-url";
    tier.broker[1] = writer.broker[1] = url;
    tier.broker[2] = writer.broker[2] = "--redis-timeout";
    tier.broker[3] = writer.broker[3] = "10000";
    tier.broker[4] = "--redis-mode";
    tier.broker[5] = "read-only";
    tier.broker[6] = "--redis-order";
    tier.broker[7] = "redis-first";
    other = stage;
    /* a broker's socket and log are in its stage's directory */
    if (snprintf(other.directory, sizeof other.directory, "%s/tier", stage.directory) >=
            (int)sizeof other.directory ||
        mkdir(other.directory, 0700) < 0)
        bench_die("cannot create a directory in %s", stage.directory);
    fill(&other, &writer);
    stage_start_broker(&stage, &files);
    stage_start_broker(&other, &tier);
    wait_connected(&other, "reads");
    struct side from_files = {.stage = &stage},
                from_redis = {.stage = &other, .server = redis.server};
    load_once(&from_files, false); /* reserves the arenas */
    load_once(&from_redis, false);
    for (unsigned round = 0; round < settings.rounds; round++) {
        load_once(round % 2 ? &from_files : &from_redis, true);
        load_once(round % 2 ? &from_redis : &from_files, true);
    }
    uint64_t bytes = stage_model_bytes(&stage);
    if (part_stat(&other, "disk", "loads") != 0)
        bench_die("%lld chunks came from files instead of the Redis",
                  (long long)part_stat(&other, "disk", "loads"));
    report_init(&report, "redis");
    report_string(&report, "model", stage.model_name, "model");
    report_integer(&report, "model_bytes", (int64_t)bytes, "bytes of its chunks");
    report_integer(&report, "rounds", settings.rounds, "rounds");
    report_side(&report, &from_redis, bytes,
                (const char *const[]){"redis_gb_per_s", "redis_gb_per_s_p10", "redis_cpu_s_per_gb"},
                (const char *const[]){"through the Redis, GB/s", "10th percentile, GB/s",
                                      "processor time with the server's, s/GB"});
    report_side(&report, &from_files, bytes,
                (const char *const[]){"file_gb_per_s", "file_gb_per_s_p10", "file_cpu_s_per_gb"},
                (const char *const[]){"from local files, GB/s", "10th percentile, GB/s",
                                      "processor time, s/GB"});
    report_number(&report, "ratio",
                  series_median(&from_files.seconds) / series_median(&from_redis.seconds), 3,
                  "the Redis's rate to that of files");
    series_fini(&from_files.seconds);
    series_fini(&from_files.cpu);
    series_fini(&from_redis.seconds);
    series_fini(&from_redis.cpu);
    stage_stop_broker(&other);
    redis_stop(&redis);
    stage_close(&stage);
    return report_print(&report, settings.json);
}
