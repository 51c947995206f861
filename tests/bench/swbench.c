/* SPDX-License-Identifier: MIT */
/* swbench's commands as programs, on a model that is small enough to be quick: they run to their
 * end, print what their manual says, and leave nothing behind. No figure is judged here but those
 * that do not depend on time. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "support/support.h"

TestSuite(swbench, .timeout = 115);

static const char *model(void)
{
    return sup_synth(sup_dir(), "model", SUP_ARGS("--layers", "12", "--vocab-size", "1000"));
}

static json_t *run(const char *const argv[])
{
    /* their own directory, so that the test sees what they leave */
    sup_mkdir(sup_path("tmp"));
    (void)setenv("TMPDIR", sup_path("tmp"), 1);
    char *out = sup_run_ok(argv);
    json_error_t error;
    json_t *report = json_loads(out, 0, &error);
    cr_assert(json_is_object(report), "%s: %s", argv[1], error.text);
    cr_assert_str_eq(json_string_value(json_object_get(report, "benchmark")), argv[1]);
    cr_assert_eq(sup_count_entries(sup_path("tmp")), 0, "%s left something behind", argv[1]);
    return report;
}

static double number(const json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);
    cr_assert(json_is_number(value), "no number %s", key);
    return json_number_value(value);
}

Test(swbench, workers)
{
    json_t *report =
        run(SUP_ARGS("swbench", "workers", "--model", model(), "--rounds", "1", "--json"));
    json_t *list = json_object_get(report, "by_workers");
    cr_assert_eq(json_array_size(list), 4);
    double model_kb = number(report, "model_bytes") / 1024;
    for (size_t i = 0; i < 4; i++) {
        json_t *one = json_array_get(list, i);
        double workers = number(one, "workers");
        cr_assert_eq(workers, (double)(1u << i));
        cr_assert_geq(number(one, "pss_kb_total"), model_kb);
        cr_assert_geq(number(one, "pss_kb_total_private_copies"), workers * model_kb);
        cr_assert_geq(number(one, "pss_kb_total_mmap"), 0.9 * model_kb);
    }
    json_decref(report);
}

Test(swbench, touch)
{
    json_t *report =
        run(SUP_ARGS("swbench", "touch", "--model", model(), "--rounds", "2", "--json"));
    cr_assert_gt(number(report, "first_touch_ms_p50"), 0);
    cr_assert_gt(number(report, "small_pages_ms_p50"), 0);
    json_decref(report);
}

Test(swbench, stream)
{
    json_t *report = run(SUP_ARGS("swbench", "stream", "--model", model(), "--tokens", "4",
                                  "--passes", "3", "--rounds", "1", "--json"));
    json_t *runs = json_object_get(report, "runs");
    cr_assert_eq(number(report, "arena_percent"), 50);
    (void)number(report, "byte_hit_rate");
    cr_assert_eq(json_array_size(runs), 6);
    for (size_t i = 0; i < 6; i++) {
        json_t *one = json_array_get(runs, i);
        cr_assert_eq(number(one, "lost_records"), 0);
        cr_assert_leq(number(one, "byte_hit_rate_bound"),
                      number(one, "byte_hit_rate_bound_in_parts"));
        cr_assert_leq(number(one, "byte_hit_rate_simulated_next_use"),
                      number(one, "byte_hit_rate_bound") + 1e-9);
        cr_assert_gt(number(one, "pass_ms_p50"), 0);
    }
    json_decref(report);
}

Test(swbench, overhead)
{
    json_t *report =
        run(SUP_ARGS("swbench", "overhead", "--model", model(), "--rounds", "10", "--json"));
    cr_assert_gt(number(report, "public_us_p50"), 0);
    cr_assert_gt(number(report, "engine_us_p50"), 0);
    cr_assert_gt(number(report, "ratio"), 0);
    cr_assert_gt(number(report, "ratio_processor"), 0);
    json_decref(report);
}

Test(swbench, submit)
{
    json_t *report = run(SUP_ARGS("swbench", "submit", "--model", model(), "--models", "3",
                                  "--requests", "20", "--rounds", "1", "--json"));
    cr_assert_eq(number(report, "requests"), 60);
    cr_assert_leq(number(report, "cancelled"), 6);
    cr_assert_gt(number(report, "turns"), 1);
    cr_assert_gt(number(report, "loop_stall_ms_max"), 0);
    cr_assert_leq(number(report, "loop_stall_own_ms_max"), number(report, "loop_stall_ms_max"));
    cr_assert_gt(number(report, "blocking_stall_ms_p50"), 0);
    json_decref(report);
}

