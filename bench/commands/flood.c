/* SPDX-License-Identifier: MIT */
/* swbench flood: how 200 clients that send random requests, a tenth of them invalid, affect a
 * well-behaved client.
 *
 * The catalog holds two models of the same shape; the arena has room for one and a half. The
 * well-behaved client uses the first. It measures hits (in batches, because reading the clock takes
 * as long as a lease) and misses: it clears a layer, leases it and compares its digest. The flood
 * uses the second model: loads, prefetches, tables, files, opens, closes, disconnects, and messages
 * that violate the protocol. Idle and flooded phases alternate.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/digest.h"
#include "lib/crew.h"
#include "lib/flooder.h"
#include "lib/options.h"

#define PROCESSES      4u
#define OPERATIONS     1000u /* of each flooding client, at least */
#define HIT_BATCH      16
#define HIT_BATCHES    4000 /* of a phase */
#define MISSES         25   /* of a phase */
#define SETTLE_NS      200000000
#define PATIENCE_NS    UINT64_C(120000000000)
#define LARGE_BYTES    14000000u
#define COMPONENTS_MAX 512

struct settings {
    struct stage_options stage;
    unsigned clients, rounds;
    bool json;
};

static struct settings parse(int argc, char **argv)
{
    struct settings settings = {.stage = {.shape = "bert-base"}, .clients = 200, .rounds = 8};
    const struct cli_option table[] = {
        {"model", "DIR", "a chunk directory (default: a synthetic bert-base, f16)",
         .text = &settings.stage.model},
        {"clients", "N", "clients that flood the broker (default: 200)",
         .number = &settings.clients, .least = 1, .most = 240},
        {"rounds", "N", "rounds of an idle and a flooded phase (default: 8)",
         .number = &settings.rounds, .least = 1, .most = 1000},
        {0},
    };
    bench_parse(argc, argv, "flood",
                "Measure hits and misses of one client while many others flood the broker.", table,
                &settings.json);
    return settings;
}

/* ---- two models ------------------------------------------------------------------------------ */

/* DIRECTORY/catalog/MODEL and …/flooded: the catalog is scanned for real directories. */
static void make_catalog(const struct stage *stage, char *catalog, size_t size)
{
    char well[PATH_MAX], flooded[PATH_MAX];
    (void)snprintf(catalog, size, "%s/catalog", stage->directory);
    (void)snprintf(well, sizeof well, "%s/%s", catalog, stage->model_name);
    (void)snprintf(flooded, sizeof flooded, "%s/flooded", catalog);
    if (mkdir(catalog, 0700) < 0)
        bench_die("%s: %s", catalog, strerror(errno));
    bench_run((const char *const[]){"cp", "-r", stage->model_path, well, NULL}, NULL);
    bench_run((const char *const[]){"cp", "-r", stage->model_path, flooded, NULL}, NULL);
    sync(); /* what is still on its way to the disk would slow the first loads */
}

struct component {
    uint32_t number;
    char name[64];
    struct swi_digest digest;
};

/* The components whose loads count as large misses: those of 14 MB or more, or if there are none,
 * those of at least half the largest chunk's size. */
static unsigned find_large(const struct stage *stage, sw_model *model, struct component *ret,
                           uint64_t *ret_least)
{
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/chunk_info.json", stage->model_path);
    json_error_t error;
    json_t *manifest = json_load_file(path, 0, &error);
    json_t *chunks = json_object_get(manifest, "chunks");
    uint64_t most = 0;
    unsigned count = 0;
    struct sw_component_info info = SW_INIT(struct sw_component_info);
    for (uint32_t i = 0; sw_model_component_info(model, i, &info) == 0; i++)
        most = info.bytes > most ? info.bytes : most;
    uint64_t least = most >= LARGE_BYTES ? LARGE_BYTES : most / 2;
    *ret_least = most;
    for (uint32_t i = 0; sw_model_component_info(model, i, &info) == 0; i++) {
        const char *digest =
            json_string_value(json_object_get(json_object_get(chunks, info.name), "xxh3_128"));
        if (info.bytes < least || count == COMPONENTS_MAX)
            continue;
        struct component *component = &ret[count++];
        component->number = i;
        (void)snprintf(component->name, sizeof component->name, "%.63s", info.name);
        if (!digest || !swi_digest_parse(digest, &component->digest))
            bench_die("%s: %s has no digest", path, info.name);
        *ret_least = info.bytes < *ret_least ? info.bytes : *ret_least;
    }
    json_decref(manifest);
    return count;
}

/* ---- the client that behaves ----------------------------------------------------------------- */

struct tame {
    const struct stage *stage;
    sw_client *client;
    sw_model *model;
    struct component large[COMPONENTS_MAX];
    unsigned large_count, next;
    uint64_t least_bytes; /* of a large chunk */
    uint64_t wrong, not_missed;
};

