/* SPDX-License-Identifier: MIT */
/* The broker's figures as Prometheus reads them. */
#include "exporter/metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum metric_kind { COUNTER, GAUGE };

/* One series. Those of one family stand together and differ in their label. */
static const struct metric {
    const char *name; /* without "swbroker_" */
    enum metric_kind kind;
    const char *help;
    const char *key;   /* in the answer; a dot leads into an object */
    const char *label; /* NULL: none */
    const char *value; /* of the label */
} metrics[] = {
    {"arena_bytes", GAUGE, "Size of the cache.", "arena_bytes", NULL, NULL},
    {"arena_max_bytes", GAUGE, "What the cache may be resized to.", "max_bytes", NULL, NULL},
    {"reserved_bytes", GAUGE, "Shared memory that is reserved.", "reserved_bytes", NULL, NULL},
    {"resident_bytes", GAUGE, "Bytes of chunks that are in the cache.", "resident_bytes", NULL,
     NULL},
    {"pinned_bytes", GAUGE, "Bytes of chunks that clients or the operator hold.", "pinned_bytes",
     NULL, NULL},
    {"operator_pinned_bytes", GAUGE, "Bytes of chunks that the operator pinned.",
     "operator_pinned_bytes", NULL, NULL},
    {"operator_pinned_chunks", GAUGE, "Chunks that the operator pinned.", "operator_pinned_chunks",
     NULL, NULL},
    {"operator_pin_limit_bytes", GAUGE, "What the operator may pin: half of the cache.",
     "operator_pin_limit_bytes", NULL, NULL},
    {"huge_bytes", GAUGE, "Bytes of the cache in huge pages.", "huge_bytes", NULL, NULL},
    {"chunks_resident", GAUGE, "Chunks that are in the cache.", "chunks_resident", NULL, NULL},
    {"chunks_loading", GAUGE, "Chunks that are being read.", "loading", NULL, NULL},
    {"chunks_queued", GAUGE, "Chunks that wait to be read.", "queued", NULL, NULL},
    {"hits_total", COUNTER, "Uses of chunks that were resident.", "hits", NULL, NULL},
    {"misses_total", COUNTER, "Requests for chunks that were not.", "misses", NULL, NULL},
    {"coalesced_total", COUNTER, "Requests that joined a read which was under way or queued.",
     "coalesced", NULL, NULL},
#define EVICTED(reason)                                                                            \
    {                                                                                              \
        "evictions_total", COUNTER, "Chunks that left the cache, by the reason.",                  \
            "evictions_by_reason." reason, "reason", reason                                        \
    }
    EVICTED("capacity"),
    EVICTED("clear"),
    EVICTED("resize"),
    EVICTED("replaced"),
    EVICTED("damaged"),
#undef EVICTED
    {"loads_total", COUNTER, "Chunks read and verified.", "loads", NULL, NULL},
    {"load_bytes_total", COUNTER, "Bytes of those.", "load_bytes", NULL, NULL},
    {"load_errors_total", COUNTER, "Chunks that could not be read.", "load_errors", NULL, NULL},
    {"digest_errors_total", COUNTER, "Chunks that did not match their digest.", "digest_errors",
     NULL, NULL},
    {"prefetches_total", COUNTER, "Chunks that were queued before anybody needed them.",
     "prefetches", NULL, NULL},
    {"prefetch_used_total", COUNTER, "Of those, chunks that were used.", "prefetch_used", NULL,
     NULL},
    {"prefetch_wasted_total", COUNTER, "Of those, chunks that left without having been used.",
     "prefetch_wasted", NULL, NULL},
    {"prefetch_dropped_total", COUNTER, "Prefetches that were given up before they were read.",
     "prefetch_dropped", NULL, NULL},
    {"collapse_refused_total", COUNTER, "Blocks that the kernel would not make huge.",
     "collapse_refused", NULL, NULL},
    {"clients", GAUGE, "Clients that are attached.", "clients", NULL, NULL},
    {"connections", GAUGE, "Connections, operators' included.", "connections", NULL, NULL},
    {"sessions_total", COUNTER, "Clients that ever attached.", "sessions", NULL, NULL},
#define REVOKED(reason)                                                                            \
    {                                                                                              \
        "sessions_revoked_total", COUNTER, "Clients whose leases were revoked, by the reason.",    \
            reason "_revoked", "reason", reason                                                    \
    }
    REVOKED("quota"),
    REVOKED("damage"),
#undef REVOKED
#define FAULT(kind)                                                                                \
    {                                                                                              \
        "client_faults_total", COUNTER, "What clients did wrong, by kind.", kind, "kind", kind     \
    }
    FAULT("protocol_errors"),
    FAULT("descriptors_refused"),
    FAULT("sessions_refused"),
    FAULT("requests_refused"),
    FAULT("ids_refused"),
    FAULT("rate_limited"),
    FAULT("slow_readers"),
    FAULT("silent_closed"),
    FAULT("page_garbage"),
#undef FAULT
    {"models", GAUGE, "Models in the catalog.", "models", NULL, NULL},
    {"models_bad", GAUGE, "Models with something wrong.", "models_bad", NULL, NULL},
    {"log_lines_dropped_total", COUNTER, "Lines of the log that nobody took.", "log_lines_dropped",
     NULL, NULL},
    {"log_lines_left_out_total", COUNTER, "Lines of the log over the limit of their cause.",
     "log_lines_left_out", NULL, NULL},
    {"redis_hits_total", COUNTER, "Chunks that came from the Redis.", "redis.hits", NULL, NULL},
    {"redis_hit_bytes_total", COUNTER, "Bytes of those.", "redis.hit_bytes", NULL, NULL},
    {"redis_misses_total", COUNTER, "Chunks that the Redis did not have.", "redis.misses", NULL,
     NULL},
    {"redis_wrong_total", COUNTER, "Chunks whose bytes in the Redis were not right.", "redis.wrong",
     NULL, NULL},
    {"redis_failures_total", COUNTER, "Chunks for which the Redis could not be asked.",
     "redis.failures", NULL, NULL},
    {"redis_slow_total", COUNTER, "Chunks of those that took the Redis too long.", "redis.slow",
     NULL, NULL},
    {"redis_fallbacks_total", COUNTER, "Loads that a file served in place of the Redis.",
     "redis.fallbacks", NULL, NULL},
    {"redis_rescues_total", COUNTER, "Loads that the Redis served in place of a file.",
     "redis.rescues", NULL, NULL},
    {"redis_stores_total", COUNTER, "Chunks written to the Redis.", "redis.stores", NULL, NULL},
    {"redis_store_bytes_total", COUNTER, "Bytes of those.", "redis.store_bytes", NULL, NULL},
    {"redis_store_failures_total", COUNTER, "Chunks that could not be written to the Redis.",
     "redis.store_failures", NULL, NULL},
    {"redis_out_of_memory_total", COUNTER, "Writes that the Redis had no memory for.",
     "redis.out_of_memory", NULL, NULL},
#define CONNECTION(name, help, key)                                                                \
    {name, COUNTER, help, "redis.reads." key, "connection", "reads"},                              \
    {                                                                                              \
        name, COUNTER, help, "redis.writes." key, "connection", "writes"                           \
    }
    CONNECTION("redis_breaker_opened_total", "Times that the Redis was given up for a while.",
               "breaker_opened"),
    CONNECTION("redis_connect_failures_total", "Connections to the Redis that could not be made.",
               "connect_failures"),
    CONNECTION("redis_timeouts_total", "Answers of the Redis that did not come in time.",
               "timeouts"),
#undef CONNECTION
    {"disk_loads_total", COUNTER, "Chunks that came from their files.", "disk.loads", NULL, NULL},
    {"disk_load_bytes_total", COUNTER, "Bytes of those.", "disk.bytes", NULL, NULL},
    {"uptime_seconds", GAUGE, "Time since the broker started.", "uptime_s", NULL, NULL},
};

