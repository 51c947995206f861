/* SPDX-License-Identifier: MIT */
/* swbench: what every subcommand shares.
 *
 * A subcommand is one file with one function int bench_NAME(int argc, char **argv), declared here
 * and listed in main.c's table. It reads its own options (options.h, or getopt_long where they are
 * of another kind), fills a report and prints it: a table for people, or with --json one object
 * with the unit in each key. Baselines run interleaved with what they are compared to.
 *
 * Failures end the program through bench_die: one line on stderr, exit code 1. Whatever a
 * subcommand started ends with it, however it ends (stage.c).
 */
#ifndef SWBENCH_LIB_BENCH_H
#define SWBENCH_LIB_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <jansson.h>

#include <sw/client.h>

/* ---- subcommands ----------------------------------------------------------------------------- */

int bench_acquire(int argc, char **argv);
int bench_bert(int argc, char **argv);
int bench_coldstart(int argc, char **argv);
int bench_gemm(int argc, char **argv);
int bench_overhead(int argc, char **argv);
int bench_submit(int argc, char **argv);
int bench_load(int argc, char **argv);
int bench_policy(int argc, char **argv);
int bench_restart(int argc, char **argv);
int bench_tokenize(int argc, char **argv);
int bench_redis(int argc, char **argv);
int bench_serve(int argc, char **argv);
int bench_flood(int argc, char **argv);
int bench_stream(int argc, char **argv);
int bench_touch(int argc, char **argv);
int bench_workers(int argc, char **argv);

/* Prints "swbench: …" and exits with 1. */
void bench_die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
/* Dies with a client's last message unless code is 0 or more. */
void bench_check(int code, const sw_client *client, const char *what);

/* ---- time and order statistics --------------------------------------------------------------- */

uint64_t bench_now_ns(void);

/* A growing set of measurements. Start from zeros. */
struct series {
    double *values;
    size_t count, capacity;
};
void series_add(struct series *series, double value);
/* 0 … 1 by nearest rank; sorts. NaN when empty. */
double series_quantile(struct series *series, double quantile);
double series_median(struct series *series);
void series_fini(struct series *series);

/* ---- reports --------------------------------------------------------------------------------- */

struct report {
    json_t *root;
    char *text; /* the table for people, a line for each figure */
    size_t text_size;
};
/* Begins a report on a subcommand; notes machine and library version. */
void report_init(struct report *report, const char *command);
/* digits: decimals shown to people. label NULL: JSON only. A NaN becomes null and "not measured".
 */
void report_number(struct report *report, const char *key, double value, int digits,
                   const char *label);
void report_integer(struct report *report, const char *key, int64_t value, const char *label);
void report_string(struct report *report, const char *key, const char *value, const char *label);
/* Prints and frees. Returns 0, for main. */
int report_print(struct report *report, bool as_json);

/* ---- a stage: a directory, a model and a broker of one's own --------------------------------- */

struct stage_options {
    const char *model;      /* a chunk directory, or NULL: synthesize `shape` */
    const char *shape;      /* of swchunk synth */
    const char *synth[8];   /* more options of swchunk synth, NULL at the end */
    const char *cache_size; /* of swbrokerd; NULL: large enough for the model */
    const char *broker[12]; /* more options of swbrokerd, NULL at the end */
    const char *socket;     /* a running broker to use instead of an own one, or NULL */
};

struct stage {
    char directory[64]; /* vanishes with the stage, also when the program is killed */
    char socket[128];
    char model_path[512]; /* the chunk directory */
    char model_name[256];
    pid_t broker; /* 0: somebody else's */
    int keeper;   /* closing it lets the directory go */
    pid_t keeper_pid;
};
void stage_open(struct stage *stage, const struct stage_options *options);
void stage_close(struct stage *stage);
/* Only the directory and the model; for subcommands that start their brokers one by one. */
void stage_prepare(struct stage *stage, const struct stage_options *options);
void stage_start_broker(struct stage *stage, const struct stage_options *options);
void stage_stop_broker(struct stage *stage);
/* A client of the stage's broker. */
sw_client *stage_connect(const struct stage *stage, const char *name);

/* The path of a program built beside swbench; into a static buffer of its own for each call site's
 * use. */
const char *bench_program(const char *name, char *buffer, size_t size);
/* Starts a program that dies with swbench; its stdout goes nowhere, its stderr to log. */
pid_t bench_spawn(const char *const argv[], const char *log);
/* Runs one to its end; dies unless it exits 0. */
void bench_run(const char *const argv[], const char *log);
/* SIGTERM, then wait. */
void bench_stop(pid_t pid);
/* Whether a program is on PATH. */
bool bench_installed(const char *program);

#endif
