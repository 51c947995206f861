/* SPDX-License-Identifier: MIT */
/* swbench acquire: the cost of a lease of a resident chunk.
 *
 * Measured through libsw's public functions, as in a worker: one thread alone, then the same while
 * a second process leases the same chunk. Baselines, in alternation: open + mmap + close of the
 * same file and, if redis-server is installed, a GET of the same bytes over a Unix socket.
 *
 * A figure is the median over batches of the mean of a batch, because reading the clock takes as
 * long as a lease.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/bench.h"
#include "lib/options.h"
#include "lib/redis.h"

#define BATCH      256 /* leases between two looks at the clock */
#define BATCHES    64  /* of leases in a round */
#define MMAP_BATCH 64
#define REDIS_GETS 2 /* in a round: each copies the whole chunk */

struct settings {
    struct stage_options stage;
    const char *component;
    unsigned rounds;
    bool json, loop;
};

/* Shared by both processes. */
struct shared {
    _Atomic int go; /* 1: the second process leases; 2: it ends */
    _Atomic int busy;
};

struct figures {
    struct series alone, beside, component, file_mmap, redis;
};

static struct settings parse(int argc, char **argv)
{
    struct settings settings = {
        .stage = {.shape = "minilm-l6"}, .component = "layer_0", .rounds = 25};
    const struct cli_option table[] = {
        {"model", "DIR", "a chunk directory (default: a synthetic minilm-l6)",
         .text = &settings.stage.model},
        {"component", "NAME", "component to lease (default: layer_0)", .text = &settings.component},
        {"socket", "PATH", "a running broker that serves the model (default: start one)",
         .text = &settings.stage.socket},
        {"rounds", "N", "number of rounds (default: 25)", .number = &settings.rounds, .least = 1,
         .most = 100000},
        {"loop", NULL, "only lease and release, a million times, for strace or perf",
         .flag = &settings.loop},
        {0},
    };
    bench_parse(argc, argv, "acquire", "Measure acquire + release of a resident chunk.", table,
                &settings.json);
    return settings;
}

static void lease_batch(sw_model *model, uint32_t component, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct sw_lease lease;
        int result = sw_lease_acquire(model, component, &lease);
        if (result == 0)
            result = sw_lease_release(&lease);
        if (result < 0)
            bench_die("a lease failed: %s", sw_strerror(result));
    }
}

static void measure_leases(struct series *series, sw_model *model, uint32_t component)
{
    for (unsigned batch = 0; batch < BATCHES; batch++) {
        uint64_t start = bench_now_ns();
        lease_batch(model, component, BATCH);
        series_add(series, (double)(bench_now_ns() - start) / BATCH);
    }
}

static void measure_components(struct series *series, sw_model *model, uint32_t component)
{
    for (unsigned batch = 0; batch < BATCHES; batch++) {
        uint64_t start = bench_now_ns();
        for (unsigned i = 0; i < BATCH; i++) {
            sw_component *handle;
            int result = sw_component_acquire(model, component, &handle);
            if (result == 0)
                result = sw_component_release(handle);
            if (result < 0)
                bench_die("a component failed: %s", sw_strerror(result));
        }
        series_add(series, (double)(bench_now_ns() - start) / BATCH);
    }
}

static void measure_mmap(struct series *series, const char *path)
{
    uint64_t start = bench_now_ns();
    for (unsigned i = 0; i < MMAP_BATCH; i++) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        struct stat status;
        if (fd < 0 || fstat(fd, &status) < 0)
            bench_die("%s: %s", path, strerror(errno));
        void *address = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_SHARED, fd, 0);
        if (address == MAP_FAILED)
            bench_die("cannot map %s: %s", path, strerror(errno));
        close(fd);
        munmap(address, (size_t)status.st_size);
    }
    series_add(series, (double)(bench_now_ns() - start) / MMAP_BATCH);
}

/* ---- the second process ---------------------------------------------------------------------- */

static void lease_beside(const struct stage *stage, const char *component_name,
                         struct shared *shared)
{
    sw_client *client = stage_connect(stage, "swbench 2");
    sw_model *model;
    bench_check(sw_model_open(client, stage->model_name, &model), client, "swbench");
    int component = sw_model_find(model, component_name);
    for (;;) {
        int go = atomic_load_explicit(&shared->go, memory_order_relaxed);
        if (go == 2)
            break;
        atomic_store_explicit(&shared->busy, go, memory_order_relaxed);
        if (go == 1)
            lease_batch(model, (uint32_t)component, BATCH);
        else
            nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
    }
    sw_model_close(model);
    sw_client_close(client);
}

