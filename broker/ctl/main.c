/* SPDX-License-Identifier: MIT */
/* swctl: query and control a running broker. The command line and the help, from the table of commands. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/program.h"
#include "core/socket.h"
#include "ctl/verbs.h"

#define TIMEOUT_S     30
#define TIMEOUT_MAX_S 86400

/* Ids of getopt: those of the command's own options follow. */
enum option_id {
    OPTION_SOCKET = 256,
    OPTION_JSON,
    OPTION_TIMEOUT,
    OPTION_QUIET,
    OPTION_VERSION,
    OPTION_HELP,
    OPTION_OF_VERB
};

#define COMMON_OPTIONS 6
static const struct option common[COMMON_OPTIONS] = {
    {"socket", required_argument, NULL, OPTION_SOCKET},
    {"json", no_argument, NULL, OPTION_JSON},
    {"timeout", required_argument, NULL, OPTION_TIMEOUT},
    {"quiet", no_argument, NULL, OPTION_QUIET},
    {"version", no_argument, NULL, OPTION_VERSION},
    {"help", no_argument, NULL, OPTION_HELP},
};

/* ---- help ------------------------------------------------------------------------------------ */

static void print_help(void)
{
    (void)printf("Usage: swctl [OPTION]... COMMAND [ARGUMENT]...\n"
                 "Query and control a running swbrokerd.\n\n");
    for (size_t i = 0; i < ctl_verb_count; i++)
        (void)printf("  %-8s %-20s %s\n", ctl_verbs[i]->name,
                     ctl_verbs[i]->operands ? ctl_verbs[i]->operands : "", ctl_verbs[i]->help);
    (void)printf(
        "\n"
        "  --socket PATH     the broker's; default $SW_SOCKET, else\n"
        "                    " SWI_DEFAULT_SOCKET "\n"
        "  --json            print the broker's answer as JSON\n"
        "  --timeout SECONDS wait that long for an answer; default 30, unlimited for commands\n"
        "                    that load or verify\n"
        "  --quiet           show no progress\n"
        "  --version         print the version\n"
        "  --help            print this text; after a command, its own help\n"
        "\n"
        "Commands that change something (warm, pin, unpin, clear, resize, verify, reload,\n"
        "push) are for root, the broker's own user and the members of its --admin-group.\n"
        "Exit status: 0 done; 1 the broker reported a failure; 2 wrong usage; 3 no broker;\n"
        "4 doctor has warnings; 130 cancelled.\n");
}

/* Lines of an option's help, aligned below each other. */
static void print_option(const struct ctl_option *option)
{
    int width = (int)(strlen(option->name) + (option->value ? strlen(option->value) + 1 : 0));
    (void)printf("  --%s%s%s%*s  ", option->name, option->value ? " " : "",
                 option->value ? option->value : "", width < 16 ? 16 - width : 0, "");
    const char *line = option->help;
    for (const char *end; (end = strchr(line, '\n')); line = end + 1)
        (void)printf("%.*s\n%22s", (int)(end - line), line, "");
    (void)printf("%s\n", line);
}

static void print_verb_help(const struct ctl_verb *verb)
{
    (void)printf("Usage: swctl [--socket PATH] [--json] [--timeout SECONDS] %s%s%s%s\n%c%s.\n%s",
                 verb->name, verb->options[0].name ? " [OPTION]..." : "", verb->operands ? " " : "",
                 verb->operands ? verb->operands : "", verb->help[0] - ('a' - 'A'), verb->help + 1,
                 verb->more ? verb->more : "");
    for (size_t i = 0; i < CTL_OPTIONS && verb->options[i].name; i++) {
        if (i == 0)
            (void)printf("\n");
        print_option(&verb->options[i]);
    }
}

/* ---- command line ---------------------------------------------------------------------------- */

struct line {
    struct ctl_call call;
    bool help, version;
};

static bool parse_timeout(const char *text, int *ret_ms)
{
    char *end;
    errno = 0;
    double seconds = strtod(text, &end);
    if (text[0] < '0' || text[0] > '9' || *end || errno || !(seconds >= 0.001) ||
        seconds > TIMEOUT_MAX_S)
        return false;
    *ret_ms = (int)(seconds * 1000);
    return true;
}

