/* SPDX-License-Identifier: MIT */
/* swctl: the operator's tool. Its command line and help, by the table of verbs (ctl/verb.h). */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/program.h"
#include "core/socket.h"
#include "ctl/verb.h"

#define TIMEOUT_S     30
#define TIMEOUT_MAX_S 86400

/* Ids of getopt: those of a verb's own options follow. */
enum option_id {
    OPTION_SOCKET = 256,
    OPTION_JSON,
    OPTION_TIMEOUT,
    OPTION_VERSION,
    OPTION_HELP,
    OPTION_OF_VERB
};

#define COMMON_OPTIONS 5
static const struct option common[COMMON_OPTIONS] = {
    {"socket", required_argument, NULL, OPTION_SOCKET},
    {"json", no_argument, NULL, OPTION_JSON},
    {"timeout", required_argument, NULL, OPTION_TIMEOUT},
    {"version", no_argument, NULL, OPTION_VERSION},
    {"help", no_argument, NULL, OPTION_HELP},
};

/* ---- help ------------------------------------------------------------------------------------ */

static void print_help(void)
{
    (void)printf("Usage: swctl [OPTION]... VERB [ARGUMENT]\n"
                 "Asks and tells the running swbrokerd.\n\n");
    for (size_t i = 0; i < ctl_verb_count; i++)
        (void)printf("  %-8s %-20s %s\n", ctl_verbs[i].name,
                     ctl_verbs[i].operands ? ctl_verbs[i].operands : "", ctl_verbs[i].help);
    (void)printf("\n"
                 "  --socket PATH     default $SW_SOCKET, else " SWI_DEFAULT_SOCKET "\n"
                 "  --json            print the broker's answer as JSON\n"
                 "  --timeout SECONDS how long to wait for an answer; default 30, and without end "
                 "for what loads or verifies\n"
                 "  --version\n"
                 "  --help            also after a verb, whose own options it tells\n"
                 "\n"
                 "Verbs that change something (warm, pin, unpin, clear, resize, verify, reload, "
                 "push, trace) are "
                 "for root, the\n"
                 "broker's own user and the members of its --admin-group; trace start and stop are "
                 "not for the group.\n"
                 "Exit status: 0 done; 1 the broker reported a failure; 2 usage; 3 no broker; 4 "
                 "doctor has warnings; 130 "
                 "cancelled.\n");
}

static void print_verb_help(const struct ctl_verb *verb)
{
    (void)printf("Usage: swctl [--socket PATH] [--json] [--timeout SECONDS] %s%s%s%s\n%c%s.\n%s",
                 verb->name, verb->options[0].name ? " [OPTION]..." : "", verb->operands ? " " : "",
                 verb->operands ? verb->operands : "",
                 verb->help[0] - ('a' <= verb->help[0] && verb->help[0] <= 'z' ? 'a' - 'A' : 0),
                 verb->help + 1, verb->more ? verb->more : "");
    for (size_t i = 0; i < CTL_OPTIONS && verb->options[i].name; i++) {
        const struct ctl_option *option = &verb->options[i];
        int width = (int)(strlen(option->name) + (option->value ? strlen(option->value) + 1 : 0));
        (void)printf("%s  --%s%s%s%*s  %s\n", i == 0 ? "\n" : "", option->name,
                     option->value ? " " : "", option->value ? option->value : "",
                     width < 16 ? 16 - width : 0, "", option->help);
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
            return ctl_usage("--timeout", "takes seconds, from 0.001 to 86400");
        return 0;
    case OPTION_VERSION:
        line->version = true;
        return 0;
    case OPTION_HELP:
        line->help = true;
        return 0;
    case ':':
        return ctl_usage(word, "needs a value");
    case '?':
        return ctl_usage(word, "is no option of this program");
    default:
        call->values[id - OPTION_OF_VERB] = optarg ? optarg : "";
        return 0;
    }
}

/* The options up to the first word that is none ("+"), or all of them, wherever they stand. */
static int take_options(struct line *line, int argc, char **argv, const char *how,
                        const struct option *options)
{
    opterr = 0; /* one line, ours */
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
        if (strcmp(ctl_verbs[i].name, name) == 0)
            return &ctl_verbs[i];
    return NULL;
}

static int check_operands(const struct ctl_call *call)
{
    const struct ctl_verb *verb = call->verb;
    if (call->operand_count > 0 && verb->most == 0)
        return ctl_usage(verb->name, "takes no argument");
    if (call->operand_count > verb->most)
        return ctl_usage(call->operands[verb->most], "is one argument too many");
    if (call->operand_count < verb->least)
        return ctl_usage(verb->name, "needs an argument");
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
            return ctl_usage(argv[optind], "is no verb");
        for (size_t i = 0; i < CTL_OPTIONS && line->call.verb->options[i].name; i++) {
            const struct ctl_option *own = &line->call.verb->options[i];
            options[COMMON_OPTIONS + i] =
                (struct option){own->name, own->value ? required_argument : no_argument, NULL,
                                OPTION_OF_VERB + (int)i};
        }
        argv += optind; /* the verb takes the place of the program's name */
        argc -= optind;
        optind = 0; /* glibc: start anew */
        result = take_options(line, argc, argv, ":", options);
        if (result)
            return result;
    }
    if (line->help || line->version)
        return 0;
    if (!line->call.verb)
        return ctl_usage("a verb", "is missing");
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
