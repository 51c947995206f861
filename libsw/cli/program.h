/* SPDX-License-Identifier: MIT */
/* A program whose first argument is a command. */
#ifndef SWI_CLI_PROGRAM_H
#define SWI_CLI_PROGRAM_H

#include <stddef.h>

#include "cli/options.h"

#define CLI_ENTRIES_MAX 64u

struct cli_entry {
    const char *name;
    const char *operands; /* as the list of commands shows them; NULL: none */
    const char *help;     /* one line, in the imperative */
    /* argv[0] is the command's name; returns the exit status. NULL where cli_run is not used. */
    int (*run)(int argc, char **argv);
};

struct cli_program {
    const char *name;
    const char *about;
    const char *more;                /* what --help says last; NULL: nothing */
    const struct cli_option *common; /* taken before the command; NULL: only help and version */
    const struct cli_entry *entries; /* [count] */
    size_t count;
};

/* Reads the options before the command. True: *ret_entry is the command, *argc and *argv begin with
 * its name; false: exit with *ret_status, everything has been said. */
bool cli_find(const struct cli_program *program, int *argc, char ***argv,
              const struct cli_entry **ret_entry, int *ret_status);

/* Finds the command and runs it. Returns the exit status. */
int cli_run(const struct cli_program *program, int argc, char **argv);

void cli_print_program_help(const struct cli_program *program, FILE *stream);

#endif
