/* SPDX-License-Identifier: MIT */
/* The line of progress: what it says, and when it is there. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "cli/progress.h"
#include "support/support.h"

#define SECOND 1000000000ull
#define MIB    (1ull << 20)

static void expect_line(struct cli_progress progress, uint64_t elapsed_ns, unsigned columns,
                        const char *expected)
{
    char text[512];
    cli_progress_format(&progress, elapsed_ns, columns, text, sizeof text);
    cr_assert_str_eq(text, expected);
}

Test(progress, tells_rate_and_time_left, .timeout = 10)
{
    struct cli_progress progress = {
        .what = "importing", .item = "layer_3", .total_bytes = 4000 * MIB};
    progress.done_bytes = 1000 * MIB;
    expect_line(progress, 10 * SECOND, 200,
                "importing layer_3   25%  1000 MiB of 3.9 GiB  100 MiB/s  "
                "0:30 left");
    progress.total_bytes = 1000 * 1000 * MIB;
    expect_line(progress, 10 * SECOND, 200,
                "importing layer_3    0%  1000 MiB of 977 GiB  100 MiB/s  "
                "2:46:30 left");
}

Test(progress, tells_no_time_before_it_can_and_none_at_the_end, .timeout = 10)
{
    struct cli_progress progress = {.what = "verifying", .total_bytes = 10 * MIB};
    expect_line(progress, 5 * SECOND, 200, "verifying    0%  0 B of 10.0 MiB  0 B/s");
    progress.done_bytes = 5 * MIB;
    expect_line(progress, SECOND / 2, 200, "verifying   50%  5.0 MiB of 10.0 MiB  10.0 MiB/s");
    progress.done_bytes = 10 * MIB;
    expect_line(progress, 5 * SECOND, 200, "verifying  100%  10.0 MiB of 10.0 MiB  2.0 MiB/s");
}

Test(progress, never_wraps_and_prints_nothing_harmful, .timeout = 10)
{
    struct cli_progress progress = {.what = "importing", .item = "a\033[2J", .total_bytes = MIB};
    expect_line(progress, 0, 16, "importing a?[2J ");
    progress.item = "ääääääääääääääääääääääääääääää"; /* 24 of these 30 */
    expect_line(progress, 0, 36, "importing ääääääääääääääääääääääää  ");
}

/* Standard error becomes a terminal of that width; returns its other end. */
static int open_terminal(unsigned short columns)
{
    int outer, inner;
    struct winsize window = {.ws_row = 24, .ws_col = columns};
    cr_assert_eq(openpty(&outer, &inner, NULL, NULL, &window), 0);
    struct termios raw;
    cr_assert_eq(tcgetattr(inner, &raw), 0);
    cfmakeraw(&raw);
    cr_assert_eq(tcsetattr(inner, TCSANOW, &raw), 0);
    cr_assert_eq(dup2(inner, STDERR_FILENO), STDERR_FILENO);
    cr_assert_eq(close(inner), 0);
    cr_assert_eq(setenv("TERM", "xterm", 1), 0);
    return outer;
}

/* What has arrived by now. */
static const char *seen(int terminal)
{
    static char text[4096];
    size_t size = 0;
    struct pollfd poller = {.fd = terminal, .events = POLLIN};
    while (size + 1 < sizeof text && poll(&poller, 1, 50) > 0) {
        ssize_t count = read(terminal, text + size, sizeof text - 1 - size);
        if (count <= 0)
            break;
        size += (size_t)count;
    }
    text[size] = 0;
    return text;
}

Test(progress, is_drawn_on_a_terminal_and_wiped_at_the_end, .timeout = 10)
{
    int terminal = open_terminal(32);
    struct cli_progress progress;
    cli_progress_begin(&progress, "importing", 10 * MIB, false);
    cli_progress_add(&progress, 5 * MIB);
    const char *text = seen(terminal);
    cr_assert_eq(strncmp(text, "\r\033[Kimporting   50%  5.0 MiB of", 30), 0, "%s", text);
    cr_assert_eq(strlen(text), 4 + 31, "cut to the terminal's width: %s", text);
    cli_progress_add(&progress, MIB);
    cr_assert_str_eq(seen(terminal), "", "it was drawn a moment ago");
    cli_progress_clear(&progress);
    cr_assert_str_eq(seen(terminal), "\r\033[K");
    cli_progress_clear(&progress);
    cr_assert_str_eq(seen(terminal), "");
}

static void expect_silence(int terminal, bool quiet)
{
    struct cli_progress progress;
    cli_progress_begin(&progress, "importing", 10 * MIB, quiet);
    cli_progress_add(&progress, 5 * MIB);
    cli_progress_clear(&progress);
    cr_assert_str_eq(seen(terminal), "");
}

Test(progress, stays_silent_where_nobody_wants_it, .timeout = 10)
{
    int terminal = open_terminal(80);
    expect_silence(terminal, true);
    cr_assert_eq(setenv("TERM", "dumb", 1), 0);
    expect_silence(terminal, false);

    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    cr_assert_eq(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
    cr_assert_eq(setenv("TERM", "xterm", 1), 0);
    expect_silence(ends[0], false);
}

/* ---- a program with it ----------------------------------------------------------------------- */

static const char *output_of_synth(const char *option)
{
    static char text[65536];
    char out[] = "/tmp/sw-progress.XXXXXX";
    cr_assert_not_null(mkdtemp(out));
    int terminal;
    pid_t pid = forkpty(&terminal, NULL, NULL, NULL);
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        (void)setenv("TERM", "xterm", 1);
        (void)execl(SW_BUILD_DIR "/swchunk", "swchunk", "synth", "bert-tiny", out, "--force",
                    option, NULL);
        _exit(127);
    }
    size_t size = 0;
    ssize_t count;
    while (size + 1 < sizeof text &&
           (count = read(terminal, text + size, sizeof text - 1 - size)) > 0)
        size += (size_t)count;
    text[size] = 0;
    int status;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert_eq(status, 0, "%s", text);
    sup_remove_tree(out);
    return text;
}

Test(progress, of_swchunk_is_on_the_terminal_unless_quiet, .timeout = 60)
{
    const char *text = output_of_synth(NULL);
    cr_assert_not_null(strstr(text, "\r\033[Kgenerating "), "%s", text);
    cr_assert_not_null(strstr(text, "MiB/s"), "%s", text);
    cr_assert_str_eq(text + strlen(text) - 4, "\r\033[K", "the line is gone at the end");
    cr_assert_str_eq(output_of_synth("--quiet"), "");
}
