/* SPDX-License-Identifier: MIT */
/* One line on a terminal, refreshed ten times a second at most; signals between blocks of work. */
#include "programs/chunk/progress.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define REDRAW_NS 100000000u

static uint64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void stop_signals(sigset_t *ret)
{
    (void)sigemptyset(ret);
    (void)sigaddset(ret, SIGINT);
    (void)sigaddset(ret, SIGTERM);
    (void)sigaddset(ret, SIGHUP);
}

void progress_begin(struct progress *progress, const char *verb, uint64_t total_bytes)
{
    *progress = (struct progress){
        .terminal = isatty(STDERR_FILENO), .verb = verb, .item = "", .total_bytes = total_bytes};
    sigset_t signals;
    stop_signals(&signals);
    (void)sigprocmask(SIG_BLOCK, &signals, NULL);
}

static void draw(struct progress *progress)
{
    double part =
        progress->total_bytes ? (double)progress->done_bytes / (double)progress->total_bytes : 1;
    (void)fprintf(stderr, "\r\033[K%s %s %3.0f%%", progress->verb, progress->item,
                  100 * (part < 1 ? part : 1));
    (void)fflush(stderr);
    progress->drawn = true;
    progress->drawn_ns = now_ns();
}

void progress_item(struct progress *progress, const char *item)
{
    progress->item = item;
}

int progress_advance(struct progress *progress, uint64_t bytes)
{
    progress->done_bytes += bytes;
    if (progress->terminal && now_ns() - progress->drawn_ns >= REDRAW_NS)
        draw(progress);
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
    if (progress->drawn)
        (void)fputs("\r\033[K", stderr);
    progress->drawn = false;
}

void progress_deliver(const struct progress *progress)
{
    sigset_t signals;
    stop_signals(&signals);
    if (progress->signal)
        (void)raise(progress->signal); /* pending until the next line */
    (void)sigprocmask(SIG_UNBLOCK, &signals, NULL);
}
