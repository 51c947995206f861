/* SPDX-License-Identifier: MIT */
/* The four sources, in the order of their strength. */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "settings/settings.h"

#define VARIABLE_PREFIX "SWBROKERD_"
#define VARIABLE_CONFIG "SWBROKERD_CONFIG"

enum other_option {
    OPTION_SETTING = 256, /* and the index in the table */
    OPTION_VERBOSE = OPTION_SETTING + SETTINGS_MAX,
    OPTION_CONFIG,
    OPTION_CHECK,
    OPTION_VERSION,
    OPTION_HELP,
};

static const struct option other_options[] = {
    {"verbose", no_argument, NULL, OPTION_VERBOSE},
    {"config", required_argument, NULL, OPTION_CONFIG},
    {"check-config", no_argument, NULL, OPTION_CHECK},
    {"version", no_argument, NULL, OPTION_VERSION},
    {"help", no_argument, NULL, OPTION_HELP},
    {0},
};
#define OTHERS (sizeof other_options / sizeof other_options[0])

struct flags {
    const char *values[SETTINGS_MAX]; /* NULL: not given; the last one counts */
    const char *config;
    enum settings_action action;
};

static int usage(struct swi_error *error, const char *what, const char *problem)
{
    return swi_fail(error, -EINVAL, "%.200s %s; see swbrokerd --help", what, problem);
}

static int read_flags(int argc, char **argv, struct flags *flags, struct swi_error *error)
{
    struct option options[SETTINGS_MAX + OTHERS];
    for (size_t i = 0; i < settings_count; i++)
        options[i] = (struct option){settings_table[i].name, required_argument, NULL,
                                     OPTION_SETTING + (int)i};
    memcpy(options + settings_count, other_options, sizeof other_options);
    opterr = 0; /* one line, ours */
    optind = 0; /* from the start: this runs again at each reload */
    for (int id; (id = getopt_long(argc, argv, ":", options, NULL)) != -1;) {
        switch (id) {
        case ':':
            return usage(error, argv[optind - 1], "needs a value");
        case '?':
            return usage(error, argv[optind - 1], "is no option of this program");
        case OPTION_VERBOSE:
            flags->values[settings_find("log-level")] = "debug";
            break;
        case OPTION_CONFIG:
            flags->config = optarg;
            break;
        case OPTION_CHECK:
            flags->action = SETTINGS_CHECK;
            break;
        case OPTION_VERSION:
        case OPTION_HELP:
            flags->action = id == OPTION_HELP ? SETTINGS_HELP : SETTINGS_VERSION;
            return 0;
        default:
            flags->values[id - OPTION_SETTING] = optarg;
            break;
        }
    }
    return optind < argc ? usage(error, argv[optind], "belongs to no option") : 0;
}

static int set_defaults(struct settings *settings, struct swi_error *error)
{
    int result = 0;
    for (size_t i = 0; i < settings_count && result == 0; i++)
        result =
            settings_set(settings, i, settings_table[i].fallback, SETTINGS_FROM_DEFAULT, 0, error);
    return result;
}

/* An empty variable is one that is not set. */
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

/* One that is misspelt would be ignored in silence. */
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
                            "$%.*s is no setting of swbrokerd; unset it, or see swbrokerd --help",
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

/* Address space only, so that generosity is cheap; but a bound on what a mistyped resize can do. */
static uint64_t default_maximum(uint64_t cache_bytes)
{
    struct sysinfo info;
    uint64_t memory = sysinfo(&info) == 0 ? (uint64_t)info.totalram * info.mem_unit : 0;
    uint64_t maximum = cache_bytes * 4 < memory ? cache_bytes * 4 : memory;
    return maximum > cache_bytes ? maximum : cache_bytes;
}

/* What no single setting can tell. */
static int check_together(struct settings *settings, struct swi_error *error)
{
    struct broker_options *options = &settings->options;
    for (size_t i = 0; i < settings_count; i++)
        if (settings_table[i].required && !settings->values[i].text && !options->models)
            return swi_fail(
                error, -EINVAL,
                "--%s is missing: give it as a flag or as %s in the [%s] section of %s; "
                "see swbrokerd --help",
                settings_table[i].name, settings_table[i].name, settings_table[i].section,
                settings->file ? settings->file : SETTINGS_FILE);
    if (!options->max_cache_bytes)
        options->max_cache_bytes = default_maximum(options->cache_bytes);
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
    struct flags flags = {.action = SETTINGS_RUN};
    struct settings settings = {.argc = argc, .argv = argv};
    int result = read_flags(argc, argv, &flags, error);
    if (result == 0 && (flags.action == SETTINGS_HELP || flags.action == SETTINGS_VERSION)) {
        *ret = settings;
        *ret_action = flags.action;
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
    *ret_action = flags.action;
    return 0;
}
