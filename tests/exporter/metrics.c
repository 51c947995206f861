/* SPDX-License-Identifier: MIT */
/* The broker's metrics: the text that Prometheus reads, and what evictions and loads count as. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "exporter/form.h"
#include "stats/metrics.h"
#include "support/raw.h"

TestSuite(metrics, .timeout = 120);

static struct sup_broker broker;

static void start(const char *cache_size)
{
    const char *models = sup_path("models");
    sup_mkdir(models);
    (void)sup_synth(
        models, "tiny",
        SUP_ARGS("--layers", "4", "--hidden", "256", "--heads", "4", "--vocab-size", "2000"));
    broker = sup_broker_start(models, cache_size, NULL);
}

static void stop(void)
{
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

/* ---- the text -------------------------------------------------------------------------------- */

/* The value of a sample; series is its line up to the space. */
static double sample(const char *text, const char *series)
{
    const char *at = strstr(text, sup_format("\n%s ", series));
    cr_assert_not_null(at, "no %s in:\n%s", series, text);
    char *end;
    double value = strtod(at + strlen(series) + 2, &end);
    cr_assert_eq(*end, '\n', "%s", series);
    return value;
}

static const char *scrape(void)
{
    return sup_run_ok(SUP_ARGS("swctl", "stats", "--format=prometheus"));
}

Test(metrics, the_text_agrees_with_stats)
{
    start("16");
    (void)sup_run_ok(SUP_ARGS("swctl", "warm", "tiny"));
    (void)sup_run_ok(SUP_ARGS("swctl", "clear", "tiny/layer_0"));
    (void)sup_run_ok(SUP_ARGS("swctl", "pin", "tiny/layer_1"));
    const char *text = scrape();
    metrics_check_form(text);
    json_t *stats = sup_swctl(&broker, SUP_ARGS("stats"));
    static const struct {
        const char *series, *key;
    } same[] = {
        {"swbroker_arena_bytes", "arena_bytes"},
        {"swbroker_reserved_bytes", "reserved_bytes"},
        {"swbroker_resident_bytes", "resident_bytes"},
        {"swbroker_pinned_bytes", "pinned_bytes"},
        {"swbroker_operator_pinned_bytes", "operator_pinned_bytes"},
        {"swbroker_operator_pinned_chunks", "operator_pinned_chunks"},
        {"swbroker_operator_pin_limit_bytes", "operator_pin_limit_bytes"},
        {"swbroker_huge_bytes", "huge_bytes"},
        {"swbroker_chunks_resident", "chunks_resident"},
        {"swbroker_hits_total", "hits"},
        {"swbroker_misses_total", "misses"},
        {"swbroker_coalesced_total", "coalesced"},
        {"swbroker_loads_total", "loads"},
        {"swbroker_load_bytes_total", "load_bytes"},
        {"swbroker_digest_errors_total", "digest_errors"},
        {"swbroker_prefetch_used_total", "prefetch_used"},
        {"swbroker_prefetch_wasted_total", "prefetch_wasted"},
        {"swbroker_models", "models"},
        {"swbroker_sessions_revoked_total{reason=\"quota\"}", "quota_revoked"},
        {"swbroker_sessions_revoked_total{reason=\"damage\"}", "damage_revoked"},
        {"swbroker_load_duration_seconds_count{tier=\"disk\"}", "loads"},
        {"swbroker_load_duration_seconds_bucket{tier=\"disk\",le=\"+Inf\"}", "loads"},
    };
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        double value = json_number_value(json_object_get(stats, same[i].key));
        cr_assert_eq(sample(text, same[i].series), value, "%s", same[i].series);
    }
    json_decref(stats);
    cr_assert_gt(sample(text, "swbroker_resident_bytes"), 1e6);
    cr_assert_eq(sample(text, "swbroker_operator_pinned_chunks"), 1);
    cr_assert_gt(sample(text, "swbroker_load_duration_seconds_sum{tier=\"disk\"}"), 0);
    cr_assert_eq(sample(text, "swbroker_evictions_total{reason=\"clear\"}"), 1);
    cr_assert_eq(sample(text, "swbroker_evictions_total{reason=\"capacity\"}"), 0);
    cr_assert_not_null(strstr(text, "swbroker_build_info{version=\"1.0.0\",io_engine=\""));
    stop();
}

/* Buckets are cumulative, and the last holds all. */
Test(metrics, a_histogram_grows_along_its_bounds)
{
    start("16");
    (void)sup_run_ok(SUP_ARGS("swctl", "warm", "tiny"));
    const char *text = scrape();
    double last = 0, bound = 0;
    size_t buckets = 0;
    static const char lead[] = "\nswbroker_load_duration_seconds_bucket{tier=\"disk\",le=\"";
    for (const char *at = text; (at = strstr(at, lead));) {
        at += strlen(lead);
        double le = strtod(at, NULL);
        cr_assert_gt(le, bound);
        bound = le;
        double value = strtod(strstr(at, "} ") + 2, NULL);
        cr_assert_geq(value, last);
        last = value;
        buckets++;
    }
    cr_assert_geq(buckets, 10);
    cr_assert_eq(last, sample(text, "swbroker_loads_total"));
    stop();
}

