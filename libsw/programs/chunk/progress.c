/* SPDX-License-Identifier: MIT */
/* The line of progress, and signals between blocks of work. */
#include "programs/chunk/progress.h"

#include <errno.h>
#include <signal.h>
#include <time.h>

static void stop_signals(sigset_t *ret)
{
    (void)sigemptyset(ret);
    (void)sigaddset(ret, SIGINT);
    (void)sigaddset(ret, SIGTERM);
    (void)sigaddset(ret, SIGHUP);
}

void progress_begin(struct progress *progress, const char *what, uint64_t total_bytes, bool quiet)
{
    progress->signal = 0;
    cli_progress_begin(&progress->line, what, total_bytes, quiet);
    sigset_t signals;
    stop_signals(&signals);
    (void)sigprocmask(SIG_BLOCK, &signals, NULL);
}

void progress_item(struct progress *progress, const char *item)
{
    progress->line.item = item;
}

int progress_advance(struct progress *progress, uint64_t bytes)
{
    cli_progress_add(&progress->line, bytes);
    if (progress->signal == 0) {
        sigset_t signals;
        stop_signals(&signals);
        int got = sigtimedwait(&signals, NULL, &(struct timespec){0});
        if (got > 0)
            progress->signal = got;
    }
    return progress->signal ? -EINTR : 0;
}

void progress_end(struct progress *progress)
{
    cli_progress_clear(&progress->line);
}

void progress_deliver(const struct progress *progress)
{
    sigset_t signals;
    stop_signals(&signals);
    if (progress->signal)
        (void)raise(progress->signal); /* pending until the next line */
    (void)sigprocmask(SIG_UNBLOCK, &signals, NULL);
}
