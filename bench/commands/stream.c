/* SPDX-License-Identifier: MIT */
/* swbench stream: passes through a model that is larger than the arena.
 *
 * For arenas of 25, 50 and 75 % of the model, one worker and four, policies next-use and lru: how
 * many of the used bytes did not have to be loaded, beside a bound that no policy can exceed on the
 * same sequence of uses (bound.h), taken from the broker's trace; and how long a pass takes beside
 * the longer of what it cannot do without: computing (the same workers on a second broker whose
 * arena holds the whole model) and reading (the loaded bytes, by the disk alone).
 *
 * A round is: passes on the full arena, passes on the small one, the disk alone. Ratios are taken
 * within a round, and the median over rounds: disk and processors of a virtual machine change from
 * minute to minute.
 */
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <sw/encoder.h>

#include "core/layout.h"
#include "lib/crew.h"
#include "lib/disk.h"
#include "lib/options.h"
#include "replay/bound.h"
#include "replay/simulate.h"

#define WARM_PASSES 4
#define FULL_PASSES 2 /* in a round */

static const unsigned shares[] = {25, 50, 75};
static const unsigned crews[] = {1, 4};
#define SHARES (sizeof shares / sizeof shares[0])
#define CREWS  (sizeof crews / sizeof crews[0])

struct settings {
    struct stage_options stage;
    unsigned tokens, passes, rounds, prefetch;
    bool json;
};

static struct settings parse(int argc, char **argv)
{
    struct settings settings = {
        .stage = {.shape = "bert-base"}, .tokens = 128, .passes = 5, .rounds = 3};
    const struct cli_option table[] = {
        {"model", "DIR", "a chunk directory (default: a synthetic bert-base, f16)",
         .text = &settings.stage.model},
        {"tokens", "N", "tokens per pass (default: 128)", .number = &settings.tokens, .least = 1,
         .most = 4096},
        {"passes", "N", "passes of each worker per round (default: 5)", .number = &settings.passes,
         .least = 1, .most = 1000},
        {"rounds", "N", "number of rounds (default: 3)", .number = &settings.rounds, .least = 1,
         .most = 100},
        {"prefetch", "N", "layers to prefetch (default: the library's own number)",
         .number = &settings.prefetch, .least = 1, .most = 16},
        {0},
    };
    bench_parse(argc, argv, "stream",
                "Measure passes through a model that is larger than the arena.", table,
                &settings.json);
    return settings;
}

/* ---- workers --------------------------------------------------------------------------------- */

struct work {
    const struct settings *settings;
    const struct stage *small, *full;
};

struct order {
    unsigned passes;
    bool full;
};

struct engine {
    sw_client *client;
    sw_encoder *encoder;
};

static struct engine open_engine(const struct stage *stage, unsigned prefetch)
{
    struct engine engine = {.client = stage_connect(stage, "swbench stream")};
    struct sw_encoder_options options = SW_INIT(struct sw_encoder_options);
    options.prefetch_count = prefetch;
    bench_check(sw_encoder_open(engine.client, stage->model_name, &options, &engine.encoder),
                engine.client, stage->model_name);
    return engine;
}

