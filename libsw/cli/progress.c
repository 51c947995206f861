/* SPDX-License-Identifier: MIT */
/* Bytes done, rate and time left, on one line. */
#include "cli/progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "core/deadline.h"
#include "core/size.h"

#define REDRAW_NS    100000000u
#define SETTLE_NS    1000000000u /* before this the rate says little about the time left */
#define ITEM_COLUMNS 24u
#define COLUMNS      80u /* where the terminal does not say */

/* Puts at most columns characters of text into ret, control characters replaced. */
static void clip(const char *text, unsigned columns, char *ret, size_t size)
{
    size_t length = 0;
    for (; *text && length + 1 < size; text++) {
        unsigned char byte = (unsigned char)*text;
        bool continues = (byte & 0xc0) == 0x80;
        if (!continues && columns-- == 0)
            break;
        ret[length++] = byte < 0x20 || byte == 0x7f ? '?' : (char)byte;
    }
    ret[length] = 0;
}

static void format_left(uint64_t seconds, char *text, size_t size)
{
    unsigned long long hours = seconds / 3600, minutes = seconds / 60 % 60;
    if (hours)
        (void)snprintf(text, size, "  %llu:%02llu:%02llu left", hours, minutes,
                       (unsigned long long)seconds % 60);
    else
        (void)snprintf(text, size, "  %llu:%02llu left", minutes, (unsigned long long)seconds % 60);
}

void cli_progress_format(const struct cli_progress *progress, uint64_t elapsed_ns, unsigned columns,
                         char *text, unsigned long size)
{
    uint64_t done = progress->done_bytes, total = progress->total_bytes;
    double part = total == 0 || done >= total ? 1 : (double)done / (double)total;
    double rate = (double)done * 1e9 / (double)(elapsed_ns ? elapsed_ns : 1);
    char item[4 * ITEM_COLUMNS + 1], left[48] = "", whole[512];
    char done_text[32], total_text[32], rate_text[32];
    clip(progress->item ? progress->item : "", ITEM_COLUMNS, item, sizeof item);
    swi_size_format(done, done_text, sizeof done_text);
    swi_size_format(total, total_text, sizeof total_text);
    swi_size_format((uint64_t)rate, rate_text, sizeof rate_text);
    if (elapsed_ns >= SETTLE_NS && done > 0 && done < total)
        format_left((uint64_t)((double)(total - done) / rate + 0.5), left, sizeof left);
    (void)snprintf(whole, sizeof whole, "%s%s%s  %3.0f%%  %s of %s  %s/s%s", progress->what,
                   *item ? " " : "", item, 100 * part, done_text, total_text, rate_text, left);
    clip(whole, columns, text, size);
}

static unsigned terminal_columns(void)
{
    struct winsize window;
    bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 1;
    return known ? window.ws_col - 1u : COLUMNS - 1; /* the last column would wrap */
}

void cli_progress_begin(struct cli_progress *progress, const char *what, uint64_t total_bytes,
                        bool quiet)
{
    const char *kind = getenv("TERM");
    *progress = (struct cli_progress){.enabled = !quiet && isatty(STDERR_FILENO) &&
                                                 !(kind && strcmp(kind, "dumb") == 0),
                                      .what = what,
                                      .total_bytes = total_bytes,
                                      .begun_ns = swi_now()};
}

void cli_progress_set(struct cli_progress *progress, uint64_t done_bytes, uint64_t total_bytes)
{
    progress->done_bytes = done_bytes;
    progress->total_bytes = total_bytes;
    uint64_t now = progress->enabled ? swi_now() : 0;
    if (!progress->enabled || (progress->drawn && now - progress->drawn_ns < REDRAW_NS))
        return;
    char text[512];
    cli_progress_format(progress, now - progress->begun_ns, terminal_columns(), text, sizeof text);
    (void)fprintf(stderr, "\r\033[K%s", text);
    (void)fflush(stderr);
    progress->drawn = true;
    progress->drawn_ns = now;
}

void cli_progress_add(struct cli_progress *progress, uint64_t bytes)
{
    cli_progress_set(progress, progress->done_bytes + bytes, progress->total_bytes);
}

void cli_progress_clear(struct cli_progress *progress)
{
    if (progress->drawn) {
        (void)fputs("\r\033[K", stderr);
        (void)fflush(stderr);
    }
    progress->drawn = false;
}
