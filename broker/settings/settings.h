/* SPDX-License-Identifier: MIT */
/* The daemon's settings: one table, four sources.
 *
 *   flags  >  environment  >  configuration file  >  defaults
 *
 * Every setting is one entry of the table in settings.c: its flag is --NAME, its key in the file is
 * NAME within its section, its variable is $SWBROKERD_NAME in capitals ($SW_SOCKET for the socket,
 * as everywhere). --help, --check-config, the file's parser and reloading all read that table; the
 * manual pages and the sample file are held to it by a test. Adding a setting is adding an entry,
 * and a member of broker_options that it fills.
 *
 * Every source is checked, also where a stronger one wins. One thread.
 */
#ifndef SWB_SETTINGS_SETTINGS_H
#define SWB_SETTINGS_SETTINGS_H

#include <stdio.h>

#include "core/error.h"
#include "settings/options.h"

#define SETTINGS_MAX  32u
#define SETTINGS_FILE "/etc/swbroker/swbrokerd.conf"

struct setting {
    const char *section;
    const char *name;
    const char *environment; /* NULL: $SWBROKERD_NAME */
    const char *argument;    /* what its value is called in the help */
    const char *expected;    /* "--NAME takes …" */
    const char *help;        /* lines of at most 74 characters */
    const char *fallback;    /* as it would stand in the file; NULL: see otherwise */
    const char *otherwise;   /* what goes when nothing is given and no text stands for it */
    /* Puts a value into its member of broker_options. text lives as long as the options; NULL: none
     * is given. False: it is not what is expected. */
    bool (*parse)(const struct setting *setting, const char *text, void *member);
    size_t offset;              /* of that member */
    uint64_t least, most;       /* numbers and sizes */
    const char *const *choices; /* in the order of their enumeration; ends with NULL */
    bool required;              /* unless models come from a Redis */
    bool secret;                /* its value is not shown anywhere */
};

enum settings_origin {
    SETTINGS_FROM_DEFAULT,
    SETTINGS_FROM_FILE,
    SETTINGS_FROM_ENVIRONMENT,
    SETTINGS_FROM_FLAG,
};

struct settings {
    struct broker_options options; /* its strings belong to values */
    struct settings_value {
        char *text; /* owned; NULL: none */
        enum settings_origin origin;
        unsigned line; /* of the file */
    } values[SETTINGS_MAX];
    char *file; /* that was read; NULL: there is none */
    int argc;   /* the command line, for reading it all again */
    char **argv;
};

enum settings_action { SETTINGS_RUN, SETTINGS_CHECK, SETTINGS_HELP, SETTINGS_VERSION };

/* Reads all four sources. Returns 0, or -EINVAL with a message that names the place of what is
 * wrong: nothing is owned then. For HELP and VERSION nothing is read either. argv must live as long
 * as ret. */
int settings_load(int argc, char **argv, struct settings *ret, enum settings_action *ret_action,
                  struct swi_error *error);
void settings_free(struct settings *settings);

/* What is in force and where each value comes from, as a file that settings_load accepts. */
void settings_print(const struct settings *settings, FILE *stream);
void settings_print_help(FILE *stream);

/* ---- for the readers of sources and for reloading ---------------------------------------------
 */

extern const struct setting settings_table[];
extern const size_t settings_count;

/* The index of a setting, or -1. */
int settings_find(const char *name);
/* Its environment variable; into text, which it returns. */
const char *settings_variable(size_t index, char *text, size_t size);
/* text is copied. */
int settings_set(struct settings *settings, size_t index, const char *text,
                 enum settings_origin origin, unsigned line, struct swi_error *error);
/* "--cache-size", "/etc/swbroker/swbrokerd.conf:7: cache-size" … */
void settings_where(const struct settings *settings, size_t index, char *text, size_t size);
/* path must exist unless optional. */
int settings_read_file(struct settings *settings, const char *path, bool optional,
                       struct swi_error *error);

#endif
