/* SPDX-License-Identifier: MIT */
/* The texts on standard input, for every command that reads some: one a line; or, so that a text can
 * have line breaks, ended by a NUL or given as JSON. */
#ifndef SWI_PROGRAMS_BERT_TEXTS_H
#define SWI_PROGRAMS_BERT_TEXTS_H

#include <jansson.h>

#include "cli/options.h"
#include "programs/bert/lines.h"

struct texts {
    const char *command;
    struct lines lines;
    unsigned input; /* texts_inputs */
    bool null;
    bool tabs;    /* of plain text: a line is a pair with a tab between */
    bool pairs;   /* the command takes pairs */
    json_t *line; /* what the last text is borrowed from */
};

/* One text, or a pair; valid until the next one is read. */
struct text {
    const char *data;
    size_t size;
    const char *pair; /* NULL: there is none */
    size_t pair_size;
    const char *shown; /* what the output repeats as the text … */
    size_t shown_size; /* … a line with its tab */
};

extern const char *const texts_inputs[]; /* "text", "jsonl" */

/* Rows for a command's table of options. */
#define TEXTS_OPTIONS(texts)                                                                       \
    {"input", "FORMAT",                                                                            \
     "text: a line is a text (default)\n"                                                          \
     "jsonl: a line is a JSON string, or an object with \"text\" and \"pair\"",                    \
     .choice = &(texts).input, .choices = texts_inputs},                                           \
    {                                                                                              \
        "null", NULL, "texts end with a NUL instead of a line feed", .flag = &(texts).null         \
    }

/* Reads from standard input. Returns EXIT_DONE or, having said why, CLI_USAGE. */
int texts_begin(struct texts *texts, const char *command);
/* The next text; wait as command_next_line has it. Says so when it fails. */
enum lines_next texts_next(struct texts *texts, bool wait, struct text *ret);
void texts_fini(struct texts *texts);

#endif
