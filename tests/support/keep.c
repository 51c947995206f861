/* SPDX-License-Identifier: MIT */
/* Memory that lives as long as the test's process, and the test's directory. */
#include "keep.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support.h"

/* Every allocation is on this list, so that leak checkers find it reachable. */
struct kept {
    struct kept *next;
};
static struct kept *all;

void *sup_keep(size_t size)
{
    struct kept *block = calloc(1, sizeof *block + size + 1);
    cr_assert_not_null(block, "out of memory");
    block->next = all;
    all = block;
    return block + 1;
}

__attribute__((format(printf, 2, 0))) static const char *
format_list(const char *prefix, const char *format, va_list arguments)
{
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    cr_assert_geq(length, 0);
    size_t lead = strlen(prefix);
    char *text = sup_keep(lead + (size_t)length + 1);
    memcpy(text, prefix, lead);
    (void)vsnprintf(text + lead, (size_t)length + 1, format, arguments);
    return text;
}

const char *sup_format(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const char *text = format_list("", format, arguments);
    va_end(arguments);
    return text;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    (void)status;
    (void)kind;
    (void)place;
    (void)remove(path);
    return 0;
}

void sup_remove_tree(const char *path)
{
    (void)nftw(path, remove_one, 32, FTW_DEPTH | FTW_PHYS);
}

/* A separate process waits until the test's process has ended, then removes the directory. It keeps
 * only the pipe open, so that readers of the test's output do not wait for it. */
static void watch_and_remove(const char *path, int pipe_fd)
{
    (void)signal(SIGINT, SIG_IGN);
    (void)signal(SIGTERM, SIG_IGN);
    if (pipe_fd != 0)
        (void)dup2(pipe_fd, 0);
    (void)close_range(1, ~0u, 0);
    char byte;
    while (read(0, &byte, 1) > 0)
        ;
    /* The test's children are being killed now and may still create a file. */
    for (int i = 0; i < 50 && access(path, F_OK) == 0; i++) {
        sup_remove_tree(path);
        sup_sleep_ms(10);
    }
    _exit(0);
}

const char *sup_dir(void)
{
    static char path[] = "/tmp/sw-XXXXXX";
    static bool made;
    if (made)
        return path;
    cr_assert_not_null(mkdtemp(path), "cannot make a directory under /tmp: %m");
    made = true;
    int ends[2];
    cr_assert_eq(pipe2(ends, O_CLOEXEC), 0, "pipe: %m");
    pid_t pid = fork();
    cr_assert_geq(pid, 0, "fork: %m");
    if (pid == 0)
        watch_and_remove(path, ends[0]);
    close(ends[0]);
    return path; /* the pipe's other end stays open as long as this process lives */
}

const char *sup_path(const char *format, ...)
{
    const char *prefix = sup_format("%s/", sup_dir());
    va_list arguments;
    va_start(arguments, format);
    const char *text = format_list(prefix, format, arguments);
    va_end(arguments);
    return text;
}
