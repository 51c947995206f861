/* SPDX-License-Identifier: MIT */
/* Standard output that remembers why a write failed. stdio alone forgets: it drops its buffer, and a
 * later flush succeeds. */
#ifndef SWI_CLI_OUTPUT_H
#define SWI_CLI_OUTPUT_H

/* Call once, before anything is printed. Afterwards stdout has no descriptor: use STDOUT_FILENO.
 * Output to a non-blocking descriptor waits instead of failing. */
void cli_output_begin(void);

/* Flushes stdout. Returns 0, or -errno of the first write that failed, each time. */
int cli_output_flush(void);

#endif