/* Tokens from all over the vocabulary, others in each pass: every block of the table is used. */
static void run_pass(struct engine *engine, unsigned tokens, unsigned *seed)
{
    struct sw_encoder_config config = SW_INIT(struct sw_encoder_config);
    sw_encoder_get_config(engine->encoder, &config);
    uint32_t lengths[16], sequences = 0;
    int32_t *ids = calloc(tokens, sizeof *ids);
    float *hidden = calloc((size_t)tokens * config.hidden_size, sizeof *hidden);
    if (!ids || !hidden)
        bench_die("out of memory");
    for (unsigned i = 0; i < tokens; i++)
        ids[i] = (int32_t)((unsigned)rand_r(seed) % config.vocab_size);
    for (unsigned left = tokens; left > 0 && sequences < 16; sequences++) {
        lengths[sequences] = left < config.max_positions ? left : config.max_positions;
        left -= lengths[sequences];
    }
    struct sw_encoder_batch batch = SW_INIT(struct sw_encoder_batch);
    batch.sequences = sequences;
    batch.lengths = lengths;
    batch.ids = ids;
    struct sw_encoder_output output = SW_INIT(struct sw_encoder_output);
    output.last_hidden_state = hidden;
    char text[512];
    int result = sw_encoder_forward(engine->encoder, &batch, &output);
    if (result < 0) {
        sw_encoder_message(engine->encoder, text, sizeof text);
        bench_die("a pass failed: %s", text);
    }
    free(ids);
    free(hidden);
}

static void stream(struct seat *seat, void *context)
{
    const struct work *work = context;
    struct engine small = open_engine(work->small, work->settings->prefetch);
    struct engine full = open_engine(work->full, 0);
    unsigned seed = seat->number;
    for (;;) {
        struct order order;
        seat_hear(seat, &order, sizeof order);
        for (unsigned i = 0; i < order.passes; i++)
            run_pass(order.full ? &full : &small, work->settings->tokens, &seed);
        seat_say(seat, "", 1);
    }
}

static double run_order(struct crew *crew, bool full, unsigned passes)
{
    const struct order order = {.passes = passes, .full = full};
    uint64_t start = bench_now_ns();
    crew_tell(crew, &order, sizeof order);
    crew_gather(crew);
    return (double)(bench_now_ns() - start);
}

/* ---- one arena, one crew, one policy --------------------------------------------------------- */

struct run {
    const char *policy;
    unsigned workers;
    uint64_t budget;
    struct series wall, compute, disk,
        ratio; /* ns of a pass of all workers; of max(compute, disk) */
    uint64_t loaded_bytes, used_bytes;
    double hit_rate, bound, bound_in_parts, simulated_lru, simulated_next_use;
    uint64_t lost;
};

static void measure_rounds(const struct settings *settings, const struct work *work,
                           struct run *run, struct disk *disk, uint64_t *ret_start_ns)
{
    struct crew crew;
    crew_start(&crew, work->small, run->workers, stream, (void *)(uintptr_t)work);
    (void)run_order(&crew, true, 1);
    (void)run_order(&crew, false, WARM_PASSES);
    *ret_start_ns = bench_now_ns();
    for (unsigned round = 0; round < settings->rounds; round++) {
        double compute = run_order(&crew, true, FULL_PASSES) / FULL_PASSES;
        int64_t before = stage_stat(work->small, "load_bytes");
        double wall = run_order(&crew, false, settings->passes) / settings->passes;
        uint64_t loaded = (uint64_t)(stage_stat(work->small, "load_bytes") - before);
        double disk_alone = disk_read_ns(disk, loaded) / settings->passes;
        run->loaded_bytes += loaded;
        series_add(&run->compute, compute);
        series_add(&run->wall, wall);
        series_add(&run->disk, disk_alone);
        series_add(&run->ratio, wall / fmax(compute, disk_alone));
    }
    crew_end(&crew);
}

static double simulated(const struct trace_log *trace, enum policy_kind policy, uint64_t budget,
                        size_t from)
{
    struct simulated result;
    struct swi_error error;
    const struct simulate_options options = {.policy = policy, .budget = budget, .from = from};
    if (simulate(trace, &options, &result, &error) < 0)
        bench_die("%s", error.text);
    return result.bytes > 0 ? (double)result.hit_bytes / (double)result.bytes : 0;
}

