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
    /* Puts operands and options into the request {"verb":NAME}; NULL: there are none. Returns 0, or
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
};

/* Prints why there is no answer. Returns the exit code. */
int ctl_no_answer(const struct swi_error *error);

/* Asks once and prints the answer. Returns the exit code. */
int ctl_run(const struct ctl_call *call);
/* Asks, with a line of progress on a terminal, led by name; Ctrl-C and SIGTERM end the wait.
 * Returns the exit code, after an error message if it is not CTL_DONE; *ret is then untouched, and
 * the connection of no more use. */
int ctl_ask_with_progress(const struct ctl_call *call, struct ctl_peer *peer, json_t *request,
                          const char *name, json_t **ret);
/* Prints a reply as JSON or by the command's show, and a failure's message on standard error.
 * Returns the exit code. */
int ctl_print(const struct ctl_call *call, json_t *reply);
/* Of that, only the failure's message, after what it is about unless that is NULL. Returns the exit
 * code. */
int ctl_judge(const struct ctl_call *call, const char *about, const json_t *reply);

#define CTL_TARGET "MODEL[/COMPONENT]"
/* Puts MODEL or MODEL/COMPONENT into a request. False: a part of it is empty or too long. */
bool ctl_put_target(json_t *request, const char *target);
/* The error of usage about an operand that is not a target. Returns CTL_USAGE. */
int ctl_not_a_target(const struct ctl_call *call, const char *operand);
/* The prepare of commands with one operand, a target, which may be optional. */
int ctl_prepare_target(const struct ctl_call *call, json_t *request);

#endif
