/* SPDX-License-Identifier: MIT */
/* A command of swctl as data, and what commands have in common.
 *
 * Each command is one file of ctl/ with one struct ctl_verb; ctl/verbs.c lists them. ctl/main.c
 * reads the command line and makes the help from these. Most commands ask the broker one question:
 * prepare puts operands and options into the request, show prints the answer. A command that does
 * more has a run.
 */
#ifndef SWB_CTL_LIB_CALL_H
#define SWB_CTL_LIB_CALL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "cli/options.h"
#include "core/error.h"
#include "ctl/lib/ask.h"

enum ctl_exit {
    CTL_DONE = 0,
    CTL_REFUSED = 1, /* the broker reported a failure; doctor: a check failed */
    CTL_USAGE = 2,
    CTL_NO_BROKER = 3,
    CTL_WARNED = 4,      /* doctor: warnings only */
    CTL_CANCELLED = 130, /* Ctrl-C, as shells count it */
};

#define CTL_OPERANDS 1024u /* of one call */

struct ctl_call;

struct ctl_verb {
    const char *name;
    const char *operands;             /* as help writes them; NULL: none */
    unsigned least, most;             /* how many */
    const char *help;                 /* one line of swctl --help, in the imperative */
    const char *more;                 /* more lines of swctl COMMAND --help; NULL: none */
    const struct cli_option *options; /* into static variables; NULL: none */
    /* Its operands are targets, each a question. The name is the key of the list of answers in JSON. */
    const char *targets;
    /* Puts operands and options into the request {"verb":NAME}; NULL: there are none, or targets. Returns 0, or
     * the exit code after an error message. */
    int (*prepare)(const struct ctl_call *call, json_t *request);
    /* Prints an answer that is "ok", for people. */
    void (*show)(const struct ctl_call *call, const json_t *reply);
    /* Instead of one question and one answer. Returns the exit code. */
    int (*run)(const struct ctl_call *call);
    bool patient;         /* without --timeout it waits for as long as it takes */
    const char *progress; /* "loading": the broker reports progress; NULL: it does not */
    bool shows_failures;  /* show also takes an answer that is not "ok", if it has "chunks" */
};

struct ctl_call {
    const struct ctl_verb *verb;
    const struct cli_command *command; /* for errors of usage */
    const char *socket_path;           /* resolved */
    bool json;
    bool quiet;     /* no line of progress */
    int timeout_ms; /* for a whole answer; 0: as long as it takes */
    char *const *operands;
    unsigned operand_count;
    bool list;          /* as JSON, a list of answers even of one target */
    const char *target; /* which the answer is about; NULL: none */
};

/* Prints why there is no answer. Returns the exit code. */
int ctl_no_answer(const struct swi_error *error);

/* Asks the broker, once or once per target over one connection, and prints the answers: as JSON, a
 * single answer as it is and several in a list; else by the command's show. Operands are checked
 * before the first question. A target that fails does not stop the others. Ctrl-C and SIGTERM end
 * the wait of commands with progress. Returns the exit code, of several the largest. */
int ctl_run(const struct ctl_call *call);
/* Prints an answer as JSON or by the command's show, and a failure's message on standard error.
 * Returns the exit code. */
int ctl_print(const struct ctl_call *call, json_t *reply);
/* Only the failure's message. Returns the exit code. */
int ctl_judge(const struct ctl_call *call, const json_t *reply);
/* "TARGET: ", if the answer is about one. */
void ctl_print_target(const struct ctl_call *call);

#define CTL_TARGET "MODEL[/COMPONENT]"
/* The prepare of commands with one operand, a target, which may be optional. */
int ctl_prepare_target(const struct ctl_call *call, json_t *request);

#endif
