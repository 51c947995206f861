/* SPDX-License-Identifier: MIT */
/* Figures as JSON. */
#include <stdlib.h>
#include <string.h>

#include "stats/stats.h"

json_t *stats_text(const char *text)
{
    json_t *string = json_string(text ? text : "");
    if (string)
        return string;
    char *plain = strdup(text);
    if (!plain)
        return NULL;
    for (char *c = plain; *c; c++)
        if ((unsigned char)*c >= 0x80)
            *c = '?';
    string = json_string(plain);
    free(plain);
    return string;
}

static json_t *report_latency(const struct latency *latency)
{
    json_t *bounds = json_array(), *counts = json_array();
    for (unsigned i = 0; i <= LATENCY_BOUNDS; i++) {
        if (i < LATENCY_BOUNDS)
            (void)json_array_append_new(bounds, json_integer((json_int_t)latency_bound_us[i]));
        (void)json_array_append_new(counts, json_integer((json_int_t)latency->count[i]));
    }
    return json_pack("{s:o, s:o, s:I}", "le_us", bounds, "count", counts, "sum_us",
                     (json_int_t)latency->sum_us);
}

static json_t *report_figure(const struct stats *stats, const struct stats_figure *figure)
{
    /* the table's types are checked where it is written (figures.c) */
    const void *from = figure->from == STATS_ALWAYS ? NULL : (const char *)stats + figure->from;
    switch (figure->kind) {
    case STATS_SECTION:
        return !from || *(const bool *)from ? json_object() : json_null();
    case STATS_SECONDS:
    case STATS_RATIO:
        return json_real(*(const double *)from);
    case STATS_FLAG:
        return json_boolean(*(const bool *)from);
    case STATS_TEXT:
    case STATS_STATE:
        return stats_text(*(const char *const *)from);
    case STATS_LATENCY:
        return report_latency(from);
    default:
        return json_integer((json_int_t) * (const uint64_t *)from);
    }
}

/* The object that holds a key, whose last part is *ret_name; NULL: there is none. */
static json_t *holder_of(json_t *answer, const char *key, const char **ret_name)
{
    const char *dot;
    for (; (dot = strchr(key, '.')); key = dot + 1)
        answer = json_object_getn(answer, key, (size_t)(dot - key));
    *ret_name = key;
    return json_is_object(answer) ? answer : NULL;
}

json_t *stats_report(const struct stats *stats)
{
    json_t *answer = json_pack("{s:b}", "ok", 1);
    for (size_t i = 0; answer && i < stats_figure_count; i++) {
        const struct stats_figure *figure = &stats_figures[i];
        const char *name;
        json_t *holder = figure->key ? holder_of(answer, figure->key, &name) : NULL;
        if (!holder)
            continue;
        json_t *value = report_figure(stats, figure);
        if (json_is_null(value) && holder == answer)
            json_decref(value);
        else
            (void)json_object_set_new(holder, name, value);
    }
    return answer;
}

const json_t *stats_find(const json_t *answer, const struct stats_figure *figure)
{
    const char *key = figure->key, *dot;
    for (; (dot = strchr(key, '.')); key = dot + 1)
        answer = json_object_getn(answer, key, (size_t)(dot - key));
    return json_object_get(answer, key);
}

int stats_state_index(const struct stats_figure *figure, const char *value)
{
    const char *state = figure->states;
    for (int index = 0; *state; index++) {
        size_t length = strcspn(state, "|");
        if (strncmp(value, state, length) == 0)
            return index;
        state += length + (state[length] == '|');
    }
    return -1;
}
