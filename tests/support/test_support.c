/* SPDX-License-Identifier: MIT */
/* Tests of the helpers: a helper that loses output or leaves processes behind would hide faults
 * elsewhere. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/support.h"

Test(support, captures_output_and_exit_code, .timeout = 20)
{
    struct sup_result result =
        sup_run(SUP_ARGS("/bin/sh", "-c", "printf out; printf err >&2; exit 3"));
    cr_assert_eq(result.exit_code, 3);
    cr_assert_str_eq(result.out, "out");
    cr_assert_str_eq(result.err, "err");
    cr_assert_eq(sup_run(SUP_ARGS("/bin/sh", "-c", "kill -9 $$")).exit_code, 128 + SIGKILL);
}

Test(support, passes_large_input_through, .timeout = 20)
{
    size_t size = 3 << 20;
    const char *path = sup_path("big");
    (void)sup_run_ok(SUP_ARGS("/usr/bin/truncate", "-s", "3M", path));
    char *data = sup_read(path, &size);
    memset(data, 'x', size);
    struct sup_result result = sup_run_input(SUP_ARGS("/bin/cat"), data, size);
    cr_assert_eq(result.out_size, size);
    cr_assert_eq(memcmp(result.out, data, size), 0);
}

Test(support, waits_and_says_when_still_running, .timeout = 20)
{
    pid_t pid = sup_spawn(SUP_ARGS("/bin/sleep", "60"), NULL, NULL);
    cr_assert_eq(sup_wait(pid, 20), -1);
    cr_assert_eq(kill(pid, SIGKILL), 0);
    cr_assert_eq(sup_wait(pid, 5000), 128 + SIGKILL);
}

/* A process that creates its directory and a child, reports both, and is killed. */
static void doomed(int say)
{
    const char *path = sup_path("file");
    sup_write_text(path, "text");
    pid_t child = sup_spawn(SUP_ARGS("/bin/sleep", "60"), NULL, NULL);
    (void)dprintf(say, "%s\n%d\n", sup_dir(), (int)child);
    for (;;)
        pause();
}

/* Whether a process has ended. Without a reaping init, as in many containers, it stays a zombie,
 * which kill still finds. */
static bool ended(const char *pid)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/stat", atoi(pid));
    FILE *file = fopen(path, "re");
    if (!file)
        return true;
    char state = 0;
    int fields = fscanf(file, "%*d (%*[^)]) %c", &state);
    (void)fclose(file);
    return fields == 1 && state == 'Z';
}

static bool both_gone(void *context)
{
    char *path = context;
    char *pid = strchr(path, '\n') + 1;
    char directory[64] = "";
    memcpy(directory, path, (size_t)(pid - path) - 1);
    return !sup_exists(directory) && ended(pid);
}

Test(support, leaves_nothing_when_killed, .timeout = 20)
{
    int ends[2];
    cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0)
        doomed(ends[1]);
    char text[64] = "";
    size_t size = 0;
    while (size < 2 || text[size - 1] != '\n' || strchr(text, '\n') == text + size - 1) {
        ssize_t count = read(ends[0], text + size, sizeof text - 1 - size);
        cr_assert_gt(count, 0);
        size += (size_t)count;
    }
    cr_assert_eq(kill(pid, SIGKILL), 0);
    cr_assert_eq(waitpid(pid, NULL, 0), pid);
    cr_assert(sup_until(both_gone, text, 5000), "left behind: %s", text);
}
