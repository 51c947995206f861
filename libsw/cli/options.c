/* SPDX-License-Identifier: MIT */
/* Reading a command line by its tables. */
#include "cli/options.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "core/size.h"

/* ---- values ---------------------------------------------------------------------------------- */

bool cli_number(const char *text, uint64_t least, uint64_t most, uint64_t *ret)
{
    if (text[0] < '0' || text[0] > '9')
        return false; /* no sign, no space */
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (*end != 0 || errno != 0 || value < least || value > most)
        return false;
    *ret = value;
    return true;
}

int cli_choice(const char *const *choices, const char *name)
{
    for (int i = 0; choices[i]; i++)
        if (strcmp(choices[i], name) == 0)
            return i;
    return -1;
}

static uint64_t most_of(const struct cli_option *option)
{
    if (option->most)
        return option->most;
    return option->number ? UINT32_MAX : UINT64_MAX;
}

static bool take_number(const struct cli_option *option, const char *value)
{
    uint64_t number;
    if (!cli_number(value, option->least, most_of(option), &number))
        return false;
    if (option->number)
        *option->number = (uint32_t)number;
    else
        *option->large = number;
    return true;
}

static bool take_choice(const struct cli_option *option, const char *value)
{
    int index = cli_choice(option->choices, value);
    if (index >= 0)
        *option->choice = (unsigned)index;
    return index >= 0;
}

static bool take_value(const struct cli_option *option, const char *value)
{
    if (option->flag)
        *option->flag = true;
    else if (option->text)
        *option->text = value;
    else if (option->number || option->large)
        return take_number(option, value);
    else if (option->bytes)
        return swi_size_parse(value, option->bytes);
    else if (option->choice)
        return take_choice(option, value);
    else
        return option->take(value, option->place);
    return true;
}

const char *cli_expected(const struct cli_option *option, char *text, size_t size)
{
    if (option->expected)
        return option->expected;
    if (option->bytes)
        return "a size such as 512M or 2G";
    if (!option->choice) {
        (void)snprintf(text, size, "a number from %llu to %llu", (unsigned long long)option->least,
                       (unsigned long long)most_of(option));
        return text;
    }
    text[0] = 0;
    for (size_t i = 0; option->choices[i]; i++) {
        const char *lead = i == 0 ? "" : option->choices[i + 1] ? ", " : " or ";
        size_t length = strlen(text);
        (void)snprintf(text + length, size - length, "%s%s", lead, option->choices[i]);
    }
    return text;
}

/* ---- names ----------------------------------------------------------------------------------- */

#define NAME_MAX_NEAR 32u

/* How many characters to insert, delete or replace to make one of the other. */
static unsigned distance(const char *left, const char *right)
{
    size_t length = strlen(right);
    unsigned row[NAME_MAX_NEAR + 1];
    if (length > NAME_MAX_NEAR)
        return NAME_MAX_NEAR;
    for (unsigned i = 0; i <= length; i++)
        row[i] = i;
    for (; *left; left++) {
        unsigned diagonal = row[0]++;
        for (size_t i = 1; i <= length; i++) {
            unsigned replaced = diagonal + (*left != right[i - 1]);
            unsigned changed = 1 + (row[i] < row[i - 1] ? row[i] : row[i - 1]);
            diagonal = row[i];
            row[i] = replaced < changed ? replaced : changed;
        }
    }
    return row[length];
}