Test(metrics, labels_are_escaped_and_unknown_figures_left_out)
{
    json_t *stats = json_pack("{s:b, s:s, s:s, s:I, s:f}", "ok", 1, "version", "a\"b\\c\nd",
                              "policy", "", "hits", (json_int_t)1 << 60, "uptime_s", 1.5);
    char *text = metrics_format(stats);
    cr_assert_not_null(strstr(text, "{version=\"a\\\"b\\\\c\\nd\",io_engine=\"\",policy=\"\"} 1\n"),
                       "%s", text);
    cr_assert_not_null(strstr(text, "\nswbroker_hits_total 1152921504606846976\n"), "%s", text);
    cr_assert_not_null(strstr(text, "\nswbroker_uptime_seconds 1.5\n"), "%s", text);
    cr_assert_null(strstr(text, "misses"), "%s", text);
    metrics_check_form(text);
    free(text);
    json_decref(stats);
    text = metrics_format(NULL);
    metrics_check_form(text);
    cr_assert_not_null(strstr(text, "\nswbroker_up 0\n"), "%s", text);
    cr_assert_null(strstr(text, "swbroker_hits"), "%s", text);
    free(text);
}

Test(metrics, unknown_formats_are_named)
{
    struct sup_result result = sup_run(SUP_ARGS("swctl", "stats", "--format=xml"));
    cr_assert_eq(result.exit_code, 2);
    cr_assert_not_null(strstr(result.err, "prometheus"), "%s", result.err);
}

/* ---- why chunks leave ------------------------------------------------------------------------ */

static int64_t evicted(const char *reason)
{
    json_t *stats = sup_swctl(&broker, SUP_ARGS("stats"));
    const json_t *all = json_object_get(stats, "evictions_by_reason");
    int64_t value = json_integer_value(json_object_get(all, reason)), sum = 0;
    const char *key;
    json_t *one;
    json_object_foreach(json_object_get(stats, "evictions_by_reason"), key, one) sum +=
        json_integer_value(one);
    cr_assert_eq(sum, json_integer_value(json_object_get(stats, "evictions")));
    json_decref(stats);
    return value;
}

Test(metrics, evictions_are_counted_by_their_reason)
{
    start("16");
    (void)sup_run_ok(SUP_ARGS("swctl", "warm", "tiny"));
    int64_t resident = sup_stat(&broker, "chunks_resident");
    cr_assert_geq(resident, 5);
    (void)sup_run_ok(SUP_ARGS("swctl", "clear"));
    cr_assert_eq(evicted("clear"), resident);
    (void)sup_run_ok(SUP_ARGS("swctl", "warm", "tiny"));
    (void)sup_run_ok(SUP_ARGS("swctl", "resize", "1"));
    int64_t resized = evicted("resize");
    cr_assert_geq(resized, 1);
    (void)sup_run_ok(SUP_ARGS("swctl", "resize", "16"));
    (void)sup_run_ok(SUP_ARGS("swctl", "warm", "tiny"));
    cr_assert_eq(evicted("capacity"), 0);
    cr_assert_eq(evicted("replaced"), 0);
    /* another revision: the chunks of the old one leave with its last user, here at once */
    sup_remove_tree(sup_path("models/tiny"));
    (void)sup_synth(sup_path("models"), "tiny",
                    SUP_ARGS("--layers", "4", "--hidden", "256", "--heads", "4", "--vocab-size",
                             "2000", "--seed", "9"));
    (void)sup_run_ok(SUP_ARGS("swctl", "reload"));
    cr_assert_eq(evicted("replaced"), resident);
    cr_assert_eq(evicted("resize"), resized);
    cr_assert_eq(evicted("clear"), resident);
    stop();
}

Test(metrics, a_chunk_that_makes_room_counts_as_capacity)
{
    start("4");
    struct raw raw = raw_attach(&broker, "reader");
    struct raw_model model = raw_open(&raw, "tiny");
    for (uint32_t i = 0; i < model.opened.chunks; i++)
        cr_assert_eq(raw_load(&raw, &model, i, NULL), 0);
    cr_assert_geq(evicted("capacity"), 1);
    cr_assert_eq(evicted("clear"), 0);
    raw_close(&raw);
    stop();
}

Test(metrics, an_unused_prefetch_is_wasted)
{
    start("16");
    struct raw raw = raw_attach(&broker, "guesser");
    struct raw_model model = raw_open(&raw, "tiny");
    const struct {
        struct swi_wire_prefetch head;
        uint32_t ids[2];
    } body = {{.incarnation = model.opened.incarnation, .model = model.opened.model, .count = 2},
              {model.ids[0], model.ids[1]}};
    cr_assert(
        raw_send(&raw, SWI_WIRE_PREFETCH, &body.head, sizeof body.head, body.ids, sizeof body.ids));
    for (int i = 0; i < 2000 && sup_stat(&broker, "chunks_resident") < 2; i++)
        sup_sleep_ms(5);
    cr_assert_eq(sup_stat(&broker, "prefetches"), 2);
    cr_assert_eq(raw_load(&raw, &model, 0, NULL), 0); /* one is used */
    (void)raw_pin(&raw, &model, 0);
    raw_close(&raw);
    for (int i = 0; i < 2000 && sup_stat(&broker, "clients") > 0; i++)
        sup_sleep_ms(5);
    (void)sup_run_ok(SUP_ARGS("swctl", "clear"));
    cr_assert_eq(sup_stat(&broker, "prefetch_used") + sup_stat(&broker, "prefetch_wasted"), 2);
    cr_assert_geq(sup_stat(&broker, "prefetch_wasted"), 1);
    stop();
}
