/* SPDX-License-Identifier: MIT */
/* swchunk's sub-commands, and what their command lines have in common.
 *
 * Each command gets its own argc and argv (argv[0] is its name), prints results to standard output
 * and failures, one line each, to standard error, and returns the exit status. */
#ifndef SWI_PROGRAMS_CHUNK_COMMANDS_H
#define SWI_PROGRAMS_CHUNK_COMMANDS_H

#include "core/error.h"
#include "programs/chunk/progress.h"
#include "programs/chunk/source/source.h"
#include "programs/chunk/write/plan.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

int command_import(int argc, char **argv);
int command_synth(int argc, char **argv);
int command_info(int argc, char **argv);
int command_verify(int argc, char **argv);
int command_export(int argc, char **argv);

/* "swchunk: MESSAGE", with control characters made harmless: names in it may come from a file. */
void command_print(const struct swi_error *error);

/* "swchunk COMMAND: MESSAGE; try …" Returns EXIT_USAGE. */
int command_usage(const char *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Options that several commands have. */
enum { OPTION_HELP = 'h', OPTION_LAYOUT = 256, OPTION_DTYPE, OPTION_FORCE, OPTION_OWN = 512 };

/* False when text names none. dtype "f32", "f16", "bf16"; layout "rows", "panel". */
bool command_layout(const char *text, enum sw_layout *ret);
bool command_dtype(const char *text, enum sw_dtype *ret);

/* Source → chunk directory at out. Prints what goes wrong. Consumes the source. */
int command_build(struct source *source, const char *verb, const char *out,
                  struct chunk_format format, bool force, bool drop_extra);

#endif
