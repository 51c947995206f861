/* SPDX-License-Identifier: MIT */
/* How far a long command is, and whether a signal asks it to stop.
 *
 * SIGINT, SIGTERM and SIGHUP are blocked while a command runs and looked at here, between two
 * blocks of work: no handler, and every way out passes through the same clean-up. */
#ifndef SWI_PROGRAMS_CHUNK_PROGRESS_H
#define SWI_PROGRAMS_CHUNK_PROGRESS_H

#include "cli/progress.h"

struct progress {
    struct cli_progress line;
    int signal; /* that asked to stop; 0: none */
};

/* what: "importing" … quiet: no line. From here on signals wait for progress_advance. */
void progress_begin(struct progress *progress, const char *what, uint64_t total_bytes, bool quiet);
/* Names what comes next; borrowed. */
void progress_item(struct progress *progress, const char *item);
/* So many bytes more are done. Returns 0, or -EINTR once a signal asks to stop. */
int progress_advance(struct progress *progress, uint64_t bytes);
/* Wipes the line. */
void progress_end(struct progress *progress);
/* Lets signals through again; one that asked to stop then ends the process, as if it came now. */
void progress_deliver(const struct progress *progress);

#endif