static const json_t *find(const json_t *object, const char *key)
{
    const char *dot;
    for (; (dot = strchr(key, '.')); key = dot + 1)
        object = json_object_getn(object, key, (size_t)(dot - key));
    return json_object_get(object, key);
}

/* ---- pieces of text ----------------------------------------------------------------------------
 */

static void put_head(FILE *out, const char *name, const char *type, const char *help)
{
    (void)fprintf(out, "# HELP swbroker_%s %s\n# TYPE swbroker_%s %s\n", name, help, name, type);
}

/* Whole numbers stay whole: a counter of bytes outgrows the digits of %g. */
static void put_value(FILE *out, const json_t *value)
{
    if (json_is_integer(value))
        (void)fprintf(out, "%lld\n", (long long)json_integer_value(value));
    else
        (void)fprintf(out, "%.17g\n", json_number_value(value));
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

/* ---- families ----------------------------------------------------------------------------------
 */

static void put_table(FILE *out, const json_t *stats)
{
    const char *family = "";
    for (size_t i = 0; i < sizeof metrics / sizeof metrics[0]; i++) {
        const struct metric *metric = &metrics[i];
        const json_t *value = find(stats, metric->key);
        if (!json_is_number(value))
            continue;
        if (strcmp(family, metric->name) != 0)
            put_head(out, metric->name, metric->kind == COUNTER ? "counter" : "gauge",
                     metric->help);
        family = metric->name;
        (void)fprintf(out, "swbroker_%s", metric->name);
        if (metric->label) {
            (void)fputc('{', out);
            put_label(out, metric->label, metric->value);
            (void)fputc('}', out);
        }
        (void)fputc(' ', out);
        put_value(out, value);
    }
}

/* One series of a histogram, as the broker tells it: {"le_us":[…], "count":[…, and one more],
 * "sum_us":N}, where each count is its bucket's alone. */
static void put_buckets(FILE *out, const char *name, const char *tier, const json_t *histogram)
{
    const json_t *bounds = json_object_get(histogram, "le_us");
    const json_t *counts = json_object_get(histogram, "count");
    size_t buckets = json_array_size(bounds);
    long long total = 0;
    for (size_t i = 0; i <= buckets; i++) {
        char bound[32] = "+Inf";
        total += json_integer_value(json_array_get(counts, i));
        if (i < buckets)
            (void)snprintf(bound, sizeof bound, "%g",
                           json_number_value(json_array_get(bounds, i)) / 1e6);
        (void)fprintf(out, "swbroker_%s_bucket{tier=\"%s\",le=\"%s\"} %lld\n", name, tier, bound,
                      total);
    }
    (void)fprintf(out, "swbroker_%s_sum{tier=\"%s\"} %.6f\nswbroker_%s_count{tier=\"%s\"} %lld\n",
                  name, tier, json_number_value(json_object_get(histogram, "sum_us")) / 1e6, name,
                  tier, total);
}

static void put_latencies(FILE *out, const json_t *stats)
{
    static const char name[] = "load_duration_seconds";
    static const char *const tiers[] = {"disk", "redis"};
    bool headed = false;
    for (size_t i = 0; i < sizeof tiers / sizeof tiers[0]; i++) {
        const json_t *tier = json_object_get(stats, tiers[i]);
        const json_t *histogram = json_object_get(tier, "latency");
        if (!histogram)
            continue;
        if (!headed)
            put_head(out, name, "histogram", "From a load's first read to its verified chunk.");
        headed = true;
        put_buckets(out, name, tiers[i], histogram);
    }
}

static void put_breakers(FILE *out, const json_t *stats)
{
    static const char *const connections[] = {"reads", "writes"};
    static const char *const states[] = {"closed", "half-open", "open"};
    const json_t *redis = json_object_get(stats, "redis");
    bool headed = false;
    for (size_t i = 0; i < sizeof connections / sizeof connections[0]; i++) {
        const char *state =
            json_string_value(json_object_get(json_object_get(redis, connections[i]), "breaker"));
        for (unsigned value = 0; state && value < sizeof states / sizeof states[0]; value++) {
            if (strcmp(state, states[value]) != 0)
                continue;
            if (!headed)
                put_head(
                    out, "redis_breaker_state", "gauge",
                    "0 closed: the Redis is used; 1 half-open: it is tried; 2 open: not used.");
            headed = true;
            (void)fprintf(out, "swbroker_redis_breaker_state{connection=\"%s\"} %u\n",
                          connections[i], value);
        }
    }
}

static void put_build(FILE *out, const json_t *stats)
{
    static const char *const keys[] = {"version", "io_engine", "policy"};
    put_head(out, "build_info", "gauge", "What the broker is; always 1.");
    (void)fputs("swbroker_build_info{", out);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const char *value = json_string_value(json_object_get(stats, keys[i]));
        (void)fputs(i ? "," : "", out);
        put_label(out, keys[i], value ? value : "");
    }
    (void)fputs("} 1\n", out);
}

static void put_isolation(FILE *out, const json_t *stats)
{
    const char *isolation = json_string_value(json_object_get(stats, "isolation"));
    if (!isolation)
        return;
    put_head(out, "isolated", "gauge",
             "1 while no client could write the cache (see swbrokerd(8)).");
    (void)fprintf(out, "swbroker_isolated %d\n", strcmp(isolation, "uid") == 0);
}

char *metrics_format(const json_t *stats)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    put_head(out, "up", "gauge", "1 when the broker answers.");
    (void)fprintf(out, "swbroker_up %d\n", stats != NULL);
    if (stats) {
        put_table(out, stats);
        put_latencies(out, stats);
        put_breakers(out, stats);
        put_isolation(out, stats);
        put_build(out, stats);
    }
    bool failed = ferror(out) != 0;
    if (fclose(out) != 0 || failed) {
        free(text);
        return NULL;
    }
    return text;
}
