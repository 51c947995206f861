/* SPDX-License-Identifier: MIT */
/* Command lines of subcommands, by their tables. */
#include "lib/options.h"

#include <assert.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/bench.h"
#include "lib/crew.h"

#define ID_JSON 1000
#define ID_HELP 1001

static int width_of(const struct bench_option *option)
{
    return (int)(strlen(option->name) + (option->value ? strlen(option->value) + 1 : 0));
}

static void print_option(const struct bench_option *option, const char *lead, int width)
{
    printf("%s--%s%s%s%*s  %s\n", lead, option->name, option->value ? " " : "",
           option->value ? option->value : "", width - width_of(option), "", option->help);
}

static void print_help(const char *name, const char *about, const struct bench_option *table)
{
    static const struct bench_option json = {"json", .help = "one object instead of a table"},
                                     help = {"help", .help = "show this and exit"};
    int width = width_of(&json);
    for (const struct bench_option *option = table; option->name; option++)
        if (width_of(option) > width)
            width = width_of(option);
    printf("Usage: swbench %s [OPTIONS]\n%s\n\n", name, about);
    for (const struct bench_option *option = table; option->name; option++)
        print_option(option, "      ", width);
    print_option(&json, "      ", width);
    print_option(&help, "  -h, ", width);
}

static void take(const struct bench_option *option, const char *value)
{
    if (option->flag)
        *option->flag = true;
    else if (option->text)
        *option->text = value;
    else if (option->count)
        *option->count = bench_number(option->name, value, option->most);
    else if (!option->take(value, option->place))
        bench_die("--%s: %s, not %s", option->name, option->wanted, value);
}

void bench_parse(int argc, char **argv, const char *name, const char *about,
                 const struct bench_option *table, bool *json)
{
    struct option options[BENCH_OPTIONS_MAX + 3] = {{"json", no_argument, NULL, ID_JSON},
                                                    {"help", no_argument, NULL, ID_HELP}};
    for (int i = 0; table[i].name; i++) {
        assert(i < (int)BENCH_OPTIONS_MAX);
        options[i + 2] = (struct option){table[i].name,
                                         table[i].value ? required_argument : no_argument, NULL, i};
    }
    for (int id; (id = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        if (id == 'h' || id == ID_HELP) {
            print_help(name, about, table);
            exit(0);
        }
        if (id == ID_JSON)
            *json = true;
        else if (id < (int)BENCH_OPTIONS_MAX)
            take(&table[id], optarg);
        else
            bench_die("swbench %s --help lists the options", name);
    }
    if (optind < argc)
        bench_die("%s takes no argument %s", name, argv[optind]);
}
