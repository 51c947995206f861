/* SPDX-License-Identifier: MIT */
/* swbench serve: the line protocol by which comparisons ask for passes. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "support/support.h"

TestSuite(bench_serve, .timeout = 120);

/* Each line of what swbench serve answers to these requests. */
static json_t **converse(const char *requests, size_t *ret_count)
{
    const char *catalog = sup_path("models");
    sup_mkdir(catalog);
    const char *model = sup_synth(catalog, "tiny", NULL);
    cr_assert_eq(setenv("TMPDIR", sup_dir(), 1), 0);
    struct sup_result result =
        sup_run_input(SUP_ARGS("swbench", "serve", "--model", model), requests, strlen(requests));
    cr_assert_eq(result.exit_code, 0, "%s", result.err);
    json_t **answers = calloc(strlen(result.out) + 1, sizeof *answers);
    size_t count = 0;
    char *rest = NULL;
    for (char *line = strtok_r(result.out, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        answers[count] = json_loads(line, 0, NULL);
        cr_assert(json_is_object(answers[count]), "not an object: %s", line);
        count++;
    }
    *ret_count = count;
    return answers;
}

static void done(json_t **answers, size_t count)
{
    for (size_t i = 0; i < count; i++)
        json_decref(answers[i]);
    free(answers);
}

static json_int_t integer(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

Test(bench_serve, answers_every_request_with_one_line)
{
    size_t count;
    json_t **answers = converse("batch 5 1 512\nrun 3\nbatch 7\nrun 1\n", &count);
    cr_assert_eq(count, 5);
    cr_expect(json_is_true(json_object_get(answers[0], "ready")));
    cr_expect_eq(integer(answers[0], "threads"), 1);
    cr_expect_eq(integer(answers[1], "sequences"), 3);
    cr_expect_eq(integer(answers[1], "tokens"), 518);
    cr_expect_eq(integer(answers[3], "tokens"), 7);
    const size_t passes[] = {3, 1};
    for (size_t i = 0; i < 2; i++) {
        const json_t *wall = json_object_get(answers[2 + 2 * i], "ns");
        const json_t *processor = json_object_get(answers[2 + 2 * i], "cpu_ns");
        cr_assert_eq(json_array_size(wall), passes[i]);
        cr_assert_eq(json_array_size(processor), passes[i]);
        for (size_t pass = 0; pass < passes[i]; pass++) {
            cr_expect_gt(json_integer_value(json_array_get(wall, pass)), 0);
            cr_expect_gt(json_integer_value(json_array_get(processor, pass)), 0);
        }
    }
    done(answers, count);
}

Test(bench_serve, refuses_a_request_and_goes_on)
{
    size_t count;
    json_t **answers = converse("run 1\nbatch 4 513\nrun 1\nbatch\nbatch 4x\nfaster\n\nbatch 4\n"
                                "run 0\nrun\nrun 1\nquit\nrun 1\n",
                                &count);
    static const char refused[] = "011111110110"; /* "ready" first; nothing after quit */
    cr_assert_eq(count, strlen(refused));
    for (size_t i = 0; i < count; i++)
        cr_expect_eq(json_is_string(json_object_get(answers[i], "error")), refused[i] == '1',
                     "answer %zu", i);
    done(answers, count);
}
