/* SPDX-License-Identifier: MIT */
/* Reads the four sources, weakest first. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "cli/options.h"
#include "settings/settings.h"

#define VARIABLE_PREFIX "SWBROKERD_"
#define VARIABLE_CONFIG "SWBROKERD_CONFIG"

struct flags {
    const char *values[SETTINGS_MAX]; /* NULL: not given; the last one counts */
    const char *config;
    bool check;
    char help[SETTINGS_MAX][512];
};

/* --log-level debug, wherever it stands among other levels. */
static bool take_verbose(const char *value, void *place)
{
    struct flags *flags = place;
    (void)value;
    flags->values[settings_find("log-level")] = "debug";
    return true;
}

/* The program's options: the table of settings, and a few that are not settings. */
static void list_options(struct flags *flags, struct cli_option *ret)
{
    size_t i = 0;
    for (; i < settings_count; i++) {
        settings_help(&settings_table[i], flags->help[i], sizeof flags->help[i]);
        ret[i] = (struct cli_option){settings_table[i].name, settings_table[i].argument,
                                     flags->help[i], .text = &flags->values[i]};
    }
    ret[i++] = (struct cli_option){"verbose", NULL, "the same as --log-level debug",
                                   .take = take_verbose, .place = flags};
    ret[i++] = (struct cli_option){
        "config", "FILE",
        "read settings from FILE; flags and variables override it\n(default: " SETTINGS_FILE
        ", if it exists)",
        .text = &flags->config};
    ret[i++] = (struct cli_option){"check-config", NULL,
                                   "print the effective settings and their origins, and exit",
                                   .flag = &flags->check};
    ret[i] = (struct cli_option){0};
}
#define OTHERS 4 /* the last row included */

static struct cli_command program_with(const struct cli_option *options)
{
    return (struct cli_command){
        .program = "swbrokerd",
        .about =
            "Keep one verified copy of model weights in shared memory, for all workers on this\n"
            "machine. Needs --chunks-dir or --models. Runs in the foreground until SIGTERM or\n"
            "SIGINT; SIGHUP reloads the settings and scans DIR again.",
        .more =
            "Instead of --NAME VALUE, set $SWBROKERD_NAME, in capitals, with _ instead of -, or\n"
            "NAME = VALUE in its section of the file; see swbrokerd.conf(5).",
        .options = options};
}

void settings_print_help(FILE *stream)
{
    struct flags unused = {0};
    struct cli_option options[SETTINGS_MAX + OTHERS];
    list_options(&unused, options);
    struct cli_command command = program_with(options);
    cli_print_help(&command, stream);
}

static int read_flags(int argc, char **argv, struct flags *flags, enum settings_action *ret_action,
                      struct swi_error *error)
{
    struct cli_option options[SETTINGS_MAX + OTHERS];
    list_options(flags, options);
    struct cli_command command = program_with(options);
    switch (cli_read(&command, argc, argv, NULL, error)) {
    case CLI_HELP:
        *ret_action = SETTINGS_HELP;
        return 0;
    case CLI_VERSION:
        *ret_action = SETTINGS_VERSION;
        return 0;
    case CLI_WRONG:
        return error->code;
    case CLI_RUN:
        break;
    }
    if (flags->check)
        *ret_action = SETTINGS_CHECK;
    return 0;
}

static int set_defaults(struct settings *settings, struct swi_error *error)
{
    int result = 0;
    for (size_t i = 0; i < settings_count && result == 0; i++)
        result =
            settings_set(settings, i, settings_table[i].fallback, SETTINGS_FROM_DEFAULT, 0, error);
    return result;
}

