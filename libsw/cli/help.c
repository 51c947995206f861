/* SPDX-License-Identifier: MIT */
/* --help from the tables, in one form for all programs. */
#include <string.h>

#include "cli/program.h"

#define INDENT    6  /* "  -h, " */
#define WIDTH_MAX 26 /* of an option with its argument; a longer one gets a line to itself */

static const struct cli_option help_option = {"help", .help = "show this help and exit"},
                               version_option = {"version", .help = "show the version and exit"};

static int width_of(const char *name, const char *argument)
{
    return (int)(strlen(name) + (argument && *argument ? strlen(argument) + 1 : 0));
}

static int widest(const struct cli_option *table, int width)
{
    for (; table && (table->name || table->help); table++) {
        int own = table->name ? 2 + width_of(table->name, table->argument) : 0;
        if (own > width && own <= WIDTH_MAX)
            width = own;
    }
    return width;
}

/* Lines of help, the first at the cursor and the others below it. */
static void print_lines(const char *text, int column, FILE *stream)
{
    for (;;) {
        int length = (int)strcspn(text, "\n");
        (void)fprintf(stream, "%.*s\n", length, text);
        if (!text[length])
            return;
        text += length + 1;
        (void)fprintf(stream, "%*s", column, "");
    }
}

static void print_option(const struct cli_option *option, const char *lead, int width, FILE *stream)
{
    int own = 2 + width_of(option->name, option->argument), column = INDENT + width + 2;
    (void)fprintf(stream, "%s--%s%s%s", lead, option->name, option->argument ? " " : "",
                  option->argument ? option->argument : "");
    if (own > width)
        (void)fprintf(stream, "\n%*s", column, "");
    else
        (void)fprintf(stream, "%*s", width - own + 2, "");
    print_lines(option->help, column, stream);
}

static void print_table(const struct cli_option *table, int width, FILE *stream)
{
    for (; table && (table->name || table->help); table++) {
        if (table->name)
            print_option(table, "      ", width, stream);
        else
            (void)fprintf(stream, "%s\n", table->help);
    }
}

static void print_options(const struct cli_option *own, const struct cli_option *common,
                          FILE *stream)
{
    int width = widest(common, widest(own, 2 + width_of(version_option.name, NULL)));
    (void)fputc('\n', stream);
    print_table(own, width, stream);
    print_table(common, width, stream);
    print_option(&help_option, "  -h, ", width, stream);
    print_option(&version_option, "  -V, ", width, stream);
}

static void print_required(const struct cli_option *table, FILE *stream)
{
    for (; table && (table->name || table->help); table++)
        if (table->required)
            (void)fprintf(stream, " --%s %s", table->name, table->argument);
}

void cli_print_help(const struct cli_command *command, FILE *stream)
{
    (void)fprintf(stream, "Usage: %s%s%s", command->program, command->name ? " " : "",
                  command->name ? command->name : "");
    print_required(command->options, stream);
    print_required(command->common, stream);
    (void)fprintf(stream, " [OPTION]...%s%s\n%s\n", command->operands ? " " : "",
                  command->operands ? command->operands : "", command->about);
    print_options(command->options, command->common, stream);
    if (command->more)
        (void)fprintf(stream, "\n%s\n", command->more);
}

static int longer(const char *text, int width)
{
    int own = text ? (int)strlen(text) : 0;
    return own > width ? own : width;
}

void cli_print_program_help(const struct cli_program *program, FILE *stream)
{
    (void)fprintf(stream,
                  "Usage: %s%s COMMAND [ARGUMENT]...\n%s\n"
                  "Use '%s COMMAND --help' for the options of a command.\n\n",
                  program->name, program->common ? " [OPTION]..." : "", program->about,
                  program->name);
    int name = 0, operands = 0;
    for (size_t i = 0; i < program->count; i++) {
        name = longer(program->entries[i].name, name);
        operands = longer(program->entries[i].operands, operands);
    }
    for (size_t i = 0; i < program->count; i++) {
        const struct cli_entry *entry = &program->entries[i];
        (void)fprintf(stream, "  %-*s  ", name, entry->name);
        if (operands)
            (void)fprintf(stream, "%-*s  ", operands, entry->operands ? entry->operands : "");
        print_lines(entry->help, name + 4 + (operands ? operands + 2 : 0), stream);
    }
    print_options(NULL, program->common, stream);
    if (program->more)
        (void)fprintf(stream, "\n%s\n", program->more);
}

void cli_print_version(const char *program)
{
    (void)printf("%s " SW_VERSION_STRING "\n", program);
}
