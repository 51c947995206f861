/* SPDX-License-Identifier: MIT */
/* swbert: a worker on libsw. Text in, embeddings or tokens out; ids in, hidden states out.
 *
 * Exit status: 0 done (also when the reader of its output has gone), 1 failed (one line on standard
 * error says what, where and what to do), 2 wrong usage. */
#include <signal.h>

#include "cli/output.h"
#include "cli/program.h"
#include "core/program.h"
#include "programs/bert/command.h"

static const struct cli_entry commands[] = {
    {"classify", NULL, "turn texts, one per line, into labels and scores", command_classify},
    {"embed", NULL, "turn texts, one per line, into vectors", command_embed},
    {"fill", NULL, "find the likeliest words for each [MASK] in texts, one per line", command_fill},
    {"forward", NULL, "turn token ids into hidden states", command_forward},
    {"tokenize", NULL, "turn texts, one per line, into token ids", command_tokenize},
};

static const struct cli_program program = {
    .name = "swbert",
    .about =
        "Run a BERT model on weights that swbrokerd shares between all workers of this machine.",
    .entries = commands,
    .count = sizeof commands / sizeof commands[0]};

int main(int argc, char **argv)
{
    swi_program_begin();
    cli_output_begin();
    /* a reader that has gone is seen by the write that fails, after which there is nothing to do */
    (void)signal(SIGPIPE, SIG_IGN);
    const char *name = argc > 1 && argv[1][0] != '-' ? argv[1] : "help";
    return command_finish(name, cli_run(&program, argc, argv));
}
