/* SPDX-License-Identifier: MIT */
/* swbench policy: the hit rates of a recorded trace under each policy, for arenas of several sizes,
 * and a bound that no policy can exceed.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/layout.h"
#include "core/size.h"
#include "lib/bench.h"
#include "lib/options.h"
#include "replay/bound.h"
#include "replay/simulate.h"

#define BUDGETS_MAX 64

struct settings {
    const char *path;
    uint64_t budget[BUDGETS_MAX];
    size_t budgets;
    uint64_t from;
    bool json;
};

static bool take_budget(const char *text, void *place)
{
    struct settings *settings = place;
    if (settings->budgets == BUDGETS_MAX)
        bench_die("--budget may be given %d times", BUDGETS_MAX);
    return swi_size_parse(text, &settings->budget[settings->budgets++]);
}

static struct settings parse(int argc, char **argv)
{
    struct settings settings = {.path = NULL};
    const struct cli_option options[] = {
        {"budget", "SIZE",
         "size of the arena, such as 512M or 2G; may be repeated\n"
         "(default: the recorded one, and 25, 50 and 75 % of the chunks)",
         .take = take_budget, .place = &settings, .expected = "a size such as 512M or 2G"},
        {"from", "N", "leave the first N uses out of the figures (default: 0)",
         .large = &settings.from},
        {"json", NULL, "print one JSON object instead of a table", .flag = &settings.json},
        {0},
    };
    const struct cli_command command = {
        .program = "swbench",
        .name = "policy",
        .operands = "TRACE",
        .least = 1,
        .most = 1,
        .about = "Replay a trace of swbrokerd --trace under each eviction policy.",
        .options = options};
    struct cli_operands operands;
    bench_read(argc, argv, &command, &operands);
    settings.path = operands.at[0];
    return settings;
}

struct uses {
    uint32_t *chunk;
    uint64_t *bytes; /* of each chunk */
    size_t count, hits;
    uint64_t counted_bytes, hit_bytes; /* from settings.from on, as recorded */
};

static struct uses collect(const struct trace_log *trace, size_t from)
{
    struct uses uses = {.chunk = calloc(trace->event_count + 1, sizeof uses.chunk[0]),
                        .bytes = calloc(trace->chunk_count + 1u, sizeof uses.bytes[0])};
    if (!uses.chunk || !uses.bytes)
        bench_die("out of memory");
    for (uint32_t i = 0; i < trace->chunk_count; i++)
        uses.bytes[i] = trace->chunks[i].bytes;
    for (size_t i = 0; i < trace->event_count; i++) {
        const struct trace_event *event = &trace->events[i];
        if (event->kind != TRACE_HIT && event->kind != TRACE_MISS)
            continue;
        if (uses.count >= from) {
            uses.counted_bytes += uses.bytes[event->chunk];
            uses.hits += event->kind == TRACE_HIT;
            uses.hit_bytes += event->kind == TRACE_HIT ? uses.bytes[event->chunk] : 0;
        }
        uses.chunk[uses.count++] = event->chunk;
    }
    return uses;
}

static double rate(uint64_t part, uint64_t whole)
{
    return whole > 0 ? (double)part / (double)whole : 0;
}

static double simulated_rate(const struct trace_log *trace, enum policy_kind policy,
                             uint64_t budget, size_t from)
{
    struct simulated result;
    struct swi_error error;
    const struct simulate_options options = {.policy = policy, .budget = budget, .from = from};
    if (simulate(trace, &options, &result, &error) < 0)
        bench_die("%s", error.text);
    return rate(result.hit_bytes, result.bytes);
}

static void compare(struct report *report, const struct trace_log *trace, const struct uses *uses,
                    const struct settings *settings)
{
    json_t *list = json_array();
    char size[32], label[96], figures[96];
    for (size_t i = 0; i < settings->budgets; i++) {
        uint64_t budget = settings->budget[i];
        uint64_t bound, in_parts;
        struct bound_problem problem = {.uses = uses->chunk,
                                        .count = uses->count,
                                        .bytes = uses->bytes,
                                        .chunks = trace->chunk_count,
                                        .budget = budget,
                                        .unit = SWI_PAGE_BYTES,
                                        .from = settings->from};
        int result = bound_hit_bytes(&problem, &bound);
        problem.in_parts = true;
        if (result < 0 || bound_hit_bytes(&problem, &in_parts) < 0)
            bench_die("out of memory");
        double lru = simulated_rate(trace, POLICY_LRU, budget, settings->from);
        double next = simulated_rate(trace, POLICY_NEXT_USE, budget, settings->from);
        double most = rate(bound, uses->counted_bytes);
        json_array_append_new(list, json_pack("{s:I, s:f, s:f, s:f, s:f, s:f}", "budget_bytes",
                                              (json_int_t)budget, "byte_hit_rate_lru", lru,
                                              "byte_hit_rate_next_use", next, "byte_hit_rate_bound",
                                              most, "byte_hit_rate_bound_in_parts",
                                              rate(in_parts, uses->counted_bytes), "ratio",
                                              most > 0 ? next / most : 1.0));
        swi_size_format(budget, size, sizeof size);
        (void)snprintf(label, sizeof label, "%s: lru, next-use, bound", size);
        (void)snprintf(figures, sizeof figures, "%.4f  %.4f  %.4f", lru, next, most);
        report_string(report, "", figures, label);
    }
    json_object_del(report->root, "");
    json_object_set_new(report->root, "budgets", list);
}

int bench_policy(int argc, char **argv)
{
    struct settings settings = parse(argc, argv);
    struct trace_log trace;
    struct swi_error error;
    FILE *file = fopen(settings.path, "re");
    if (!file)
        bench_die("%s: %s", settings.path, strerror(errno));
    if (trace_log_read(file, &trace, &error) < 0)
        bench_die("%s: %s", settings.path, error.text);
    fclose(file);
    uint64_t all = trace_log_bytes(&trace);
    if (settings.budgets == 0) {
        const uint64_t defaults[] = {trace.budget, all / 4, all / 2, all / 4 * 3};
        for (size_t i = 0; i < sizeof defaults / sizeof defaults[0]; i++)
            if (defaults[i] > 0)
                settings.budget[settings.budgets++] = defaults[i];
    }
    struct uses uses = collect(&trace, settings.from);
    if (settings.from >= uses.count && uses.count > 0)
        bench_die("the trace has %zu uses: --from %zu leaves none", uses.count, settings.from);
    struct report report;
    report_init(&report, "policy");
    report_integer(&report, "chunks", trace.chunk_count, "chunks");
    report_integer(&report, "chunk_bytes_total", (int64_t)all, "bytes of all of them");
    report_integer(&report, "uses", (int64_t)uses.count, "uses");
    report_integer(&report, "lost_records", (int64_t)trace.lost, "records lost");
    json_object_set_new(report.root, "complete", json_boolean(trace.complete));
    report_integer(&report, "budget_recorded_bytes", (int64_t)trace.budget, NULL);
    report_number(&report, "byte_hit_rate_recorded", rate(uses.hit_bytes, uses.counted_bytes), 4,
                  "byte hit rate as recorded (prefetched bytes are hits)");
    compare(&report, &trace, &uses, &settings);
    free(uses.chunk);
    free(uses.bytes);
    trace_log_fini(&trace);
    return report_print(&report, settings.json);
}
