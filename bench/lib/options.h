/* SPDX-License-Identifier: MIT */
/* Options of a subcommand as a table: one line is what --help says of an option and where its value
 * goes. Two read theirs by themselves: policy, which takes an operand, and serve, which has no
 * --json. */
#ifndef SWBENCH_LIB_OPTIONS_H
#define SWBENCH_LIB_OPTIONS_H

#include <stdbool.h>

#define BENCH_OPTIONS_MAX 16u

/* With exactly one place. A table ends with one without a name. */
struct bench_option {
    const char *name;  /* without "--" */
    const char *value; /* what help calls its value; NULL: a flag */
    const char *help;  /* one line, the default included */
    const char **text; /* as it is given */
    unsigned *count;   /* 1 … most */
    unsigned most;
    bool *flag;                         /* becomes true */
    bool (*take)(const char *, void *); /* reads it into place; false: it is wrong, dies */
    void *place;
    const char *wanted; /* by take: "a cell is BATCHxLENGTH, such as 1x16" */
};

/* Reads the command line of `swbench NAME` by the table and --json, prints --help and exits, and
 * dies of what is wrong. */
void bench_parse(int argc, char **argv, const char *name, const char *about,
                 const struct bench_option *table, bool *json);

#endif
