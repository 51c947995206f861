/* SPDX-License-Identifier: MIT */
/* swctl: query and control a running broker. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/output.h"
#include "cli/program.h"
#include "core/private_socket.h"
#include "core/program.h"
#include "core/socket.h"
#include "ctl/verbs.h"

#define TIMEOUT_MS 30000

/* ---- options of all commands ----------------------------------------------------------------- */

static bool take_timeout(const char *text, void *place)
{
    char *end;
    errno = 0;
    double seconds = strtod(text, &end);
    if (text[0] < '0' || text[0] > '9' || *end || errno || !(seconds >= 0.001) || seconds > 86400)
        return false;
    *(int *)place = (int)(seconds * 1000);
    return true;
}

static const char *socket_path;
static bool json, quiet;
static int timeout_ms = -1; /* not given */

static const struct cli_option common[] = {
    {"socket", "PATH", "socket of the broker; default $SW_SOCKET, else\n" SWI_DEFAULT_SOCKET,
     .text = &socket_path},
    {"json", NULL, "print the broker's answer as JSON", .flag = &json},
    {"timeout", "SECONDS",
     "how long to wait for an answer; default 30, unlimited for\ncommands that load or verify",
     .take = take_timeout, .place = &timeout_ms, .expected = "seconds from 0.001 to 86400"},
    {"quiet", NULL, "show no progress", .flag = &quiet},
    {0},
};

/* ---- commands -------------------------------------------------------------------------------- */

/* Without --socket, the broker that workers with this environment would use. */
static const char *find_socket(void)
{
    static char *private_path;
    const char *path = swi_socket_path(socket_path);
    if (!socket_path && !private_path)
        private_path = swi_private_socket_find(path);
    return private_path ? private_path : path;
}

static int run(const struct ctl_verb *verb, int argc, char **argv)
{
    char about[256];
    struct cli_operands operands;
    int status;
    /* "list chunks" becomes "List chunks." */
    (void)snprintf(about, sizeof about, "%c%s.", verb->help[0] - ('a' - 'A'), verb->help + 1);
    const struct cli_command command = {.program = "swctl",
                                        .name = verb->name,
                                        .operands = verb->operands,
                                        .least = verb->least,
                                        .most = verb->most,
                                        .about = about,
                                        .more = verb->more,
                                        .options = verb->options,
                                        .common = common};
    if (!cli_parse(&command, argc, argv, &operands, &status))
        return status;
    const struct ctl_call call = {
        .verb = verb,
        .command = &command,
        .socket_path = find_socket(),
        .json = json,
        .quiet = quiet,
        .timeout_ms = timeout_ms >= 0 ? timeout_ms
                      : verb->patient ? 0
                                      : TIMEOUT_MS,
        .operands = operands.at,
        .operand_count = operands.count,
    };
    return verb->run ? verb->run(&call) : ctl_run(&call);
}

int main(int argc, char **argv)
{
    struct cli_entry entries[CLI_ENTRIES_MAX];
    swi_program_begin();
    cli_output_begin();
    for (size_t i = 0; i < ctl_verb_count; i++)
        entries[i] = (struct cli_entry){.name = ctl_verbs[i]->name,
                                        .operands = ctl_verbs[i]->operands,
                                        .help = ctl_verbs[i]->help};
    const struct cli_program program = {
        .name = "swctl",
        .about = "Query and control a running swbrokerd.",
        .more =
            "Commands that change something (warm, pin, unpin, clear, resize, verify, reload,\n"
            "push) require root, the broker's own user or membership in its --admin-group.\n"
            "Exit status: 0 done; 1 the broker reported a failure; 2 wrong usage; 3 no broker;\n"
            "4 doctor has warnings; 130 cancelled.",
        .common = common,
        .entries = entries,
        .count = ctl_verb_count};
    const struct cli_entry *entry;
    int status;
    if (cli_find(&program, &argc, &argv, &entry, &status))
        status = run(ctl_verbs[entry - entries], argc, argv);
    int result = cli_output_flush();
    if (result < 0) {
        (void)fprintf(stderr, "swctl: cannot write to standard output: %s\n", sw_strerror(result));
        return CTL_REFUSED;
    }
    return status;
}
