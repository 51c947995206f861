/* SPDX-License-Identifier: MIT */
/* swbert's sub-commands, and what they share: options, the model, messages, JSON pieces.
 *
 * Each command gets its own argc and argv (argv[0] is its name), prints results to standard output
 * and failures, one line each, to standard error, and returns the exit status.
 */
#ifndef SWI_PROGRAMS_BERT_COMMAND_H
#define SWI_PROGRAMS_BERT_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sw/sw.h>

#include "cli/options.h"
#include "programs/bert/lines.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1 };

int command_classify(int argc, char **argv);
int command_embed(int argc, char **argv);
int command_fill(int argc, char **argv);
int command_forward(int argc, char **argv);
int command_tokenize(int argc, char **argv);

/* ---- messages -------------------------------------------------------------------------------- */

/* "swbert COMMAND: MESSAGE" on one line, control characters made harmless. Returns EXIT_FAILED. */
int command_fail(const char *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* "swbert COMMAND: MESSAGE; see swbert COMMAND --help". The value is CLI_USAGE. */
#define command_usage(command, ...)                                                                \
    cli_usage(&(const struct cli_command){.program = "swbert", .name = (command)}, __VA_ARGS__)

/* Sends what is buffered for standard output on its way. False: it did not get there, and there is
 * no point in going on. */
bool command_flush(void);
/* Flushes; turns EXIT_DONE into EXIT_FAILED, and says so, when the output did not get out, except
 * when its reader has gone: that is the reader's business. */
int command_finish(const char *command, int status);

/* ---- options --------------------------------------------------------------------------------- */

struct command_options {
    const char *model, *socket;
    uint32_t threads;
    bool stats;
};

/* cli_parse with the options that all commands have. */
bool command_parse(const struct cli_command *command, int argc, char **argv,
                   struct command_options *options, int *ret_status);

/* The next text. With wait, what was printed is flushed before waiting for more input. An output
 * whose reader has gone counts as the end of the input. Says so when reading fails. */
enum lines_next command_next_line(const char *command, struct lines *lines, bool wait,
                                  const char **line, size_t *size);

/* ---- the model ------------------------------------------------------------------------------- */

struct worker {
    const char *command;
    struct command_options options;
    sw_client *client;
    sw_encoder *encoder;
    struct sw_encoder_config config;
    uint64_t started_ns;
};

/* Connects and opens the model. Returns EXIT_DONE or, having said why, EXIT_FAILED; worker_close in
 * either case. */
int worker_open(const char *command, const struct command_options *options, struct worker *worker);
int worker_tokenizer(struct worker *worker, const sw_tokenizer **ret_tokenizer);
/* Says why a call on worker->encoder failed with this code. Returns EXIT_FAILED. */
int worker_fail(const struct worker *worker, int code);
/* Prints the statistics that --stats asks for. */
void worker_print_stats(const struct worker *worker, uint64_t texts, uint64_t cut);
void worker_close(struct worker *worker);

/* ---- output ---------------------------------------------------------------------------------- */

/* A JSON string, quotes included; invalid UTF-8 becomes U+FFFD. False: no memory. */
bool print_string(const char *text, size_t size);
/* A JSON array of numbers that read back as the same float32. */
void print_floats(const float *values, size_t count);
void print_ids(const int32_t *ids, size_t count);
/* The index of the first that is NaN or infinite, which JSON cannot say; count when there is none.
 */
size_t first_odd(const float *values, size_t count);

#endif
