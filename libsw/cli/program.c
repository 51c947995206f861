/* SPDX-License-Identifier: MIT */
/* From a program's first argument to its command. */
#include "cli/program.h"

#include <assert.h>
#include <limits.h>
#include <string.h>

static const struct cli_entry *find(const struct cli_program *program, const char *name)
{
    for (size_t i = 0; i < program->count; i++)
        if (strcmp(program->entries[i].name, name) == 0)
            return &program->entries[i];
    return NULL;
}

static int unknown(const struct cli_program *program, const struct cli_command *line,
                   const char *name)
{
    const char *names[CLI_ENTRIES_MAX + 1] = {NULL};
    assert(program->count <= CLI_ENTRIES_MAX);
    for (size_t i = 0; i < program->count; i++)
        names[i] = program->entries[i].name;
    const char *nearest = cli_nearest(names, name);
    if (nearest)
        return cli_usage(line, "unknown command '%s' (did you mean '%s'?)", name, nearest);
    return cli_usage(line, "unknown command '%s'", name);
}

bool cli_find(const struct cli_program *program, int *argc, char ***argv,
              const struct cli_entry **ret_entry, int *ret_status)
{
    const struct cli_command line = {
        .program = program->name, .most = UINT_MAX, .common = program->common, .leading = true};
    struct cli_operands operands;
    struct swi_error error = {0};
    *ret_status = 0;
    switch (cli_read(&line, *argc, *argv, &operands, &error)) {
    case CLI_HELP:
        cli_print_program_help(program, stdout);
        return false;
    case CLI_VERSION:
        cli_print_version(program->name);
        return false;
    case CLI_WRONG:
        cli_complain(program->name, "%s", error.text);
        *ret_status = CLI_USAGE;
        return false;
    case CLI_RUN:
        break;
    }
    const struct cli_entry *entry = operands.count ? find(program, operands.at[0]) : NULL;
    if (!entry) {
        *ret_status = operands.count ? unknown(program, &line, operands.at[0])
                                     : cli_usage(&line, "missing command");
        return false;
    }
    *argv += *argc - (int)operands.count;
    *argc = (int)operands.count;
    *ret_entry = entry;
    return true;
}

int cli_run(const struct cli_program *program, int argc, char **argv)
{
    const struct cli_entry *entry;
    int status;
    return cli_find(program, &argc, &argv, &entry, &status) ? entry->run(argc, argv) : status;
}