/* Returns 0 or the exit code. */
static int take_option(struct line *line, int id, const char *word)
{
    struct ctl_call *call = &line->call;
    switch (id) {
    case OPTION_SOCKET:
        call->socket_path = optarg;
        return 0;
    case OPTION_JSON:
        call->json = true;
        return 0;
    case OPTION_TIMEOUT:
        if (!parse_timeout(optarg, &call->timeout_ms))
            return ctl_usage("--timeout takes seconds from 0.001 to %d, not '%s'", TIMEOUT_MAX_S,
                             optarg);
        return 0;
    case OPTION_QUIET:
        call->quiet = true;
        return 0;
    case OPTION_VERSION:
        line->version = true;
        return 0;
    case OPTION_HELP:
        line->help = true;
        return 0;
    case ':':
        return ctl_usage("%s needs a value", word);
    case '?':
        return ctl_usage("unknown option '%s'", word);
    default:
        call->values[id - OPTION_OF_VERB] = optarg ? optarg : "";
        return 0;
    }
}

/* The options up to the first word that is not one ("+"), or all of them, wherever they stand. */
static int take_options(struct line *line, int argc, char **argv, const char *how,
                        const struct option *options)
{
    opterr = 0; /* errors are printed here */
    for (int id; (id = getopt_long(argc, argv, how, options, NULL)) != -1;) {
        int result = take_option(line, id, argv[optind - 1]);
        if (result)
            return result;
    }
    return 0;
}

static const struct ctl_verb *find_verb(const char *name)
{
    for (size_t i = 0; i < ctl_verb_count; i++)
        if (strcmp(ctl_verbs[i]->name, name) == 0)
            return ctl_verbs[i];
    return NULL;
}

static int check_operands(const struct ctl_call *call)
{
    const struct ctl_verb *verb = call->verb;
    if (call->operand_count > verb->most)
        return ctl_usage("%s: unexpected argument '%s'", verb->name, call->operands[verb->most]);
    if (call->operand_count < verb->least)
        return ctl_usage("%s needs %s", verb->name, verb->operands);
    return 0;
}

/* Returns 0 or the exit code. */
static int parse(int argc, char **argv, struct line *line)
{
    struct option options[COMMON_OPTIONS + CTL_OPTIONS + 1] = {0};
    memcpy(options, common, sizeof common);
    int result = take_options(line, argc, argv, "+:", options);
    if (result)
        return result;
    if (optind < argc) {
        line->call.verb = find_verb(argv[optind]);
        if (!line->call.verb)
            return ctl_usage("unknown command '%s'", argv[optind]);
        for (size_t i = 0; i < CTL_OPTIONS && line->call.verb->options[i].name; i++) {
            const struct ctl_option *own = &line->call.verb->options[i];
            options[COMMON_OPTIONS + i] =
                (struct option){own->name, own->value ? required_argument : no_argument, NULL,
                                OPTION_OF_VERB + (int)i};
        }
        argv += optind; /* the command stands where the program's name was */
        argc -= optind;
        optind = 0; /* glibc: start anew */
        result = take_options(line, argc, argv, ":", options);
        if (result)
            return result;
    }
    if (line->help || line->version)
        return 0;
    if (!line->call.verb)
        return ctl_usage("missing command");
    line->call.operands = argv + optind;
    line->call.operand_count = (unsigned)(argc - optind);
    return check_operands(&line->call);
}

int main(int argc, char **argv)
{
    swi_program_begin();
    struct line line = {.call.timeout_ms = -1};
    int result = parse(argc, argv, &line);
    if (result)
        return result;
    struct ctl_call *call = &line.call;
    call->socket_path = swi_socket_path(call->socket_path);
    if (line.version) {
        (void)printf("swctl " SW_VERSION_STRING "\n");
    } else if (line.help && call->verb) {
        print_verb_help(call->verb);
    } else if (line.help) {
        print_help();
    } else {
        if (call->timeout_ms < 0)
            call->timeout_ms = call->verb->patient ? 0 : TIMEOUT_S * 1000;
        result = call->verb->run ? call->verb->run(call) : ctl_run(call);
    }
    if (fflush(stdout) != 0 || ferror(stdout)) {
        (void)fprintf(stderr, "swctl: cannot write to standard output\n");
        return CTL_REFUSED;
    }
    return result;
}
