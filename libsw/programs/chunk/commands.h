/* SPDX-License-Identifier: MIT */
/* swchunk's sub-commands, and what their command lines have in common.
 *
 * Each command gets its own argc and argv (argv[0] is its name), prints results to standard output
 * and failures, one line each, to standard error, and returns the exit status. */
#ifndef SWI_PROGRAMS_CHUNK_COMMANDS_H
#define SWI_PROGRAMS_CHUNK_COMMANDS_H

#include "cli/options.h"
#include "core/error.h"
#include "programs/chunk/progress.h"
#include "programs/chunk/source/source.h"
#include "programs/chunk/write/plan.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1 };

int command_import(int argc, char **argv);
int command_synth(int argc, char **argv);
int command_info(int argc, char **argv);
int command_verify(int argc, char **argv);
int command_export(int argc, char **argv);

/* "swchunk: MESSAGE", with control characters made harmless: names in it may come from a file. */
void command_print(const struct swi_error *error);

/* Of struct cli_option: "f32", "f16", "bf16" into an enum sw_dtype; "rows", "panel" into an enum
 * sw_layout. */
bool command_take_dtype(const char *text, void *place);
bool command_take_layout(const char *text, void *place);

/* Options that several commands have. */
struct command_options {
    struct chunk_format format;
    bool force, quiet;
};
#define OPTION_LAYOUT(options)                                                                     \
    {                                                                                              \
        "layout", "rows|panel", "how matrices are laid out (default: panel)",                      \
            .take = command_take_layout, .place = &(options).format.layout,                        \
            .expected = "rows or panel"                                                            \
    }
#define OPTION_DTYPE(options)                                                                      \
    {                                                                                              \
        "dtype", "f32|f16|bf16",                                                                   \
            "element type of matrices (default: f16); vectors are always f32",                     \
            .take = command_take_dtype, .place = &(options).format.dtype,                          \
            .expected = "f32, f16 or bf16"                                                         \
    }
#define OPTION_FORCE(options, what)                                                                \
    {                                                                                              \
        "force", NULL, "replace " what, .flag = &(options).force                                   \
    }
#define OPTION_QUIET(options)                                                                      \
    {                                                                                              \
        "quiet", NULL, "show no progress", .flag = &(options).quiet                                \
    }

/* Source → chunk directory at out. Prints what goes wrong. Consumes the source. */
int command_build(struct source *source, const char *verb, const char *out,
                  const struct command_options *options, bool drop_extra);

#endif
