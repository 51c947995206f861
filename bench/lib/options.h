/* SPDX-License-Identifier: MIT */
/* Command lines of subcommands. */
#ifndef SWBENCH_LIB_OPTIONS_H
#define SWBENCH_LIB_OPTIONS_H

#include "cli/options.h"

/* Reads the command line of `swbench NAME` by the table and, unless json is NULL, --json. Exits
 * after --help, and with CLI_USAGE after saying what is wrong. */
void bench_parse(int argc, char **argv, const char *name, const char *about,
                 const struct cli_option *table, bool *json);
/* The same for any command; operands may be NULL where it takes none. */
void bench_read(int argc, char **argv, const struct cli_command *command,
                struct cli_operands *operands);

#endif