Test(swbench, flood)
{
    json_t *report = run(SUP_ARGS("swbench", "flood", "--model", model(), "--clients", "8",
                                  "--rounds", "1", "--json"));
    cr_assert_eq(number(report, "wrong_chunks"), 0);
    cr_assert_geq(number(report, "flood_operations_least"), 1000);
    cr_assert_gt(number(json_object_get(report, "broker_counts"), "protocol_errors"), 0);
    cr_assert_eq(number(json_object_get(report, "broker_counts"), "digest_errors"), 0);
    cr_assert_gt(number(report, "misses_measured"), 0);
    json_decref(report);
}

Test(swbench, restart)
{
    struct sup_result result =
        sup_run(SUP_ARGS("swbench", "restart", "--restarts", "1", "--model", sup_path("nowhere")));
    cr_assert_eq(result.exit_code, 1);
    if (strstr(result.err, "without libsystemd"))
        cr_skip_test("this broker keeps nothing over a restart\n");
    json_t *report = run(SUP_ARGS("swbench", "restart", "--model", model(), "--restarts", "2",
                                  "--clients", "3", "--json"));
    cr_assert_eq(number(report, "failed_passes"), 0);
    cr_assert_eq(number(report, "wrong_passes"), 0);
    cr_assert_gt(number(report, "passes"), 50);
    cr_assert_gt(number(report, "exit_ms_max"), 0);
    cr_assert_gt(number(report, "ready_ms_max"), 0);
    cr_assert_gt(number(report, "adopted_chunks"), 0);
    cr_assert_eq(number(report, "hit_rate"), 1);
    json_decref(report);
}

Test(swbench, policy)
{
    const char *trace = sup_path("trace");
    sup_write_text(trace, "surfing-weights-trace 1\nbudget 1 2000000\n"
                          "chunk 0 5 0 2 1000000 m/a\nchunk 1 5 1 2 1000000 m/b\n"
                          "miss 10 0 0\nmiss 20 0 1\nhit 30 0 0\nhit 40 0 1\nend 50\n");
    json_t *report = run(
        SUP_ARGS("swbench", "policy", trace, "--json", "--budget", "2100000B", "--budget", "1M"));
    json_t *list = json_object_get(report, "budgets");
    cr_assert_eq(json_array_size(list), 2);
    cr_assert_eq(number(report, "uses"), 4);
    cr_assert_eq(number(report, "byte_hit_rate_recorded"), 0.5);
    cr_assert_eq(number(json_array_get(list, 0), "byte_hit_rate_lru"), 0.5);
    cr_assert_eq(number(json_array_get(list, 0), "byte_hit_rate_bound"), 0.5);
    cr_assert_eq(number(json_array_get(list, 1), "byte_hit_rate_lru"), 0);
    cr_assert_eq(number(json_array_get(list, 1), "byte_hit_rate_bound"), 0);
    json_decref(report);
}

Test(swbench, bad_input_gets_one_line)
{
    static const struct {
        const char *argv[5], *part;
        int status;
    } bad[] = {
        {{"swbench", "policy", NULL}, "TRACE", 2},
        {{"swbench", "policy", "/nonexistent", NULL}, "/nonexistent", 1},
        {{"swbench", "policy", "/etc/passwd", NULL}, "not a trace", 1},
        {{"swbench", "policy", "x", "--budget", "many"}, "--budget", 2},
        {{"swbench", "stream", "--rounds", "0", NULL}, "--rounds", 2},
        {{"swbench", "workers", "--model", "/etc", NULL}, "chunk_info.json", 1},
        {{"swbench", "touch", "much", NULL}, "much", 2},
        {{"swbench", "submit", "--models", "65", NULL}, "--models", 2},
        {{"swbench", "overhead", "--cell", "0x4", NULL}, "0x4", 2},
        {{"swbench", "flood", "--clients", "1000", NULL}, "--clients", 2},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const char *argv[6] = {NULL};
        memcpy(argv, bad[i].argv, sizeof bad[i].argv);
        struct sup_result result = sup_run(argv);
        cr_expect_eq(result.exit_code, bad[i].status, "case %zu exits with %d", i,
                     result.exit_code);
        cr_expect(strstr(result.err, bad[i].part), "case %zu says: %s", i, result.err);
        cr_expect_eq(strchr(result.err, '\n'), result.err + result.err_size - 1,
                     "case %zu says more than a line: %s", i, result.err);
    }
}
