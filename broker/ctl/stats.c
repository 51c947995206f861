/* SPDX-License-Identifier: MIT */
/* swctl stats: the broker's figures, for people by their table (stats/stats.h), or for
 * Prometheus. */
#include "stats/stats.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/size.h"
#include "ctl/lib/answer.h"
#include "ctl/lib/table.h"
#include "ctl/verbs.h"
#include "stats/metrics.h"

#define LABEL_COLUMNS 30

enum { FORMAT_TABLE, FORMAT_JSON, FORMAT_PROMETHEUS };
static const char *const formats[] = {"table", "json", "prometheus", NULL};
static unsigned format; /* index into formats */

/* The bound of the bucket that holds the given part of all durations: "<= 10 ms". */
static void quantile(const json_t *histogram, double part, json_int_t total, char *text,
                     size_t size)
{
    const json_t *bounds = json_object_get(histogram, "le_us");
    const json_t *counts = json_object_get(histogram, "count");
    size_t i = 0, buckets = json_array_size(bounds);
    json_int_t sum = json_integer_value(json_array_get(counts, 0));
    while (i < buckets && (double)sum < part * (double)total)
        sum += json_integer_value(json_array_get(counts, ++i));
    const json_t *bound = json_array_get(bounds, i < buckets ? i : buckets - 1);
    char duration[32];
    ctl_duration((double)json_integer_value(bound) / 1000, duration, sizeof duration);
    (void)snprintf(text, size, "%s %s", i < buckets ? "<=" : ">", duration);
}

static void print_latency(const json_t *histogram)
{
    json_int_t total = 0;
    size_t i;
    json_t *count;
    json_array_foreach(json_object_get(histogram, "count"), i, count)
    {
        total += json_integer_value(count);
    }
    if (total == 0) {
        (void)printf("-\n");
        return;
    }
    char median[48], most[48];
    quantile(histogram, 0.5, total, median, sizeof median);
    quantile(histogram, 0.99, total, most, sizeof most);
    (void)printf("median %s, 99 %% %s\n", median, most);
}

static void print_value(const struct stats_figure *figure, const json_t *value)
{
    char text[32];
    switch (figure->kind) {
    case STATS_COUNTER_BYTES:
    case STATS_GAUGE_BYTES:
        swi_size_format((uint64_t)json_integer_value(value), text, sizeof text);
        (void)printf("%s\n", text);
        break;
    case STATS_SECONDS:
        ctl_duration(json_number_value(value) * 1000, text, sizeof text);
        (void)printf("%s\n", text);
        break;
    case STATS_RATIO:
        (void)printf("%.2f %%\n", json_number_value(value) * 100);
        break;
    case STATS_HEX:
        (void)printf("%08llx\n", (unsigned long long)json_integer_value(value));
        break;
    case STATS_FLAG:
        (void)printf("%s\n", json_is_true(value) ? "yes" : "no");
        break;
    case STATS_TEXT:
    case STATS_STATE:
        (void)printf("%s\n", json_string_value(value) ? json_string_value(value) : "");
        break;
    case STATS_LATENCY:
        print_latency(value);
        break;
    default:
        (void)printf("%llu\n", (unsigned long long)json_integer_value(value));
        break;
    }
}

static void print_table(const json_t *reply)
{
    bool colour = ctl_colour(), exists = true;
    for (size_t i = 0; i < stats_figure_count; i++) {
        const struct stats_figure *figure = &stats_figures[i];
        const json_t *value = figure->key ? stats_find(reply, figure) : NULL;
        if (figure->kind == STATS_SECTION) {
            exists = !figure->key || json_is_object(value);
            if (exists)
                (void)printf("%s%s%s\n", colour ? "\033[1m" : "", figure->label,
                             colour ? "\033[0m" : "");
        } else if (exists && value) {
            (void)printf("  %-*s", LABEL_COLUMNS, figure->label);
            print_value(figure, value);
        }
    }
}

static void show(const struct ctl_call *call, const json_t *reply)
{
    (void)call;
    if (format != FORMAT_PROMETHEUS) {
        print_table(reply);
        return;
    }
    char *text = metrics_format(reply);
    (void)fputs(text ? text : "", stdout);
    free(text);
}

static int run(const struct ctl_call *call)
{
    struct ctl_call mine = *call;
    mine.json = call->json || format == FORMAT_JSON;
    return ctl_run(&mine);
}

static const struct cli_option options[] = {
    {"format", "FORMAT", "table (default), json or prometheus", .choice = &format,
     .choices = formats},
    {0},
};

const struct ctl_verb ctl_verb_stats = {
    .name = "stats",
    .help = "show the broker's counters: memory, hits, loads, faults",
    .options = options,
    .show = show,
    .run = run};
