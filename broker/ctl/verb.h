/* SPDX-License-Identifier: MIT */
/* swctl's verbs, as data: what each takes, what it asks the broker, how its answer is shown.
 *
 * ctl/main.c reads the command line by this table (ctl/verbs.c) and makes the help from it, so that a
 * verb, its operands and its options exist in one place. Most verbs are one question and one
 * answer: prepare puts operands and options into the request, show prints the reply. One that is
 * more than that has a run of its own.
 */
#ifndef SWB_CTL_VERB_H
#define SWB_CTL_VERB_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "core/error.h"

enum ctl_exit {
    CTL_DONE = 0,
    CTL_REFUSED = 1, /* the broker reported a failure; doctor: something fails */
    CTL_USAGE = 2,
    CTL_NO_BROKER = 3,
    CTL_WARNED = 4,      /* doctor: warnings only */
    CTL_CANCELLED = 130, /* Ctrl-C, as shells count it */
};

#define CTL_OPTIONS  6u
#define CTL_OPERANDS 1024u /* of one call */

struct ctl_call;

struct ctl_option {
    const char *name;  /* without "--" */
    const char *value; /* what help calls its value; NULL: a flag */
    const char *help;
};

struct ctl_verb {
    const char *name;
    const char *operands;                   /* as help writes them; NULL: none */
    unsigned least, most;                   /* how many */
    const char *help;                       /* one line of swctl --help */
    const char *more;                       /* whole lines of swctl VERB --help; NULL: none */
    struct ctl_option options[CTL_OPTIONS]; /* those without a name are none */
    /* Operands and options into the request {"verb":NAME}; NULL: there are none to put. Returns 0,
     * or the exit code after having said what is wrong. */
    int (*prepare)(const struct ctl_call *call, json_t *request);
    /* Prints an answer that is "ok", for people. */
    void (*show)(const struct ctl_call *call, const json_t *reply);
    /* Instead of one question and one answer. Returns the exit code. */
    int (*run)(const struct ctl_call *call);
    bool patient;  /* its answer may take as long as it takes, unless --timeout says otherwise */
    bool progress; /* the broker tells how far it is, when asked */
    bool shows_failures; /* show also takes an answer that is not "ok", if it has "chunks" */
};

struct ctl_call {
    const struct ctl_verb *verb;
    const char *socket_path; /* resolved */
    bool json;
    int timeout_ms;                  /* for a whole answer; 0: as long as it takes */
    const char *values[CTL_OPTIONS]; /* by place in verb->options; NULL: not given; "": a flag */
    char *const *operands;
    unsigned operand_count;
};

extern const struct ctl_verb ctl_verbs[];
extern const size_t ctl_verb_count;

/* The value of an option of the verb; NULL: not given. */
const char *ctl_value(const struct ctl_call *call, const char *option);

/* "swctl: WHAT PROBLEM; see swctl --help" on stderr. Returns CTL_USAGE. */
int ctl_usage(const char *what, const char *problem);
/* Says why there is no answer. Returns the exit code. */
int ctl_no_answer(const struct swi_error *error);
/* Prints a reply: as JSON, or by the verb's show; a failure's sentence on stderr. Returns the exit
 * code. */
int ctl_print(const struct ctl_call *call, json_t *reply);
/* Of that, only a failure's sentence, led by what it is about unless that is NULL, and the exit
 * code. */
int ctl_judge(const struct ctl_call *call, const char *about, const json_t *reply);
/* One question and one answer, with a line of progress on a terminal where the verb has any. */
int ctl_run(const struct ctl_call *call);

/* MODEL or MODEL/COMPONENT into a request. False: too long, or a part of it is empty. */
bool ctl_put_target(json_t *request, const char *target);

#endif
