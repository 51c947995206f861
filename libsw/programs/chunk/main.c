/* SPDX-License-Identifier: MIT */
/* swchunk: cuts a model into chunk files; imports, synthesizes, describes, verifies, exports.
 *
 * Exit status: 0 done, 1 failed (one line on standard error says what, where and what to do), 2
 * wrong usage. A command that is stopped by a signal removes what it has begun and dies of that
 * signal. */
#include <stdio.h>

#include "cli/output.h"
#include "cli/program.h"
#include "core/program.h"
#include "programs/chunk/commands.h"

static const struct cli_entry commands[] = {
    {"import", "SRC OUT", "cut a Hugging Face directory into chunks", command_import},
    {"synth", "SHAPE OUT", "make a model with random weights, for tests and benchmarks",
     command_synth},
    {"info", "DIR", "describe a chunk directory", command_info},
    {"verify", "DIR", "read every chunk and check its digest", command_verify},
    {"export", "DIR OUT.safetensors", "write one file with Hugging Face's names", command_export},
};

static const struct cli_program program = {
    .name = "swchunk",
    .about = "Cut models into the chunk directories that swbrokerd serves.",
    .entries = commands,
    .count = sizeof commands / sizeof commands[0]};

int main(int argc, char **argv)
{
    swi_program_begin();
    cli_output_begin();
    int status = cli_run(&program, argc, argv);
    /* What was printed must have arrived: a full disk behind standard output is a failure too. */
    int result = cli_output_flush();
    if (result == 0)
        return status;
    cli_complain("swchunk", "cannot write to standard output: %s", sw_strerror(result));
    return status == EXIT_DONE ? EXIT_FAILED : status;
}