/* What the trace says about the measured passes. */
static void judge(struct run *run, const char *path, uint64_t start_ns)
{
    struct trace_log trace;
    struct swi_error error;
    FILE *file = fopen(path, "re");
    if (!file || trace_log_read(file, &trace, &error) < 0)
        bench_die("%s: %s", path, file ? error.text : strerror(errno));
    fclose(file);
    uint32_t *uses = calloc(trace.event_count + 1, sizeof *uses);
    uint64_t *bytes = calloc(trace.chunk_count + 1u, sizeof *bytes);
    if (!uses || !bytes)
        bench_die("out of memory");
    struct bound_problem problem = {.uses = uses,
                                    .bytes = bytes,
                                    .chunks = trace.chunk_count,
                                    .budget = run->budget,
                                    .unit = SWI_PAGE_BYTES};
    for (uint32_t i = 0; i < trace.chunk_count; i++)
        bytes[i] = trace.chunks[i].bytes;
    for (size_t i = 0; i < trace.event_count; i++) {
        const struct trace_event *event = &trace.events[i];
        if (event->kind != TRACE_HIT && event->kind != TRACE_MISS)
            continue;
        if (event->time_ns < start_ns)
            problem.from++;
        else
            run->used_bytes += bytes[event->chunk];
        uses[problem.count++] = event->chunk;
    }
    uint64_t most, most_in_parts;
    int result = bound_hit_bytes(&problem, &most);
    problem.in_parts = true;
    if (result < 0 || bound_hit_bytes(&problem, &most_in_parts) < 0)
        bench_die("out of memory");
    run->lost = trace.lost;
    run->hit_rate = 1 - (double)run->loaded_bytes / (double)run->used_bytes;
    run->bound = (double)most / (double)run->used_bytes;
    run->bound_in_parts = (double)most_in_parts / (double)run->used_bytes;
    run->simulated_lru = simulated(&trace, POLICY_LRU, run->budget, problem.from);
    run->simulated_next_use = simulated(&trace, POLICY_NEXT_USE, run->budget, problem.from);
    free(uses);
    free(bytes);
    trace_log_fini(&trace);
}

static void measure(const struct settings *settings, struct stage *stage, const struct stage *full,
                    struct disk *disk, struct run *run)
{
    char trace[128], cache_size[32];
    (void)snprintf(trace, sizeof trace, "%s/trace", stage->directory);
    (void)snprintf(cache_size, sizeof cache_size, "%lluB", (unsigned long long)run->budget);
    const struct stage_options options = {.cache_size = cache_size,
                                          .broker = {"--policy", run->policy, "--trace", trace}};
    const struct work work = {.settings = settings, .small = stage, .full = full};
    uint64_t start_ns;
    stage_start_broker(stage, &options);
    measure_rounds(settings, &work, run, disk, &start_ns);
    stage_stop_broker(stage);
    judge(run, trace, start_ns);
}

/* ---- all of it ------------------------------------------------------------------------------- */

static json_t *describe(struct run *next, struct run *lru, unsigned share)
{
    return json_pack(
        "{s:i, s:I, s:i, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, "
        "s:I}",
        "arena_percent", (int)share, "arena_bytes", (json_int_t)next->budget, "workers",
        (int)next->workers, "byte_hit_rate", next->hit_rate, "byte_hit_rate_lru", lru->hit_rate,
        "byte_hit_rate_bound", next->bound, "byte_hit_rate_bound_in_parts", next->bound_in_parts,
        "ratio", next->bound > 0 ? next->hit_rate / next->bound : 1.0,
        "byte_hit_rate_simulated_next_use", next->simulated_next_use, "byte_hit_rate_simulated_lru",
        next->simulated_lru, "pass_ms_p50", series_median(&next->wall) / 1e6, "pass_ms_min",
        series_quantile(&next->wall, 0) / 1e6, "pass_ms_max", series_quantile(&next->wall, 1) / 1e6,
        "pass_ms_p50_lru", series_median(&lru->wall) / 1e6, "compute_alone_ms_p50",
        series_median(&next->compute) / 1e6, "disk_alone_ms_p50", series_median(&next->disk) / 1e6,
        "wall_ratio", series_median(&next->ratio), "lost_records", (json_int_t)next->lost);
}

