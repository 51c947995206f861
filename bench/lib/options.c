/* SPDX-License-Identifier: MIT */
/* Command lines of subcommands, by their tables. */
#include "lib/options.h"

#include <stdlib.h>

void bench_read(int argc, char **argv, const struct cli_command *command,
                struct cli_operands *operands)
{
    int status;
    if (!cli_parse(command, argc, argv, operands, &status))
        exit(status);
}

void bench_parse(int argc, char **argv, const char *name, const char *about,
                 const struct cli_option *table, bool *json)
{
    const struct cli_option common[] = {
        {"json", NULL, "print one JSON object instead of a table", .flag = json}, {0}};
    const struct cli_command command = {.program = "swbench",
                                        .name = name,
                                        .about = about,
                                        .options = table,
                                        .common = json ? common : NULL};
    bench_read(argc, argv, &command, NULL);
}
