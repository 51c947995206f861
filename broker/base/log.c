/* SPDX-License-Identifier: MIT */
/* The broker's log: levels, limits, and the shape of a line. */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/log_journal.h"
#include "base/log_output.h"

static enum log_level least_urgent = LOG_LEVEL_INFO;
static struct log_output output = {.kind = LOG_TO_FILE, .fd = 2, .journal_fd = -1};
static struct log_counts counts;
static uint64_t dropped_told;
static SLIST_HEAD(, log_limit) limits = SLIST_HEAD_INITIALIZER(limits);

void log_start(enum log_level level)
{
    least_urgent = level;
    log_output_open(&output);
}

void log_set_level(enum log_level level)
{
    least_urgent = level;
}

struct log_counts log_get_counts(void)
{
    return counts;
}

/* ---- lines ----------------------------------------------------------------------------------- */

static int put_lead(char *line, size_t size, enum log_level level)
{
    static const char *const names[] = {"error", "warning", "info", "debug"};
    static const char *const colours[] = {"\033[31m", "\033[33m", "\033[32m", "\033[2m"};
    if (output.kind == LOG_TO_MANAGER || output.kind == LOG_TO_JOURNAL)
        return snprintf(line, size, "<%d>", log_priority(level));
    return snprintf(line, size, "swbrokerd: %s%s:%s ", output.colour ? colours[level] : "",
                    names[level], output.colour ? "\033[0m" : "");
}

static bool emit(enum log_level level, const struct log_about *about, const char *text)
{
    if (output.kind == LOG_TO_JOURNAL) {
        int result = log_journal_send(output.journal_fd, level, about, text);
        if (result == 0 || result == -EAGAIN)
            return result == 0;
        /* stderr still leads to the journal, without the fields */
    }
    char line[LOG_LINE_BYTES + 64];
    int lead = put_lead(line, sizeof line, level);
    int body = snprintf(line + lead, sizeof line - (size_t)lead - 1, "%s", text);
    if (body < 0)
        return false;
    size_t size = strnlen(line, sizeof line - 2);
    for (size_t i = (size_t)lead; i < size; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    line[size] = '\n';
    return log_output_write(&output, line, size + 1);
}

/* Reports the lines lost before this one first, so that the log shows its own gaps. */
static void write_line(enum log_level level, const struct log_about *about, const char *text)
{
    if (counts.dropped > dropped_told) {
        char note[120];
        (void)snprintf(note, sizeof note,
                       "%llu lines were lost here: they could not be written in time",
                       (unsigned long long)(counts.dropped - dropped_told));
        if (!emit(LOG_LEVEL_WARNING, NULL, note)) {
            counts.dropped++;
            return;
        }
        dropped_told = counts.dropped;
    }
    counts.dropped += !emit(level, about, text);
}

void log_line(enum log_level level, const struct log_about *about, const char *format, ...)
{
    if (level > least_urgent)
        return;
    char text[LOG_LINE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (length >= 0)
        write_line(level, about, text);
}

/* ---- limits ---------------------------------------------------------------------------------- */

static int64_t this_second(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return now.tv_sec;
}

static void report_left_out(struct log_limit *limit)
{
    if (limit->left_out)
        log_warning("suppressed %u more lines like: %s", limit->left_out, limit->last);
    limit->left_out = 0;
}

void log_limited(struct log_limit *limit, const struct log_about *about, const char *format, ...)
{
    if (least_urgent < LOG_LEVEL_WARNING)
        return;
    if (!limit->known) {
        SLIST_INSERT_HEAD(&limits, limit, link);
        limit->known = true;
    }
    int64_t second = this_second();
    if (second != limit->second) {
        report_left_out(limit);
        limit->second = second;
        limit->lines = 0;
    }
    char text[LOG_LINE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (length < 0)
        return;
    if (limit->lines < LOG_LINES_A_SECOND) {
        limit->lines++;
        write_line(LOG_LEVEL_WARNING, about, text);
        return;
    }
    counts.left_out++;
    limit->left_out++;
    (void)snprintf(limit->last, sizeof limit->last, "%.79s", text);
}

void log_tell_left_out(void)
{
    int64_t second = this_second();
    struct log_limit *limit;
    SLIST_FOREACH(limit, &limits, link)
    {
        if (limit->second != second)
            report_left_out(limit);
    }
}