/* The run that the report's own keys repeat. */
#define HEADLINE_PERCENT 50
#define HEADLINE_WORKERS 1

static void add_headline(struct report *report, const json_t *run)
{
    static const char *const keys[] = {
        "arena_percent",       "workers", "byte_hit_rate", "byte_hit_rate_lru",
        "byte_hit_rate_bound", "ratio",   "pass_ms_p50",   "wall_ratio"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        json_object_set(report->root, keys[i], json_object_get(run, keys[i]));
}

static void add_lines(struct report *report, struct run *next, struct run *lru, unsigned share)
{
    char label[96], text[96];
    (void)snprintf(label, sizeof label, "arena %u %%, %u workers: hit rate, lru, bound", share,
                   next->workers);
    (void)snprintf(text, sizeof text, "%.3f  %.3f  %.3f", next->hit_rate, lru->hit_rate,
                   next->bound);
    report_string(report, "", text, label);
    (void)snprintf(text, sizeof text, "%.0f  %.0f  %.0f  %.2f", series_median(&next->wall) / 1e6,
                   series_median(&next->compute) / 1e6, series_median(&next->disk) / 1e6,
                   series_median(&next->ratio));
    report_string(report, "", text, "  pass, compute, disk alone, ms; pass / max");
}

static void fini(struct run *run)
{
    series_fini(&run->wall);
    series_fini(&run->compute);
    series_fini(&run->disk);
    series_fini(&run->ratio);
}

int bench_stream(int argc, char **argv)
{
    struct settings settings = parse(argc, argv);
    struct stage stage;
    stage_prepare(&stage, &settings.stage);
    uint64_t model_bytes = stage_model_bytes(&stage);
    struct stage full = stage; /* the same model, another broker */
    size_t length = strlen(full.directory);
    if (length + sizeof "/full" > sizeof full.directory)
        bench_die("%s is too long for one more directory in it", stage.directory);
    (void)snprintf(full.directory + length, sizeof full.directory - length, "/full");
    if (mkdir(full.directory, 0700) < 0)
        bench_die("%s: %s", full.directory, strerror(errno));
    stage_start_broker(&full, &settings.stage);
    struct disk *disk = disk_open(stage.model_path);

    struct report report;
    report_init(&report, "stream");
    report_string(&report, "model", stage.model_name, "model");
    report_integer(&report, "model_bytes", (int64_t)model_bytes, NULL);
    report_integer(&report, "tokens_per_pass", settings.tokens, "tokens of a pass");
    report_integer(&report, "passes_per_round", settings.passes, NULL);
    report_integer(&report, "rounds", settings.rounds, NULL);
    report_string(&report, "page_cache", disk ? "not used: O_DIRECT" : "O_DIRECT is refused here",
                  NULL);
    json_t *list = json_array();
    for (size_t i = 0; i < SHARES; i++) {
        for (size_t k = 0; k < CREWS; k++) {
            struct run run = {.workers = crews[k], .budget = model_bytes / 100 * shares[i]};
            struct run next = run, lru = run;
            next.policy = "next-use";
            lru.policy = "lru";
            measure(&settings, &stage, &full, disk, &next);
            measure(&settings, &stage, &full, disk, &lru);
            json_t *one = describe(&next, &lru, shares[i]);
            if (shares[i] == HEADLINE_PERCENT && crews[k] == HEADLINE_WORKERS)
                add_headline(&report, one);
            json_array_append_new(list, one);
            add_lines(&report, &next, &lru, shares[i]);
            fini(&next);
            fini(&lru);
        }
    }
    json_object_del(report.root, "");
    json_object_set_new(report.root, "runs", list);
    report_print(&report, settings.json);
    disk_close(disk);
    stage_stop_broker(&full);
    stage_close(&stage);
    return 0;
}
