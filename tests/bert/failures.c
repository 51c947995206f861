/* SPDX-License-Identifier: MIT */
/* swbert when something is wrong: one line that says what, where and what to do, and an exit
 * status. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "bert/fixture.h"

TestSuite(swbert_failures, .init = swbert_start, .fini = swbert_stop, .timeout = 120);

/* Exits with the status, prints nothing but one line on stderr that names the parts. */
static void expect_failure(struct sup_result result, int status, const char *part,
                           const char *other_part)
{
    cr_expect_eq(result.exit_code, status, "exit %d: %s", result.exit_code, result.err);
    cr_expect_str_eq(result.out, "");
    const char *feed = strchr(result.err, '\n');
    cr_expect(feed && feed[1] == '\0', "not one line: %s", result.err);
    cr_expect(strncmp(result.err, "swbert", 6) == 0, "%s", result.err);
    cr_expect(strstr(result.err, part) && strstr(result.err, other_part),
              "\"%s\" names not both \"%s\" and \"%s\"", result.err, part, other_part);
}

Test(swbert_failures, wrong_usage_is_two)
{
    expect_failure(swbert_run("", 0, SUP_ARGS("swbert")), 2, "command", "--help");
    expect_failure(SWBERT("", "dance"), 2, "dance", "--help");
    expect_failure(SWBERT("", "embed"), 2, "--model", "--help");
    expect_failure(SWBERT("", "embed", "--model"), 2, "--model", "value");
    expect_failure(SWBERT("", "embed", "--model", "tiny", "--fast"), 2, "--fast", "--help");
    expect_failure(SWBERT("", "embed", "--model", "tiny", "text"), 2, "text", "--help");
    expect_failure(SWBERT("", "embed", "--model", "tiny", "--pooling", "sum"), 2, "sum", "mean");
    expect_failure(SWBERT("", "embed", "--model", "tiny", "--format", "csv"), 2, "csv", "npy");
    expect_failure(SWBERT("", "embed", "--model", "tiny", "--batch-size", "0"), 2, "--batch-size",
                   "1");
    expect_failure(SWBERT("", "embed", "--model", "tiny", "--threads", "-1"), 2, "--threads", "-1");
    expect_failure(SWBERT("", "embed", "--model", "tiny", "--max-tokens", "1x"), 2, "--max-tokens",
                   "1x");
    expect_failure(SWBERT("", "tokenize", "--model", "tiny", "--max-tokens", "1"), 2,
                   "--max-tokens", "[CLS]");
    expect_failure(SWBERT("", "forward", "--model", "tiny"), 2, "--ids", "--help");
    expect_failure(SWBERT("", "forward", "--model", "tiny", "--ids", "1 two"), 2, "two", "number");
}

Test(swbert_failures, ids_that_the_model_does_not_know)
{
    expect_failure(SWBERT("", "forward", "--model", "tiny", "--ids", ""), 1, "--ids", "no ids");
    expect_failure(SWBERT("", "forward", "--model", "tiny", "--ids", "1 2 99999999999999999999"), 1,
                   "999999", "number 3");
    expect_failure(SWBERT("", "forward", "--model", "tiny", "--ids", "1 30522"), 1, "30522",
                   "30521");
    expect_failure(SWBERT("", "forward", "--model", "tiny", "--ids", "-1"), 1, "-1", "0 to");
    expect_failure(SWBERT("", "forward", "--model", "bare", "--ids",
                          "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17"),
                   1, "17 ids", "16");
    expect_failure(SWBERT("", "forward", "--model", "tiny", "--ids", "1 2", "--type-ids", "0"), 1,
                   "--type-ids", "2");
    expect_failure(SWBERT("", "forward", "--model", "tiny", "--ids", "1", "--type-ids", "2"), 1,
                   "--type-ids", "0 to 1");
    expect_failure(SWBERT("", "forward", "--model", "tiny", "--ids", "1", "--mask", "2"), 1,
                   "--mask", "0 to 1");
}

