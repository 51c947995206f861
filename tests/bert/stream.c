/* SPDX-License-Identifier: MIT */
/* swbert as a filter: it answers while its input is still open, and ends without fuss when its
 * reader has gone.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bert/fixture.h"

TestSuite(swbert_stream, .init = swbert_start, .fini = swbert_stop, .timeout = 120);

struct filter {
    pid_t pid;
    int in, out;
    const char *err;
};

/* swbert with these words, its standard input and output at the other ends of two fifos. */
static struct filter start(const char *words)
{
    const char *in = sup_path("in"), *out = sup_path("out");
    struct filter filter = {.err = sup_path("err")};
    cr_assert_eq(mkfifo(in, 0600), 0);
    cr_assert_eq(mkfifo(out, 0600), 0);
    const char *command = sup_format("exec %s/swbert %s <%s >%s", SW_BUILD_DIR, words, in, out);
    filter.pid = sup_spawn(SUP_ARGS("/bin/sh", "-c", command), NULL, filter.err);
    filter.in = open(in, O_WRONLY | O_CLOEXEC);
    filter.out = open(out, O_RDONLY | O_CLOEXEC);
    cr_assert(filter.in >= 0 && filter.out >= 0);
    return filter;
}

static void say(const struct filter *filter, const char *text)
{
    cr_assert_eq(write(filter->in, text, strlen(text)), (ssize_t)strlen(text));
}

/* Reads until so many lines have come, and a little longer to see that no more do. */
static void expect_lines(const struct filter *filter, int lines)
{
    char buffer[4096];
    struct pollfd ready = {.fd = filter->out, .events = POLLIN};
    while (lines > 0 && poll(&ready, 1, 60000) == 1) {
        ssize_t count = read(filter->out, buffer, sizeof buffer);
        cr_assert_gt(count, 0);
        for (ssize_t i = 0; i < count; i++)
            lines -= buffer[i] == '\n';
    }
    cr_expect_eq(lines, 0);
    cr_expect_eq(poll(&ready, 1, 50), 0, "nothing more was expected");
}

static void expect_quiet_end(struct filter *filter)
{
    cr_expect_eq(sup_wait(filter->pid, 60000), 0);
    cr_expect_str_eq(sup_read(filter->err, NULL), "");
}

Test(swbert_stream, embed_answers_when_the_input_pauses)
{
    struct filter filter = start("embed --model tiny --batch-size 32");
    say(&filter, "hello\n");
    expect_lines(&filter, 1);
    say(&filter, "one\ntwo\nthree\nhalf a li");
    expect_lines(&filter, 3);
    say(&filter, "ne\n");
    expect_lines(&filter, 1);
    (void)close(filter.in);
    expect_quiet_end(&filter);
    (void)close(filter.out);
}

Test(swbert_stream, tokenize_answers_when_the_input_pauses)
{
    struct filter filter = start("tokenize --model tiny");
    say(&filter, "hello\nworld\n");
    expect_lines(&filter, 2);
    say(&filter, "again\n");
    expect_lines(&filter, 1);
    (void)close(filter.in);
    expect_quiet_end(&filter);
    (void)close(filter.out);
}

Test(swbert_stream, a_reader_that_goes_is_no_failure)
{
    static const char *const commands[] = {"embed --model tiny", "tokenize --model tiny"};
    for (size_t i = 0; i < 2; i++) {
        struct filter filter = start(commands[i]);
        say(&filter, "hello\n");
        expect_lines(&filter, 1);
        (void)close(filter.out);
        say(&filter, "hello\n");
        /* it ends by itself, though its input is still open */
        expect_quiet_end(&filter);
        (void)close(filter.in);
        cr_assert_eq(unlink(sup_path("in")), 0);
        cr_assert_eq(unlink(sup_path("out")), 0);
    }
}

Test(swbert_stream, plenty_of_input)
{
    size_t size = 0;
    char *input = malloc(3000 * 16), *at = input;
    cr_assert(input);
    for (int i = 0; i < 3000; i++)
        at += sprintf(at, "text number %d\n", i % 1000);
    size = (size_t)(at - input);
    json_t *lines = swbert_lines(input, size, SUP_ARGS("swbert", "embed", "--model", "bare"));
    cr_assert_eq(json_array_size(lines), 3000);
    for (size_t i = 0; i < 3000; i++) {
        json_t *line = json_array_get(lines, i);
        cr_assert_str_eq(json_string_value(json_object_get(line, "text")),
                         sup_format("text number %zu", i % 1000));
        cr_assert(i < 1000 ||
                  json_equal(json_object_get(line, "embedding"),
                             json_object_get(json_array_get(lines, i - 1000), "embedding")));
    }
    json_decref(lines);
    free(input);
}
