/* SPDX-License-Identifier: MIT */
/* Figures as Prometheus's metrics. */
#include "stats/metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stats/stats.h"

/* ---- pieces of text -------------------------------------------------------------------------- */

static void put_head(FILE *out, const char *family, size_t length, const char *type,
                     const char *help)
{
    (void)fprintf(out, "# HELP swbroker_%.*s %s\n# TYPE swbroker_%.*s %s\n", (int)length, family,
                  help, (int)length, family, type);
}

/* name="value"; backslashes, quotes and line ends are escaped. */
static void put_label(FILE *out, const char *name, const char *value)
{
    (void)fprintf(out, "%s=\"", name);
    for (const char *c = value; *c; c++) {
        if (*c == '\n')
            (void)fputs("\\n", out);
        else if (*c == '\\' || *c == '"')
            (void)fprintf(out, "\\%c", *c);
        else
            (void)fputc(*c, out);
    }
    (void)fputc('"', out);
}

/* ---- series ---------------------------------------------------------------------------------- */

/* Whole numbers stay whole: a counter of bytes outgrows the digits of %g. */
static void put_number(FILE *out, const struct stats_figure *figure, const json_t *value)
{
    (void)fprintf(out, "swbroker_%s ", figure->metric);
    if (figure->kind == STATS_STATE)
        (void)fprintf(out, "%d\n", stats_state_index(figure, json_string_value(value)));
    else if (json_is_integer(value))
        (void)fprintf(out, "%lld\n", (long long)json_integer_value(value));
    else
        (void)fprintf(out, "%.17g\n", json_number_value(value));
}

/* A histogram, whose metric has a label. */
static void put_buckets(FILE *out, const struct stats_figure *figure, const json_t *histogram)
{
    const json_t *bounds = json_object_get(histogram, "le_us");
    const json_t *counts = json_object_get(histogram, "count");
    size_t buckets = json_array_size(bounds);
    const char *labels = strchr(figure->metric, '{');
    int family = (int)(labels - figure->metric), open = (int)strlen(labels) - 1;
    long long total = 0;
    for (size_t i = 0; i <= buckets; i++) {
        char bound[32] = "+Inf";
        total += json_integer_value(json_array_get(counts, i));
        if (i < buckets)
            (void)snprintf(bound, sizeof bound, "%g",
                           json_number_value(json_array_get(bounds, i)) / 1e6);
        (void)fprintf(out, "swbroker_%.*s_bucket%.*s,le=\"%s\"} %lld\n", family, figure->metric,
                      open, labels, bound, total);
    }
    (void)fprintf(out, "swbroker_%.*s_sum%s %.6f\nswbroker_%.*s_count%s %lld\n", family,
                  figure->metric, labels,
                  json_number_value(json_object_get(histogram, "sum_us")) / 1e6, family,
                  figure->metric, labels, total);
}

/* ---- families -------------------------------------------------------------------------------- */

static size_t family_length(const struct stats_figure *figure)
{
    return figure->metric ? strcspn(figure->metric, "{") : 0;
}

static bool same_family(const struct stats_figure *a, const struct stats_figure *b)
{
    size_t length = family_length(a);
    return length == family_length(b) && strncmp(a->metric, b->metric, length) == 0;
}

/* What the answer holds for a metric; NULL: nothing that could be one. */
static const json_t *value_of(const json_t *answer, const struct stats_figure *figure)
{
    const json_t *value = stats_find(answer, figure);
    bool good =
        figure->kind == STATS_LATENCY ? json_is_object(value)
        : figure->kind == STATS_STATE
            ? json_is_string(value) && stats_state_index(figure, json_string_value(value)) >= 0
            : json_is_number(value);
    return good ? value : NULL;
}

static bool is_first_of_family(size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (same_family(&stats_figures[at], &stats_figures[i]))
            return false;
    return true;
}

/* All series of the family of one figure, the first in the table: a family's series stand
 * together. */
static void put_family(FILE *out, const json_t *answer, size_t first, const char *section_help)
{
    const struct stats_figure *figure = &stats_figures[first];
    const char *type = figure->kind == STATS_LATENCY ? "histogram"
                       : figure->kind == STATS_COUNTER || figure->kind == STATS_COUNTER_BYTES
                           ? "counter"
                           : "gauge";
    const char *help = section_help && strchr(figure->metric, '{') ? section_help : figure->help;
    bool headed = false;
    for (size_t i = first; i < stats_figure_count; i++) {
        if (!same_family(figure, &stats_figures[i]))
            continue;
        const json_t *value = value_of(answer, &stats_figures[i]);
        if (!value)
            continue;
        if (!headed)
            put_head(out, figure->metric, family_length(figure), type, help);
        headed = true;
        if (figure->kind == STATS_LATENCY)
            put_buckets(out, &stats_figures[i], value);
        else
            put_number(out, &stats_figures[i], value);
    }
}

static void put_build_info(FILE *out, const json_t *answer)
{
    static const char *const keys[] = {"version", "io_engine", "policy"};
    static const char family[] = "build_info";
    put_head(out, family, strlen(family), "gauge", "What the broker is; always 1.");
    (void)fprintf(out, "swbroker_%s{", family);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const char *value = json_string_value(json_object_get(answer, keys[i]));
        (void)fputs(i ? "," : "", out);
        put_label(out, keys[i], value ? value : "");
    }
    (void)fputs("} 1\n", out);
}

char *metrics_format(const json_t *answer)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    put_head(out, "up", 2, "gauge", "1 when the broker answers.");
    (void)fprintf(out, "swbroker_up %d\n", answer != NULL);
    const char *section_help = NULL;
    for (size_t i = 0; answer && i < stats_figure_count; i++) {
        if (stats_figures[i].kind == STATS_SECTION)
            section_help = stats_figures[i].help;
        else if (stats_figures[i].metric && is_first_of_family(i))
            put_family(out, answer, i, section_help);
    }
    if (answer)
        put_build_info(out, answer);
    bool failed = ferror(out) != 0;
    if (fclose(out) != 0 || failed) {
        free(text);
        return NULL;
    }
    return text;
}
