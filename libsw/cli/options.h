/* SPDX-License-Identifier: MIT */
/* Command lines as tables: one row is what --help says of an option and where its value goes.
 *
 * Every program and every command takes -h, --help and -V, --version. Options may stand before,
 * between and behind operands; "--" ends them. Long options may be abbreviated while they stay
 * unambiguous. What is wrong is one line on standard error that names the argument, what would be
 * right and the help that lists it; the exit status is then CLI_USAGE.
 *
 * Not thread-safe: getopt keeps its state in global variables.
 */
#ifndef SWI_CLI_OPTIONS_H
#define SWI_CLI_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "core/error.h"

#define CLI_USAGE       2   /* exit status for a wrong command line */
#define CLI_OPTIONS_MAX 64u /* of one command, common options included */

/* Exactly one of flag, text, number, large, bytes, choice and take says where the value goes. It
 * stays as it was when the option is not given; the last one given counts. Tables end with a row of
 * zeros. A row with help only is a heading. */
struct cli_option {
    const char *name;     /* without "--" */
    const char *argument; /* what help calls the value; NULL: a flag */
    const char *help;     /* one or several lines, joined by '\n', the default included */

    bool *flag;                              /* becomes true */
    const char **text;                       /* borrowed from argv */
    uint32_t *number;                        /* decimal, least … most */
    uint64_t *large;                         /* the same with 64 bits */
    uint64_t *bytes;                         /* a size as core/size.h reads it */
    unsigned *choice;                        /* index into choices */
    bool (*take)(const char *value, void *); /* reads it (NULL: a flag); false: it is wrong */
    void *place;

    uint64_t least, most;       /* of number and large; most 0: the type's largest */
    const char *const *choices; /* ends with NULL */
    const char *expected;       /* what take accepts: "BATCHxLENGTH, such as 1x16" */
    bool required;
};

struct cli_command {
    const char *program;  /* "swchunk" */
    const char *name;     /* "import"; NULL: the program has no commands, or this is all of it */
    const char *operands; /* "SRC OUT"; NULL: none */
    unsigned least, most; /* how many operands */
    const char *about;    /* what --help says first: lines, joined by '\n' */
    const char *more;     /* what it says last; NULL: nothing */
    const struct cli_option *options; /* NULL: none */
    const struct cli_option *common;  /* those that other commands have too; NULL: none */
    bool leading;                     /* options end at the first operand */
};

struct cli_operands {
    char *const *at; /* into argv */
    unsigned count;
};

enum cli_outcome { CLI_RUN, CLI_HELP, CLI_VERSION, CLI_WRONG };

/* Reads argv[1 …] without printing anything. CLI_HELP and CLI_VERSION: asked for, the rest is not
 * read. CLI_WRONG: error says what, without the program's name. ret may be NULL where the command
 * takes no operands. */
enum cli_outcome cli_read(const struct cli_command *command, int argc, char **argv,
                          struct cli_operands *ret, struct swi_error *error);

/* cli_read for a program's main: prints help, version or what is wrong. True: run the command;
 * false: exit with *ret_status. */
bool cli_parse(const struct cli_command *command, int argc, char **argv, struct cli_operands *ret,
               int *ret_status);

void cli_print_help(const struct cli_command *command, FILE *stream);
void cli_print_version(const char *program);

/* "PROGRAM COMMAND: MESSAGE; see PROGRAM COMMAND --help" on standard error. Returns CLI_USAGE. */
int cli_usage(const struct cli_command *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* "WHO: MESSAGE" on standard error, in one line, with control characters replaced: names in it may
 * come from a file. */
void cli_complain(const char *who, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A decimal number without sign, least … most. False: text is something else. */
bool cli_number(const char *text, uint64_t least, uint64_t most, uint64_t *ret);
/* The index of a name in a list that ends with NULL, or -1. */
int cli_choice(const char *const *choices, const char *name);
/* What an option accepts, for messages: "a number from 1 to 8", "lru or next-use". May use text. */
const char *cli_expected(const struct cli_option *option, char *text, size_t size);
/* The choice nearest to a mistyped name, or NULL when none is near. */
const char *cli_nearest(const char *const *choices, const char *name);

#endif
