/* SPDX-License-Identifier: MIT */
/* A line of progress. */
#include "ctl/lib/meter.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/size.h"
#include "ctl/lib/text.h"

#define BAR_COLUMNS  20
#define NAME_COLUMNS 20u

static void interrupt(int number)
{
    (void)number;
    ctl_interrupted = 1;
}

static int64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static json_int_t at_least_zero(const json_t *object, const char *key)
{
    json_int_t value = json_integer_value(json_object_get(object, key));
    return value > 0 ? value : 0;
}

static void show(struct ctl_listener *listener, const json_t *progress)
{
    struct ctl_meter *meter = (struct ctl_meter *)(void *)listener;
    json_int_t bytes = at_least_zero(progress, "bytes");
    json_int_t of_bytes = at_least_zero(progress, "of_bytes");
    meter->chunks = at_least_zero(progress, "chunks");
    meter->of_chunks = at_least_zero(progress, "of_chunks");
    if (!meter->terminal)
        return;
    double part = of_bytes > 0 ? (double)bytes / (double)of_bytes : 0;
    int full = part >= 1 ? BAR_COLUMNS : (int)(part * BAR_COLUMNS);
    char bar[BAR_COLUMNS + 1] = "";
    for (int i = 0; i < BAR_COLUMNS; i++)
        bar[i] = i < full ? '#' : '.';
    char done[32], all[32], rate[32];
    int64_t passed_ms = now_ms() - meter->began_ms;
    swi_size_format((uint64_t)bytes, done, sizeof done);
    swi_size_format((uint64_t)of_bytes, all, sizeof all);
    swi_size_format((uint64_t)((double)bytes * 1000 / (double)(passed_ms + 1)), rate, sizeof rate);
    char name[SWI_ERROR_TEXT];
    (void)snprintf(name, sizeof name, "%s", meter->name);
    ctl_text_clean(name);
    name[ctl_text_fit(name, NAME_COLUMNS, NULL)] = 0;
    (void)fprintf(stderr, "\r\033[K%s%s[%s] %lld/%lld  %s of %s  %s/s", name, *name ? " " : "", bar,
                  (long long)meter->chunks, (long long)meter->of_chunks, done, all, rate);
    (void)fflush(stderr);
    meter->shown = true;
}

void ctl_meter_begin(struct ctl_meter *meter, const char *name)
{
    const char *kind = getenv("TERM");
    *meter = (struct ctl_meter){.listener = {.progress = show},
                                .name = name,
                                .terminal =
                                    isatty(STDERR_FILENO) && !(kind && strcmp(kind, "dumb") == 0),
                                .began_ms = now_ms()};
    struct sigaction action = {.sa_handler = interrupt};
    sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
}

int ctl_meter_end(struct ctl_meter *meter, const struct swi_error *error)
{
    if (meter->shown)
        (void)fprintf(stderr, "\r\033[K");
    meter->shown = false;
    if (!error)
        return CTL_DONE;
    if (error->code != -EINTR)
        return ctl_no_answer(error);
    (void)fprintf(stderr, "swctl: cancelled after %lld of %lld chunks\n", (long long)meter->chunks,
                  (long long)meter->of_chunks);
    return CTL_CANCELLED;
}
