/* SPDX-License-Identifier: MIT */
/* Messages and options of swbert's commands. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "programs/bert/command.h"

__attribute__((format(printf, 2, 0))) static void
print_line(const char *command, const char *format, va_list arguments, const char *tail)
{
    char text[1024];
    (void)vsnprintf(text, sizeof text, format, arguments);
    for (char *at = text; *at; at++) {
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            *at = '?';
    }
    (void)fprintf(stderr, "swbert %s: %s", command, text);
    if (tail)
        (void)fprintf(stderr, "; see swbert %s --help", tail);
    (void)fputc('\n', stderr);
}

int command_fail(const char *command, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print_line(command, format, arguments, NULL);
    va_end(arguments);
    return EXIT_FAILED;
}

int command_usage(const char *command, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print_line(command, format, arguments, command);
    va_end(arguments);
    return EXIT_USAGE;
}

/* What standard output failed with first; a later flush of an empty buffer would succeed. */
static int output_error;

bool command_flush(void)
{
    if (output_error != 0)
        return false;
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return true;
    output_error = errno ? errno : EIO;
    return false;
}

int command_finish(const char *command, int status)
{
    if (command_flush() || status != EXIT_DONE || output_error == EPIPE)
        return status;
    return command_fail(command, "cannot write to standard output: %s",
                        strerrordesc_np(output_error));
}

static int take_common(const struct command *command, struct command_options *options, int option)
{
    switch (option) {
    case OPTION_MODEL:
        options->model = optarg;
        return EXIT_DONE;
    case OPTION_SOCKET:
        options->socket = optarg;
        return EXIT_DONE;
    case OPTION_THREADS:
        return command_number(command->name, "--threads", optarg, 1, 64, &options->threads);
    default:
        options->stats = true;
        return EXIT_DONE;
    }
}

bool command_parse(const struct command *command, int argc, char **argv,
                   struct command_options *options, void *context, int *ret_status)
{
    *ret_status = EXIT_DONE;
    for (int option; (option = getopt_long(argc, argv, ":h", command->options, NULL)) != -1;) {
        if (option == OPTION_HELP) {
            (void)fputs(command->help, stdout);
            return false;
        }
        if (option == ':')
            *ret_status = command_usage(command->name, "%s needs a value", argv[optind - 1]);
        else if (option == '?')
            *ret_status = command_usage(command->name, "unknown option %s", argv[optind - 1]);
        else if (option < OPTION_OWN)
            *ret_status = take_common(command, options, option);
        else
            *ret_status = command->take(context, option, optarg);
        if (*ret_status != EXIT_DONE)
            return false;
    }
    if (optind < argc)
        *ret_status = command_usage(command->name, "unexpected argument %s", argv[optind]);
    else if (!options->model || !*options->model)
        *ret_status = command_usage(command->name, "--model NAME is missing");
    return *ret_status == EXIT_DONE;
}

int command_number(const char *command, const char *option, const char *value, uint32_t lowest,
                   uint32_t highest, uint32_t *ret)
{
    char *end = NULL;
    errno = 0;
    unsigned long number = value[0] >= '0' && value[0] <= '9' ? strtoul(value, &end, 10) : 0;
    if (!end || *end != '\0' || errno != 0 || number < lowest || number > highest)
        return command_usage(command, "%s %s: it must be a number from %u to %u", option, value,
                             lowest, highest);
    *ret = (uint32_t)number;
    return EXIT_DONE;
}

enum lines_next command_next_line(const char *command, struct lines *lines, bool wait,
                                  const char **line, size_t *size)
{
    enum lines_next next = lines_next(lines, false, line, size);
    if (next == LINES_PAUSE && wait) {
        if (!command_flush())
            return LINES_END;
        next = lines_next(lines, true, line, size);
    }
    if (next == LINES_FAILED && errno == EMSGSIZE)
        (void)command_fail(command, "line %llu of the input is longer than %zu MiB; split it",
                           (unsigned long long)lines->number + 1, LINE_BYTES_MAX >> 20);
    else if (next == LINES_FAILED)
        (void)command_fail(command, "cannot read standard input: %s", strerrordesc_np(errno));
    return next;
}