Test(swbert_failures, a_model_that_is_not_there)
{
    static const char *const commands[] = {"embed", "forward", "tokenize"};
    for (size_t i = 0; i < 3; i++) {
        const char *words[] = {"swbert", commands[i], "--model", "nobody", NULL, NULL, NULL};
        if (i == 1) {
            words[4] = "--ids";
            words[5] = "1";
        }
        expect_failure(swbert_run("", 0, words), 1, "nobody", commands[i]);
    }
    expect_failure(SWBERT("", "embed", "--model", "../tiny"), 1, "tiny", "embed");
}

Test(swbert_failures, a_broker_that_is_not_there)
{
    const char *socket = sup_path("no-such-socket");
    expect_failure(SWBERT("a\n", "embed", "--model", "tiny", "--socket", socket), 1, socket,
                   "swbrokerd");
    sup_write_text(sup_path("file"), "no socket");
    expect_failure(SWBERT("a\n", "embed", "--model", "tiny", "--socket", sup_path("file")), 1,
                   "file", "embed");
}

Test(swbert_failures, what_the_model_cannot_do)
{
    expect_failure(SWBERT("a\n", "embed", "--model", "bare", "--pooling", "pooler"), 1, "bare",
                   "pooler");
    expect_failure(SWBERT("a\n", "embed", "--model", "bare", "--max-tokens", "17"), 1, "17", "16");
}

Test(swbert_failures, output_that_does_not_arrive)
{
    const char *command =
        sup_format("echo text | %s/swbert embed --model tiny >/dev/full", SW_BUILD_DIR);
    expect_failure(sup_run(SUP_ARGS("/bin/sh", "-c", command)), 1, "standard output", "space");
    /* more than stdio's buffer holds, so that the failure comes before the last flush */
    command = sup_format("seq 300 | %s/swbert embed --model tiny >/dev/full", SW_BUILD_DIR);
    expect_failure(sup_run(SUP_ARGS("/bin/sh", "-c", command)), 1, "standard output", "space");
    command =
        sup_format("seq 300 | %s/swbert embed --model tiny --format npy >/dev/full", SW_BUILD_DIR);
    expect_failure(sup_run(SUP_ARGS("/bin/sh", "-c", command)), 1, "standard output", "space");
    command = sup_format("%s/swbert --help >/dev/full", SW_BUILD_DIR);
    expect_failure(sup_run(SUP_ARGS("/bin/sh", "-c", command)), 1, "standard output", "space");
}

Test(swbert_failures, an_unknown_model_in_one_clear_sentence)
{
    struct sup_result result = SWBERT("a\n", "embed", "--model", "nope");
    cr_assert_eq(result.exit_code, 1);
    const char *start = "swbert embed: no model nope in /";
    cr_assert_eq(strncmp(result.err, start, strlen(start)), 0, "%s", result.err);
    cr_assert_null(strstr(result.err + strlen(start), "nope"), "%s", result.err);
}

Test(swbert_failures, input_that_cannot_be_read)
{
    const char *command = sup_format("%s/swbert embed --model tiny <%s", SW_BUILD_DIR, sup_dir());
    expect_failure(sup_run(SUP_ARGS("/bin/sh", "-c", command)), 1, "standard input", "directory");
}

Test(swbert_failures, a_temporary_directory_that_is_not_there)
{
    const char *command =
        sup_format("echo text | TMPDIR=%s/nowhere %s/swbert embed --model tiny --format npy",
                   sup_dir(), SW_BUILD_DIR);
    expect_failure(sup_run(SUP_ARGS("/bin/sh", "-c", command)), 1, "temporary file", "TMPDIR");
}

Test(swbert_failures, help_and_version_are_none)
{
    static const char *const commands[] = {"embed", "forward", "tokenize"};
    struct sup_result result = SWBERT("", "--version");
    cr_expect_eq(result.exit_code, 0);
    cr_expect_str_eq(result.out, "swbert " SW_VERSION_STRING "\n");
    result = SWBERT("", "--help");
    cr_expect_eq(result.exit_code, 0);
    for (size_t i = 0; i < 3; i++) {
        cr_expect(strstr(result.out, commands[i]));
        struct sup_result own = SWBERT("", commands[i], "--help");
        cr_expect_eq(own.exit_code, 0);
        cr_expect(strstr(own.out, sup_format("Usage: swbert %s ", commands[i])));
        cr_expect_str_eq(own.err, "");
    }
}
