/* SPDX-License-Identifier: MIT */
/* The broker's figures: what it counts and measures, and one table of all of them.
 *
 * The table is the only list. The broker's answer to "stats" is made from it (stats_report), swctl
 * prints that answer by it, Prometheus's metrics are made by it (stats/metrics.h), and a test holds
 * the manual to it. To add a figure, add a field to a struct and a row to the table (figures.c). */
#ifndef SWB_STATS_STATS_H
#define SWB_STATS_STATS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "stats/cache_stats.h"
#include "stats/counters.h"
#include "stats/remote_stats.h"

/* All figures at one moment. Strings are borrowed. */
struct stats {
    struct cache_stats cache;
    struct counters counters;
    struct remote_stats redis;
    bool has_redis; /* false: redis is not set */

    uint64_t max_bytes;
    uint64_t hits;
    double hit_rate; /* hits of hits and misses; 0 before the first */
    uint64_t clients, connections, sessions_max;
    uint64_t operator_pinned_bytes, operator_pinned_chunks, operator_pin_limit_bytes;
    uint64_t revoked;
    uint64_t log_lines_dropped, log_lines_left_out;
    uint64_t restarts, adopted_sessions, adopted_chunks, store_descriptors;
    uint64_t models, models_bad;
    const char *isolation, *chunks_dir, *version;
    double uptime_s;
    uint64_t pid, uid, layout_version, layout_hash;
    bool tracing;
};

/*                        field of struct stats   in the answer            as a metric    */
enum stats_kind {
    STATS_SECTION,       /* bool: it exists        object                   -              */
    STATS_COUNTER,       /* uint64_t               integer                  counter        */
    STATS_COUNTER_BYTES, /* uint64_t               integer                  counter        */
    STATS_GAUGE,         /* uint64_t               integer                  gauge          */
    STATS_GAUGE_BYTES,   /* uint64_t               integer                  gauge          */
    STATS_HEX,           /* uint64_t               integer                  -              */
    STATS_SECONDS,       /* double                 real                     gauge          */
    STATS_RATIO,         /* double                 real, 0 to 1             -              */
    STATS_FLAG,          /* bool                   boolean                  -              */
    STATS_TEXT,          /* const char *           string                   -              */
    STATS_STATE,         /* const char *           string                   gauge: an index */
    STATS_LATENCY,       /* struct latency         object, stats_report     histogram      */
};

struct stats_figure {
    const char *key; /* in the answer; a dot leads into an object. NULL: a section of the table only
                      * for people, whose figures stand at the top of the answer */
    const char *label; /* for people, below the section's label */
    enum stats_kind kind;
    const char *metric; /* without "swbroker_", with labels; NULL: none */
    /* One sentence: the metric's help, and the text of the manual. Of a section: the help of the
     * metrics with labels in it; NULL: their own. */
    const char *help;
    size_t from; /* offset in struct stats; of a section also STATS_ALWAYS */
    /* STATS_STATE: what the value may begin with, separated by '|'. Its metric is the index. */
    const char *states;
};

#define STATS_ALWAYS SIZE_MAX

/* In the order of the table for people: a section, then its figures. */
extern const struct stats_figure stats_figures[];
extern const size_t stats_figure_count;

/* The broker's answer: {"ok":true, KEY:VALUE...}. A histogram is {"le_us":[...], "count":[..., and
 * one more], "sum_us":N}, where each count is that of its bucket alone. A section that does not
 * exist is left out at the top and null in an object. Returns a new reference, or NULL: out of
 * memory. */
json_t *stats_report(const struct stats *stats);

/* What the answer holds of a figure, borrowed; NULL: an older broker, or there is no such
 * section. */
const json_t *stats_find(const json_t *answer, const struct stats_figure *figure);

/* The index of a state's value among figure->states; -1: unknown. */
int stats_state_index(const struct stats_figure *figure, const char *value);

/* A JSON string. Bytes that are not UTF-8 (file names may hold any) become '?'. */
json_t *stats_text(const char *text);

#endif
