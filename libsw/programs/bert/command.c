/* SPDX-License-Identifier: MIT */
/* Messages and options of swbert's commands. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/output.h"
#include "programs/bert/command.h"

int command_fail(const char *command, const char *format, ...)
{
    char who[64], text[1024];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    (void)snprintf(who, sizeof who, "swbert %s", command);
    cli_complain(who, "%s", text);
    return EXIT_FAILED;
}

bool command_flush(void)
{
    return cli_output_flush() == 0;
}

int command_finish(const char *command, int status)
{
    int result = cli_output_flush();
    if (result == 0 || status != EXIT_DONE || result == -EPIPE)
        return status;
    return command_fail(command, "cannot write to standard output: %s", sw_strerror(result));
}

bool command_parse(const struct cli_command *command, int argc, char **argv,
                   struct command_options *options, int *ret_status)
{
    const struct cli_option common[] = {
        {"model", "NAME", "the model, as swctl ls shows it", .text = &options->model,
         .required = true},
        {"socket", "PATH", "the broker's socket (default: $SW_SOCKET)", .text = &options->socket},
        {"threads", "N", "compute with N threads (default: 1)", .number = &options->threads,
         .least = 1, .most = 64},
        {"stats", NULL, "print statistics to standard error at the end", .flag = &options->stats},
        {0},
    };
    struct cli_command whole = *command;
    whole.common = common;
    return cli_parse(&whole, argc, argv, NULL, ret_status);
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