const char *cli_nearest(const char *const *choices, const char *name)
{
    const char *nearest = NULL;
    unsigned least = strlen(name) < 5 ? 2 : 3; /* fewer than these */
    for (size_t i = 0; choices[i]; i++) {
        unsigned away = distance(name, choices[i]);
        if (away < least) {
            nearest = choices[i];
            least = away;
        }
    }
    return nearest;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* Both tables as getopt takes them; ids are indices into rows, plus 256. */
struct rows {
    const struct cli_option *at[CLI_OPTIONS_MAX];
    bool seen[CLI_OPTIONS_MAX];
    struct option options[CLI_OPTIONS_MAX + 3];
    unsigned count;
};
#define FIRST_ID 256

static void add_table(struct rows *rows, const struct cli_option *table)
{
    for (; table && (table->name || table->help); table++) {
        if (!table->name)
            continue;
        assert(rows->count < CLI_OPTIONS_MAX);
        rows->options[rows->count] =
            (struct option){table->name, table->argument ? required_argument : no_argument, NULL,
                            FIRST_ID + (int)rows->count};
        rows->at[rows->count++] = table;
    }
}

static void gather(const struct cli_command *command, struct rows *rows)
{
    add_table(rows, command->options);
    add_table(rows, command->common);
    rows->options[rows->count] = (struct option){"help", no_argument, NULL, 'h'};
    rows->options[rows->count + 1] = (struct option){"version", no_argument, NULL, 'V'};
}

static const char *see(const struct cli_command *command, char *text, size_t size)
{
    (void)snprintf(text, size, "; see %s%s%s --help", command->program, command->name ? " " : "",
                   command->name ? command->name : "");
    return text;
}

static enum cli_outcome unknown(const struct cli_command *command, const struct rows *rows,
                                const char *word, struct swi_error *error)
{
    char tail[128];
    const char *names[CLI_OPTIONS_MAX + 3] = {NULL};
    for (unsigned i = 0; i < rows->count + 2; i++)
        names[i] = rows->options[i].name;
    const char *nearest = strncmp(word, "--", 2) == 0 ? cli_nearest(names, word + 2) : NULL;
    (void)see(command, tail, sizeof tail);
    if (nearest)
        (void)swi_fail(error, -EINVAL, "unknown option '%.200s' (did you mean '--%s'?)%s", word,
                       nearest, tail);
    else
        (void)swi_fail(error, -EINVAL, "unknown option '%.200s'%s", word, tail);
    return CLI_WRONG;
}

static enum cli_outcome take_option(const struct cli_command *command, struct rows *rows, int id,
                                    const char *word, struct swi_error *error)
{
    char tail[128], text[256];
    (void)see(command, tail, sizeof tail);
    if (id == 'h')
        return CLI_HELP;
    if (id == 'V')
        return CLI_VERSION;
    if (id == '?' && (optopt >= FIRST_ID || optopt == 'h' || optopt == 'V')) {
        (void)swi_fail(error, -EINVAL, "%.200s: the option takes no value%s", word, tail);
        return CLI_WRONG;
    }
    if (id == '?')
        return unknown(command, rows, word, error);
    if (id == ':') {
        (void)swi_fail(error, -EINVAL, "%.200s needs a value%s", word, tail);
        return CLI_WRONG;
    }
    const struct cli_option *option = rows->at[id - FIRST_ID];
    rows->seen[id - FIRST_ID] = true;
    if (take_value(option, optarg))
        return CLI_RUN;
    (void)swi_fail(error, -EINVAL, "--%s takes %s, not '%.100s'%s", option->name,
                   cli_expected(option, text, sizeof text), optarg, tail);
    return CLI_WRONG;
}

static enum cli_outcome check(const struct cli_command *command, const struct rows *rows,
                              const struct cli_operands *operands, struct swi_error *error)
{
    char tail[128];
    (void)see(command, tail, sizeof tail);
    for (unsigned i = 0; i < rows->count; i++)
        if (rows->at[i]->required && !rows->seen[i]) {
            (void)swi_fail(error, -EINVAL, "--%s %s is missing%s", rows->at[i]->name,
                           rows->at[i]->argument, tail);
            return CLI_WRONG;
        }
    if (operands->count >= command->least && operands->count <= command->most)
        return CLI_RUN;
    if (operands->count > command->most)
        (void)swi_fail(error, -EINVAL, "unexpected argument '%.200s'%s",
                       operands->at[command->most], tail);
    else
        (void)swi_fail(error, -EINVAL, "missing argument: it takes %s%s", command->operands, tail);
    return CLI_WRONG;
}

enum cli_outcome cli_read(const struct cli_command *command, int argc, char **argv,
                          struct cli_operands *ret, struct swi_error *error)
{
    struct rows rows = {.count = 0};
    gather(command, &rows);
    opterr = 0; /* one line, ours */
    optind = 0; /* glibc: start anew */
    const char *how = command->leading ? "+:hV" : ":hV";
    for (int id; (id = getopt_long(argc, argv, how, rows.options, NULL)) != -1;) {
        enum cli_outcome outcome = take_option(command, &rows, id, argv[optind - 1], error);
        if (outcome != CLI_RUN)
            return outcome;
    }
    struct cli_operands operands = {.at = argv + optind, .count = (unsigned)(argc - optind)};
    enum cli_outcome outcome = check(command, &rows, &operands, error);
    if (outcome == CLI_RUN && ret)
        *ret = operands;
    return outcome;
}

/* ---- messages -------------------------------------------------------------------------------- */

__attribute__((format(printf, 2, 0))) static void print(const char *who, const char *format,
                                                        va_list arguments)
{
    char text[1024];
    (void)vsnprintf(text, sizeof text, format, arguments);
    for (char *at = text; *at; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            *at = '?';
    (void)fprintf(stderr, "%s: %s\n", who, text);
}

void cli_complain(const char *who, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print(who, format, arguments);
    va_end(arguments);
}

static void complain_of(const struct cli_command *command, const char *text)
{
    char who[64];
    (void)snprintf(who, sizeof who, "%s%s%s", command->program, command->name ? " " : "",
                   command->name ? command->name : "");
    cli_complain(who, "%s", text);
}

int cli_usage(const struct cli_command *command, const char *format, ...)
{
    char text[512], tail[128];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text - sizeof tail, format, arguments);
    va_end(arguments);
    size_t length = strlen(text);
    (void)snprintf(text + length, sizeof text - length, "%s", see(command, tail, sizeof tail));
    complain_of(command, text);
    return CLI_USAGE;
}

bool cli_parse(const struct cli_command *command, int argc, char **argv, struct cli_operands *ret,
               int *ret_status)
{
    struct swi_error error = {0};
    *ret_status = 0;
    switch (cli_read(command, argc, argv, ret, &error)) {
    case CLI_RUN:
        return true;
    case CLI_HELP:
        cli_print_help(command, stdout);
        return false;
    case CLI_VERSION:
        cli_print_version(command->program);
        return false;
    case CLI_WRONG:
        complain_of(command, error.text);
        *ret_status = CLI_USAGE;
    }
    return false;
}
