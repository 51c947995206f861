/* SPDX-License-Identifier: MIT */
/* swchunk: cuts a model into chunk files; imports, synthesizes, describes, verifies, exports.
 *
 * Exit status: 0 done, 1 failed (one line on standard error says what, where and what to do), 2
 * wrong usage. A command that is stopped by a signal removes what it has begun and dies of that
 * signal. */
#include <stdio.h>
#include <string.h>

#include "core/program.h"
#include "programs/chunk/commands.h"

static const char help[] =
    "Usage: swchunk COMMAND …\n"
    "Cut models into the chunk directories that swbrokerd serves.\n"
    "\n"
    "  import SRC OUT              from a Hugging Face directory\n"
    "  synth SHAPE OUT             a model with random weights, for tests and benchmarks\n"
    "  info DIR                    what a chunk directory holds\n"
    "  verify DIR                  read everything again and compare\n"
    "  export DIR OUT.safetensors  back to one file with Hugging Face's names\n"
    "\n"
    "  -h, --help                  show this and exit; swchunk COMMAND --help says more\n"
    "  -V, --version               show the version and exit\n";

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"import", command_import}, {"synth", command_synth},   {"info", command_info},
    {"verify", command_verify}, {"export", command_export},
};

/* What was printed must have arrived: a full disk behind standard output is a failure too. */
static int finish(int status)
{
    if (fflush(stdout) != 0 || ferror(stdout)) {
        (void)fputs("swchunk: cannot write to standard output\n", stderr);
        return status == EXIT_DONE ? EXIT_FAILED : status;
    }
    return status;
}

int main(int argc, char **argv)
{
    swi_program_begin();
    const char *name = argc > 1 ? argv[1] : "";
    if (strcmp(name, "-h") == 0 || strcmp(name, "--help") == 0) {
        (void)fputs(help, stdout);
        return finish(EXIT_DONE);
    }
    if (strcmp(name, "-V") == 0 || strcmp(name, "--version") == 0) {
        (void)printf("swchunk %s\n", SW_VERSION_STRING);
        return finish(EXIT_DONE);
    }
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (strcmp(name, commands[i].name) == 0)
            return finish(commands[i].run(argc - 1, argv + 1));
    if (argc < 2)
        (void)fputs("swchunk: a command is missing; see swchunk --help\n", stderr);
    else
        (void)fprintf(stderr, "swchunk: no command %s; see swchunk --help\n", name);
    return EXIT_USAGE;
}
