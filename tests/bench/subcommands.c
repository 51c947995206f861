/* SPDX-License-Identifier: MIT */
/* swbench: what it prints and what it leaves behind. No figure is judged here. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "support/support.h"

TestSuite(bench, .timeout = 120);

/* Everything that swbench makes is under this test's own directory. */
static const char *work(void)
{
    const char *path = sup_path("work");
    sup_mkdir(path);
    cr_assert_eq(setenv("TMPDIR", path, 1), 0);
    return path;
}

Test(bench, help_lists_every_command_and_each_has_its_own)
{
    const char *help = sup_run_ok(SUP_ARGS("swbench", "--help"));
    int commands = 0;
    for (const char *line = help; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        char name[32];
        if (sscanf(line, "  %31[a-z]", name) != 1 || line[2] == ' ' || line[2] == '-')
            continue;
        const char *own = sup_run_ok(SUP_ARGS("swbench", name, "--help"));
        cr_expect_not_null(strstr(own, name), "the help of %s: %s", name, own);
        commands++;
    }
    cr_expect_geq(commands, 1);
}

Test(bench, refuses_what_it_does_not_know_in_one_line)
{
    const char *const wrong[][4] = {{"swbench", "aquire", NULL},
                                    {"swbench", "acquire", "everything", NULL},
                                    {"swbench", "acquire", "--rounds=0", NULL},
                                    {"swbench", "acquire", "--model=/nonexistent", NULL}};
    (void)work();
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct sup_result result = sup_run(wrong[i]);
        cr_expect_neq(result.exit_code, 0);
        cr_expect_str_empty(result.out);
        char *end = strchr(result.err, '\n');
        cr_expect(end && end[1] == 0, "one line: %s", result.err);
    }
}

Test(bench, acquire_prints_one_object_and_leaves_nothing)
{
    const char *directory = work();
    const char *said = sup_run_ok(SUP_ARGS("swbench", "acquire", "--json", "--rounds", "1"));
    json_error_t error;
    json_t *report = json_loads(said, 0, &error);
    cr_assert(json_is_object(report), "%s: %s", error.text, said);
    const char *const figures[] = {"acquire_release_ns_p50", "acquire_release_ns_p99",
                                   "acquire_release_two_processes_ns_p50",
                                   "component_acquire_release_ns_p50", "mmap_ns_p50"};
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++)
        cr_expect_gt(json_real_value(json_object_get(report, figures[i])), 0, "%s", figures[i]);
    json_t *redis = json_object_get(report, "redis_get_ns_p50");
    cr_expect(json_is_null(redis) || json_real_value(redis) > 0, "null where it is not installed");
    cr_expect(json_is_string(json_object_get(json_object_get(report, "machine"), "cpu")));
    json_decref(report);
    cr_expect_eq(sup_count_entries(directory), 0);
}

Test(bench, coldstart_tells_a_start_from_a_warm_pass)
{
    const char *directory = work();
    const char *model = sup_synth(sup_dir(), "tiny", NULL);
    const char *said =
        sup_run_ok(SUP_ARGS("swbench", "coldstart", "--json", "--rounds", "2", "--model", model));
    json_t *report = json_loads(said, 0, NULL);
    cr_assert(json_is_object(report), "%s", said);
    double first = json_real_value(json_object_get(report, "first_embedding_ms_p50"));
    double warm = json_real_value(json_object_get(report, "warm_forward_ms_p50"));
    cr_expect_gt(warm, 0);
    cr_expect_gt(first, 0);
    json_decref(report);
    cr_expect_eq(sup_count_entries(directory), 0);
}

static bool has_entries(void *directory)
{
    return sup_count_entries(directory) > 0;
}

static bool is_empty(void *directory)
{
    return sup_count_entries(directory) == 0;
}

Test(bench, leaves_nothing_when_it_is_killed)
{
    char *directory = strdup(work());
    pid_t pid = sup_spawn(SUP_ARGS("swbench", "acquire", "--rounds", "100000"), NULL, NULL);
    cr_assert(sup_until(has_entries, directory, 20000));
    sup_sleep_ms(500); /* somewhere between its model and its measurements */
    cr_assert_eq(kill(pid, SIGKILL), 0);
    cr_expect_eq(sup_wait(pid, 20000), 128 + SIGKILL);
    cr_expect(sup_until(is_empty, directory, 20000), "its directory is still there");
    free(directory);
}
