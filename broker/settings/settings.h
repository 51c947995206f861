/* SPDX-License-Identifier: MIT */
/* The daemon's settings: one table, four sources.
 *
 *   flags  >  environment  >  configuration file  >  defaults
 *
 * Every setting is one entry of the table in settings.c. Its flag is --NAME, its key in the file is
 * NAME within its section, and its variable is $SWBROKERD_NAME in capitals (for the socket,
 * $SW_SOCKET, as in all programs). --help, --check-config, the file's parser and reloading all use
 * that table; a test compares it with the manual page and the sample file. To add a setting, add an
 * entry and the member of broker_options that it fills.
 *
 * Every source is checked, even where a stronger one wins. Single-threaded.
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
    const char *argument;    /* the name of its value in the help */
    const char *expected;    /* "--NAME takes …"; NULL: derived from choices, least and most */
    const char *help;        /* lines of at most 68 characters, without choices and default */
    const char *fallback;    /* the default, as written in a file; NULL: see otherwise */
    const char *otherwise;   /* describes a default that cannot be written as a value */
    /* Stores a value in its member of broker_options. text lives as long as the options; NULL: no
     * value is given. Returns false if it is not as expected. */
    bool (*parse)(const struct setting *setting, const char *text, void *member);
    size_t offset;              /* of that member */
    uint64_t least, most;       /* numbers and sizes */
    const char *const *choices; /* in the order of their enumeration; ends with NULL */
    bool required;              /* unless models come from a remote */
    bool secret;                /* never show its value */
};

enum settings_origin {
    SETTINGS_FROM_DEFAULT,
    SETTINGS_FROM_FILE,
    SETTINGS_FROM_ENVIRONMENT,
    SETTINGS_FROM_FLAG,
};

struct settings {
    struct broker_options options; /* values own its strings */
    struct settings_value {
        char *text; /* owned; NULL: none */
        enum settings_origin origin;
        unsigned line; /* of the file */
    } values[SETTINGS_MAX];
    char *file; /* that was read; NULL: none */
    int argc;   /* the command line, for a reload */
    char **argv;
};

enum settings_action { SETTINGS_RUN, SETTINGS_CHECK, SETTINGS_HELP, SETTINGS_VERSION };

/* Reads all four sources. Returns 0, or -EINVAL with a message that names the place of the mistake;
 * *ret owns nothing then. For HELP and VERSION no other source is read. argv must outlive ret. */
int settings_load(int argc, char **argv, struct settings *ret, enum settings_action *ret_action,
                  struct swi_error *error);
void settings_free(struct settings *settings);

/* Prints the values in force and their origins, as a file that settings_load accepts. */
void settings_print(const struct settings *settings, FILE *stream);
void settings_print_help(FILE *stream);

/* ---- for the sources and for reloading ------------------------------------------------------- */

extern const struct setting settings_table[];
extern const size_t settings_count;

/* Returns the index of a setting, or -1. */
int settings_find(const char *name);
/* Writes the name of its environment variable into text, which it returns. */
const char *settings_variable(size_t index, char *text, size_t size);
/* What a value may be, for messages. May use text. */
const char *settings_expected(const struct setting *setting, char *text, size_t size);
/* Writes the text for --help, with choices, range and default. */
void settings_help(const struct setting *setting, char *text, size_t size);
/* Copies text. */
int settings_set(struct settings *settings, size_t index, const char *text,
                 enum settings_origin origin, unsigned line, struct swi_error *error);
/* Where a value comes from: "--cache-size", "/etc/swbroker/swbrokerd.conf:7: cache-size" … */
void settings_where(const struct settings *settings, size_t index, char *text, size_t size);
/* The file must exist, unless it is optional. */
int settings_read_file(struct settings *settings, const char *path, bool optional,
                       struct swi_error *error);

#endif