struct phase {
    struct series hits, misses; /* ns, ms */
};

static void lease(struct tame *tame, uint32_t component, struct sw_lease *ret)
{
    bench_check(sw_lease_acquire(tame->model, component, ret), tame->client, "a lease failed");
}

static void measure_hits(struct tame *tame, struct phase *phase)
{
    struct sw_lease held;
    uint32_t component = tame->large[0].number;
    lease(tame, component, &held); /* resident from here on */
    for (unsigned batch = 0; batch < HIT_BATCHES; batch++) {
        uint64_t start = bench_now_ns();
        for (unsigned i = 0; i < HIT_BATCH; i++) {
            struct sw_lease hit;
            lease(tame, component, &hit);
            bench_check(sw_lease_release(&hit), tame->client, "a lease was lost");
        }
        series_add(&phase->hits, (double)(bench_now_ns() - start) / HIT_BATCH);
    }
    bench_check(sw_lease_release(&held), tame->client, "a lease was lost");
}

static uint64_t misses_so_far(const struct tame *tame)
{
    struct sw_client_stats stats = SW_INIT(struct sw_client_stats);
    bench_check(sw_client_get_stats(tame->client, &stats), tame->client, "swbench");
    return stats.misses;
}

static void measure_miss(struct tame *tame, struct phase *phase)
{
    const struct component *component = &tame->large[tame->next++ % tame->large_count];
    struct sw_lease held;
    json_decref(
        stage_ask(tame->stage, json_pack("{s:s, s:s, s:s}", "verb", "clear", "model",
                                         tame->stage->model_name, "component", component->name)));
    uint64_t misses = misses_so_far(tame);
    uint64_t start = bench_now_ns();
    lease(tame, component->number, &held);
    uint64_t elapsed = bench_now_ns() - start;
    if (misses_so_far(tame) == misses)
        tame->not_missed++;
    else
        series_add(&phase->misses, (double)elapsed / 1e6);
    if (!swi_digest_equal(swi_digest_of(held.data, held.bytes), component->digest))
        tame->wrong++;
    bench_check(sw_lease_release(&held), tame->client, "a lease was lost");
}

static void measure_phase(struct tame *tame, struct phase *phase)
{
    nanosleep(&(struct timespec){.tv_nsec = SETTLE_NS}, NULL);
    measure_hits(tame, phase);
    for (unsigned i = 0; i < MISSES; i++)
        measure_miss(tame, phase);
}

/* ---- the flood ------------------------------------------------------------------------------- */

