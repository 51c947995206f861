/* SPDX-License-Identifier: MIT */
/* One line of progress on a terminal's standard error:
 *
 *   importing layer_3   42%  1.2 GiB of 2.9 GiB  310 MiB/s  0:05 left
 *
 * Nothing is drawn where standard error is no terminal, TERM is "dumb", or quiet was asked for. The
 * line is redrawn ten times a second at most, never wraps, and is gone after cli_progress_clear.
 * One thread.
 */
#ifndef SWI_CLI_PROGRESS_H
#define SWI_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct cli_progress {
    bool enabled;
    bool drawn;       /* a line is on the terminal */
    const char *what; /* "importing"; borrowed */
    const char *item; /* what is being worked on, or NULL; borrowed; may be untrusted */
    uint64_t done_bytes, total_bytes;
    uint64_t begun_ns, drawn_ns;
};

void cli_progress_begin(struct cli_progress *progress, const char *what, uint64_t total_bytes,
                        bool quiet);
/* So much is done, of so much. Draws when it is time to. */
void cli_progress_set(struct cli_progress *progress, uint64_t done_bytes, uint64_t total_bytes);
/* So much more is done. */
void cli_progress_add(struct cli_progress *progress, uint64_t bytes);
/* Wipes the line: before anything else is printed, and at the end. */
void cli_progress_clear(struct cli_progress *progress);

/* The line as it would be drawn after elapsed_ns into text of columns characters at most, in UTF-8.
 * size: of text. */
void cli_progress_format(const struct cli_progress *progress, uint64_t elapsed_ns, unsigned columns,
                         char *text, unsigned long size);

#endif
