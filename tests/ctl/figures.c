/* SPDX-License-Identifier: MIT */
/* The table of figures, against the answer to stats, the output of swctl stats and the manual. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "stats/stats.h"
#include "support/support.h"

TestSuite(figures, .timeout = 60);

/* Every section exists. */
static json_t *report_all(void)
{
    struct stats stats = {
        .has_redis = true,
        .redis = {.reads.used = true, .writes.used = true},
    };
    return stats_report(&stats);
}

static size_t count_leaves(json_t *object)
{
    size_t count = 0;
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        bool inner = json_is_object(value) && !json_object_get(value, "le_us");
        count += inner ? count_leaves(value) : 1;
    }
    return count;
}

Test(figures, the_answer_holds_each_figure_once)
{
    json_t *answer = report_all();
    size_t figures = 0;
    for (size_t i = 0; i < stats_figure_count; i++) {
        const struct stats_figure *figure = &stats_figures[i];
        if (figure->kind == STATS_SECTION)
            continue;
        figures++;
        cr_assert_not_null(stats_find(answer, figure), "%s", figure->key);
        for (size_t j = 0; j < i; j++)
            cr_assert(!stats_figures[j].metric || !figure->metric ||
                          strcmp(stats_figures[j].metric, figure->metric) != 0,
                      "%s is the metric of two", figure->metric);
    }
    cr_assert_eq(count_leaves(answer), figures + 1, "a key twice"); /* and "ok" */
    json_decref(answer);
}

Test(figures, sections_that_do_not_exist_are_left_out_or_null)
{
    struct stats stats = {.redis = {.reads.used = true}};
    json_t *answer = stats_report(&stats);
    cr_assert_null(json_object_get(answer, "redis"));
    json_decref(answer);
    stats.has_redis = true;
    answer = stats_report(&stats);
    const json_t *redis = json_object_get(answer, "redis");
    cr_assert(json_is_object(json_object_get(redis, "reads")));
    cr_assert(json_is_null(json_object_get(redis, "writes")));
    json_decref(answer);
}

Test(figures, bytes_that_are_not_utf8_are_replaced)
{
    struct stats stats = {.chunks_dir = "/srv/\xff"};
    json_t *answer = stats_report(&stats);
    cr_assert_str_eq(json_string_value(json_object_get(answer, "chunks_dir")), "/srv/?");
    json_decref(answer);
}

Test(figures, swctl_prints_each_figure)
{
    const char *models = sup_path("models");
    sup_mkdir(models);
    struct sup_broker broker = sup_broker_start(models, "16", NULL);
    const char *at = sup_run_ok(SUP_ARGS("swctl", "stats"));
    bool exists = true;
    for (size_t i = 0; i < stats_figure_count; i++) {
        const struct stats_figure *figure = &stats_figures[i];
        if (figure->kind == STATS_SECTION) /* this broker has no Redis */
            exists = !figure->key || strncmp(figure->key, "redis", 5) != 0;
        if (!exists)
            continue;
        cr_assert_not_null(strstr(at, figure->label), "no \"%s\" after: %s", figure->label, at);
        at = strchr(strstr(at, figure->label), '\n') + 1;
    }
    cr_assert_str_eq(at, "");
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

/* ---- the manual ------------------------------------------------------------------------------ */

/* ".It Li KEY", " Pq Li METRIC" if there is one, and the help; quotes as mdoc writes them. */
static const char *entry(const struct stats_figure *figure)
{
    char metric[256] = "";
    size_t used = 0;
    for (const char *c = figure->metric ? figure->metric : ""; *c && used < 250; c++)
        used +=
            (size_t)snprintf(metric + used, sizeof metric - used, *c == '"' ? "\\(dq" : "%c", *c);
    return sup_format(".It Li %s%s%s %s .", figure->key, *metric ? " Pq Li " : "", metric,
                      figure->help);
}

/* The manual in one line. */
static char *read_manual(void)
{
    char *text = sup_read(SW_SOURCE_DIR "/man/swctl.1", NULL);
    for (char *c = text; *c; c++)
        if (*c == '\n')
            *c = ' ';
    return text;
}

Test(figures, the_manual_describes_each_figure_and_no_other)
{
    const char *manual = read_manual();
    const char *from = strstr(manual, ".Ss Figures"), *to = strstr(manual, ".Sh ENVIRONMENT");
    cr_assert(from && to && from < to);
    size_t figures = 0, entries = 0;
    for (size_t i = 0; i < stats_figure_count; i++) {
        if (stats_figures[i].kind == STATS_SECTION)
            continue;
        const char *found = strstr(from, entry(&stats_figures[i]));
        cr_expect(found && found < to, "swctl.1 lacks: %s", entry(&stats_figures[i]));
        figures++;
    }
    for (const char *at = from; (at = strstr(at, ".It Li ")) && at < to; at++)
        entries++;
    cr_assert_eq(entries, figures);
}