/* An empty variable counts as unset. */
static const char *variable(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static int read_environment(struct settings *settings, struct swi_error *error)
{
    char name[64];
    int result = 0;
    for (size_t i = 0; i < settings_count && result == 0; i++) {
        const char *value = variable(settings_variable(i, name, sizeof name));
        if (value)
            result = settings_set(settings, i, value, SETTINGS_FROM_ENVIRONMENT, 0, error);
    }
    return result;
}

/* A misspelt variable would be ignored silently. */
static int refuse_unknown_variables(struct swi_error *error)
{
    for (char **entry = environ; entry && *entry; entry++) {
        size_t length = strcspn(*entry, "=");
        if (strncmp(*entry, VARIABLE_PREFIX, strlen(VARIABLE_PREFIX)) != 0 ||
            strncmp(*entry, VARIABLE_CONFIG "=", sizeof VARIABLE_CONFIG) == 0)
            continue;
        bool known = false;
        char name[64];
        for (size_t i = 0; i < settings_count && !known; i++)
            known = strlen(settings_variable(i, name, sizeof name)) == length &&
                    strncmp(name, *entry, length) == 0;
        if (!known)
            return swi_fail(error, -EINVAL,
                            "unknown variable $%.*s; unset it, or see swbrokerd --help",
                            (int)(length < 100 ? length : 100), *entry);
    }
    return 0;
}

static int read_flag_values(struct settings *settings, const struct flags *flags,
                            struct swi_error *error)
{
    int result = 0;
    for (size_t i = 0; i < settings_count && result == 0; i++)
        if (flags->values[i])
            result = settings_set(settings, i, flags->values[i], SETTINGS_FROM_FLAG, 0, error);
    return result;
}

/* This costs address space only; it bounds what a mistyped resize can do. */
static uint64_t default_maximum(uint64_t cache_bytes)
{
    struct sysinfo info;
    uint64_t memory = sysinfo(&info) == 0 ? (uint64_t)info.totalram * info.mem_unit : 0;
    uint64_t maximum = cache_bytes * 4 < memory ? cache_bytes * 4 : memory;
    return maximum > cache_bytes ? maximum : cache_bytes;
}

/* Checks what concerns more than one setting. */
static int check_together(struct settings *settings, struct swi_error *error)
{
    struct broker_options *options = &settings->options;
    for (size_t i = 0; i < settings_count; i++)
        if (settings_table[i].required && !settings->values[i].text && !options->models)
            return swi_fail(
                error, -EINVAL,
                "--%s is missing: pass it as a flag, or set %s in section [%s] of %s; see "
                "swbrokerd --help",
                settings_table[i].name, settings_table[i].name, settings_table[i].section,
                settings->file ? settings->file : SETTINGS_FILE);
    if (!options->max_cache_bytes)
        options->max_cache_bytes =
            default_maximum(options->cache_bytes ? options->cache_bytes : OPTIONS_FIT_MAX_BYTES);
    if (options->max_cache_bytes >= options->cache_bytes)
        return 0;
    char most[256], size[256];
    settings_where(settings, (size_t)settings_find("max-cache-size"), most, sizeof most);
    settings_where(settings, (size_t)settings_find("cache-size"), size, sizeof size);
    return swi_fail(error, -EINVAL, "%s is smaller than %s", most, size);
}

int settings_load(int argc, char **argv, struct settings *ret, enum settings_action *ret_action,
                  struct swi_error *error)
{
    struct flags flags = {0};
    enum settings_action action = SETTINGS_RUN;
    struct settings settings = {.argc = argc, .argv = argv};
    int result = read_flags(argc, argv, &flags, &action, error);
    if (result == 0 && (action == SETTINGS_HELP || action == SETTINGS_VERSION)) {
        *ret = settings;
        *ret_action = action;
        return 0;
    }
    if (!flags.config)
        flags.config = variable(VARIABLE_CONFIG);
    if (result == 0)
        result = set_defaults(&settings, error);
    if (result == 0)
        result = settings_read_file(&settings, flags.config ? flags.config : SETTINGS_FILE,
                                    !flags.config, error);
    if (result == 0)
        result = refuse_unknown_variables(error);
    if (result == 0)
        result = read_environment(&settings, error);
    if (result == 0)
        result = read_flag_values(&settings, &flags, error);
    if (result == 0)
        result = check_together(&settings, error);
    if (result < 0) {
        settings_free(&settings);
        return result;
    }
    *ret = settings;
    *ret_action = action;
    return 0;
}