static void set_flood(struct flood_board *board, int go)
{
    atomic_store_explicit(&board->go, go, memory_order_relaxed);
    for (unsigned i = 0; i < PROCESSES; i++)
        while (atomic_load_explicit(&board->process[i].standing, memory_order_relaxed) != (go == 0))
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

/* Waits until every client has done its operations. */
static uint64_t finish_flood(struct flood_board *board)
{
    uint64_t deadline = bench_now_ns() + PATIENCE_NS;
    uint64_t least = 0;
    while (least < OPERATIONS && bench_now_ns() < deadline) {
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
        least = UINT64_MAX;
        for (unsigned i = 0; i < PROCESSES; i++) {
            uint64_t one = atomic_load_explicit(&board->process[i].least, memory_order_relaxed);
            if (one < least)
                least = one;
        }
    }
    return least;
}

static void add_counts(struct report *report, const struct stage *stage,
                       const struct flood_board *board, uint64_t least)
{
    static const char *const keys[] = {
        "protocol_errors", "descriptors_refused", "rate_limited",  "requests_refused",
        "slow_readers",    "load_errors",         "digest_errors", "loads"};
    uint64_t operations = 0, malformed = 0, connects = 0;
    for (unsigned i = 0; i < PROCESSES; i++) {
        operations += board->process[i].operations;
        malformed += board->process[i].malformed;
        connects += board->process[i].connects;
    }
    report_integer(report, "flood_operations", (int64_t)operations, "operations of the flood");
    report_integer(report, "flood_malformed", (int64_t)malformed, "  malformed");
    report_integer(report, "flood_connects", (int64_t)connects, "  connections made");
    report_integer(report, "flood_operations_least", (int64_t)least, "  of the slowest client");
    json_t *counts = json_object();
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        json_object_set_new(counts, keys[i], json_integer(stage_stat(stage, keys[i])));
    json_object_set_new(report->root, "broker_counts", counts);
}

static void print(const struct settings *settings, struct tame *tame, struct phase *idle,
                  struct phase *flooded, const struct flood_board *board, uint64_t least)
{
    struct report report;
    double idle_hit = series_quantile(&idle->hits, 0.99);
    double flooded_hit = series_quantile(&flooded->hits, 0.99);
    double idle_miss = series_quantile(&idle->misses, 0.99);
    double flooded_miss = series_quantile(&flooded->misses, 0.99);
    report_init(&report, "flood");
    report_string(&report, "model", tame->stage->model_name, "model");
    report_integer(&report, "clients", settings->clients, "clients that flood");
    report_integer(&report, "rounds", settings->rounds, NULL);
    report_string(&report, "page_cache", "not used: the broker reads with O_DIRECT", NULL);
    report_number(&report, "hit_ns_p50_idle", series_median(&idle->hits), 1,
                  "hit, idle, ns, median");
    report_number(&report, "hit_ns_p99_idle", idle_hit, 1, "  99th percentile");
    report_number(&report, "hit_ns_p50_flooded", series_median(&flooded->hits), 1,
                  "hit, flooded, ns, median");
    report_number(&report, "hit_ns_p99_flooded", flooded_hit, 1, "  99th percentile");
    report_number(&report, "hit_p99_ratio", flooded_hit / idle_hit, 2, "  flooded / idle");
    report_integer(&report, "miss_chunk_bytes", (int64_t)tame->least_bytes,
                   "bytes of a missed chunk, at least");
    report_integer(&report, "misses_measured", (int64_t)flooded->misses.count, NULL);
    report_number(&report, "miss_ms_p50_idle", series_median(&idle->misses), 2,
                  "miss, idle, ms, median");
    report_number(&report, "miss_ms_p99_idle", idle_miss, 2, "  99th percentile");
    report_number(&report, "miss_ms_p50_flooded", series_median(&flooded->misses), 2,
                  "miss, flooded, ms, median");
    report_number(&report, "miss_ms_p99_flooded", flooded_miss, 2, "  99th percentile");
    report_number(&report, "miss_p99_ratio", flooded_miss / idle_miss, 2, "  flooded / idle");
    report_integer(&report, "wrong_chunks", (int64_t)tame->wrong, "chunks with wrong bytes");
    report_integer(&report, "not_missed", (int64_t)tame->not_missed, NULL);
    add_counts(&report, tame->stage, board, least);
    report_print(&report, settings->json);
}

static void open_tame(struct tame *tame, const struct stage *stage)
{
    *tame = (struct tame){.stage = stage, .client = stage_connect(stage, "swbench flood")};
    bench_check(sw_model_open(tame->client, stage->model_name, &tame->model), tame->client,
                "swbench");
    tame->large_count = find_large(stage, tame->model, tame->large, &tame->least_bytes);
    uint32_t count = sw_model_component_count(tame->model);
    for (uint32_t i = 0; i < count; i++)
        bench_check(sw_model_warmup(tame->model, &i, 1), tame->client, "swbench");
}

int bench_flood(int argc, char **argv)
{
    struct settings settings = parse(argc, argv);
    struct stage stage;
    char catalog[128], cache_size[32];
    stage_prepare(&stage, &settings.stage);
    make_catalog(&stage, catalog, sizeof catalog);
    (void)snprintf(cache_size, sizeof cache_size, "%lluB",
                   (unsigned long long)stage_model_bytes(&stage) / 2 * 3);
    settings.stage.cache_size = cache_size;
    settings.stage.broker[0] = "--chunks-dir"; /* the last one counts */
    settings.stage.broker[1] = catalog;
    stage_start_broker(&stage, &settings.stage);

    struct flood_board *board =
        mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (board == MAP_FAILED)
        bench_die("cannot map memory: %s", strerror(errno));
    struct flood_plan plan = {.board = board,
                              .socket = stage.socket,
                              .model = "flooded",
                              .clients = (settings.clients + PROCESSES - 1) / PROCESSES};
    static struct crew crew;
    static struct tame tame;
    crew_start(&crew, &stage, PROCESSES, flood_run, &plan);
    open_tame(&tame, &stage);
    struct phase idle = {0}, flooded = {0};
    for (unsigned round = 0; round < settings.rounds; round++) {
        set_flood(board, 0);
        measure_phase(&tame, &idle);
        set_flood(board, 1);
        measure_phase(&tame, &flooded);
    }
    uint64_t least = finish_flood(board);
    atomic_store_explicit(&board->go, 2, memory_order_relaxed);
    crew_end(&crew);
    print(&settings, &tame, &idle, &flooded, board, least);

    sw_model_close(tame.model);
    sw_client_close(tame.client);
    series_fini(&idle.hits);
    series_fini(&idle.misses);
    series_fini(&flooded.hits);
    series_fini(&flooded.misses);
    munmap(board, sizeof *board);
    stage_close(&stage);
    return tame.wrong > 0;
}
