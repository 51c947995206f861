/* SPDX-License-Identifier: MIT */
/* swbert: a worker on libsw. Text in, embeddings or tokens out; ids in, hidden states out.
 *
 * Exit status: 0 done (also when the reader of its output has gone), 1 failed (one line on standard
 * error says what, where and what to do), 2 wrong usage. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "core/program.h"
#include "programs/bert/command.h"

static const char help[] =
    "Usage: swbert COMMAND --model NAME [options]\n"
    "Run a BERT model on weights that swbrokerd shares between all workers of this machine.\n"
    "\n"
    "  classify   texts, one a line, to labels and scores\n"
    "  embed      texts, one a line, to vectors\n"
    "  fill       texts with [MASK] in them, one a line, to the likeliest words\n"
    "  forward    token ids to hidden states\n"
    "  tokenize   texts, one a line, to token ids\n"
    "\n"
    "  -h, --help     show this and exit; swbert COMMAND --help says more\n"
    "  -V, --version  show the version and exit\n";

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"classify", command_classify}, {"embed", command_embed},       {"fill", command_fill},
    {"forward", command_forward},   {"tokenize", command_tokenize},
};

int main(int argc, char **argv)
{
    swi_program_begin();
    /* a reader that has gone is seen by the write that fails, after which there is nothing to do */
    (void)signal(SIGPIPE, SIG_IGN);
    const char *name = argc > 1 ? argv[1] : "";
    if (strcmp(name, "-h") == 0 || strcmp(name, "--help") == 0) {
        (void)fputs(help, stdout);
        return command_finish("help", EXIT_DONE);
    }
    if (strcmp(name, "-V") == 0 || strcmp(name, "--version") == 0) {
        (void)printf("swbert %s\n", sw_version());
        return command_finish("version", EXIT_DONE);
    }
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(name, commands[i].name) == 0)
            return command_finish(name, commands[i].run(argc - 1, argv + 1));
    }
    if (argc < 2)
        (void)fputs("swbert: a command is missing; see swbert --help\n", stderr);
    else
        (void)fprintf(stderr, "swbert: no command %s; see swbert --help\n", name);
    return EXIT_USAGE;
}