static pid_t start_second(const struct stage *stage, const char *component, struct shared *shared)
{
    pid_t child = fork();
    if (child < 0)
        bench_die("cannot fork: %s", strerror(errno));
    if (child > 0)
        return child;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(stage->keeper);
    lease_beside(stage, component, shared);
    _exit(0);
}

static void set_second(struct shared *shared, int go)
{
    atomic_store_explicit(&shared->go, go, memory_order_relaxed);
    while (atomic_load_explicit(&shared->busy, memory_order_relaxed) != go)
        nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
}

/* ---- all of it ------------------------------------------------------------------------------- */

static void print(const struct settings *settings, struct figures *figures, uint64_t bytes)
{
    double lease = series_median(&figures->alone);
    double mapping = series_median(&figures->file_mmap);
    double get = series_median(&figures->redis);
    struct report report;
    report_init(&report, "acquire");
    report_string(&report, "component", settings->component, "component");
    report_integer(&report, "chunk_bytes", (int64_t)bytes, "bytes of its chunk");
    report_integer(&report, "rounds", settings->rounds, NULL);
    report_number(&report, "acquire_release_ns_p50", lease, 1,
                  "lease: acquire + release, ns, median");
    report_number(&report, "acquire_release_ns_p99", series_quantile(&figures->alone, 0.99), 1,
                  "  99th percentile of batches");
    report_number(&report, "acquire_release_two_processes_ns_p50", series_median(&figures->beside),
                  1, "lease while another process leases it, ns");
    report_number(&report, "component_acquire_release_ns_p50", series_median(&figures->component),
                  1, "component (lease + parsed views), ns");
    report_number(&report, "mmap_ns_p50", mapping, 0, "open + mmap + close of the same file, ns");
    report_number(&report, "redis_get_ns_p50", get, 0, "Redis GET of the same bytes, ns");
    report_number(&report, "mmap_ratio", mapping / lease, 0, "leases in the time of one mmap");
    report_number(&report, "redis_ratio", get / lease, 0, "leases in the time of one GET");
    report_print(&report, settings->json);
}

static void measure(const struct settings *settings, struct stage *stage, sw_model *model,
                    uint32_t component, struct shared *shared)
{
    struct sw_component_info info = SW_INIT(struct sw_component_info);
    struct sw_lease lease;
    sw_model_component_info(model, component, &info);
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/%s.safetensors", stage->model_path, info.name);
    int result = sw_lease_acquire(model, component, &lease);
    if (result < 0)
        bench_die("cannot lease %s: %s", info.name, sw_strerror(result));
    struct redis redis;
    bool has_redis = redis_start(&redis, stage->directory, lease.data, lease.bytes);
    sw_lease_release(&lease);

    struct figures figures = {0};
    for (unsigned round = 0; round < settings->rounds; round++) {
        measure_leases(&figures.alone, model, component);
        measure_mmap(&figures.file_mmap, path);
        set_second(shared, 1);
        measure_leases(&figures.beside, model, component);
        set_second(shared, 0);
        for (unsigned i = 0; has_redis && i < REDIS_GETS; i++)
            series_add(&figures.redis, redis_get_ns(&redis));
        measure_components(&figures.component, model, component);
    }
    print(settings, &figures, info.bytes);
    series_fini(&figures.alone);
    series_fini(&figures.beside);
    series_fini(&figures.component);
    series_fini(&figures.file_mmap);
    series_fini(&figures.redis);
    if (has_redis)
        redis_stop(&redis);
}

int bench_acquire(int argc, char **argv)
{
    struct settings settings = parse(argc, argv);
    struct stage stage;
    stage_open(&stage, &settings.stage);
    struct shared *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        bench_die("cannot map memory: %s", strerror(errno));
    pid_t second = settings.loop ? 0 : start_second(&stage, settings.component, shared);

    sw_client *client = stage_connect(&stage, "swbench");
    sw_model *model;
    bench_check(sw_model_open(client, stage.model_name, &model), client, "swbench");
    int component = sw_model_find(model, settings.component);
    if (component < 0)
        bench_die("%s has no component %s", stage.model_name, settings.component);
    if (settings.loop)
        lease_batch(model, (uint32_t)component, 1000000);
    else
        measure(&settings, &stage, model, (uint32_t)component, shared);
    sw_model_close(model);
    sw_client_close(client);

    atomic_store_explicit(&shared->go, 2, memory_order_relaxed);
    if (second)
        while (waitpid(second, NULL, 0) < 0 && errno == EINTR)
            ;
    munmap(shared, sizeof *shared);
    stage_close(&stage);
    return 0;
}
