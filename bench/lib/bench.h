/* SPDX-License-Identifier: MIT */
/* swbench: what all subcommands share.
 *
 * A subcommand is one file with a function int bench_NAME(int argc, char **argv), declared here and
 * listed in main.c. It reads its options (options.h), fills a report and prints it: a table for
 * people, or with --json one object with the unit in each key. Baselines run interleaved with the
 * measurements that they are compared with.
 *
 * Failures end the program through bench_die, with one line on stderr and exit code 1. Everything
 * that a subcommand started ends with it, even when it is killed (stage.c).
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
/* If code is negative, dies with the client's last message. */
void bench_check(int code, const sw_client *client, const char *what);

/* ---- time and order statistics --------------------------------------------------------------- */

uint64_t bench_now_ns(void);

/* A growing list of measurements. Zero-initialise. */
struct series {
    double *values;
    size_t count, capacity;
};
void series_add(struct series *series, double value);
/* The quantile 0 … 1 by nearest rank; sorts. NaN if empty. */
double series_quantile(struct series *series, double quantile);
double series_median(struct series *series);
void series_fini(struct series *series);

/* ---- reports --------------------------------------------------------------------------------- */

struct report {
    json_t *root;
    char *text; /* the table for people, one line per figure */
    size_t text_size;
};
/* Begins the report of a subcommand with the machine and the library version. */
void report_init(struct report *report, const char *command);
/* digits: decimals in the table. label NULL: JSON only. NaN becomes null and "not measured". */
void report_number(struct report *report, const char *key, double value, int digits,
                   const char *label);
void report_integer(struct report *report, const char *key, int64_t value, const char *label);
void report_string(struct report *report, const char *key, const char *value, const char *label);
/* Prints and frees. Returns 0, for main. */
int report_print(struct report *report, bool as_json);

/* ---- a stage: a directory, a model and a private broker ------------------------------------- */

struct stage_options {
    const char *model;      /* a chunk directory, or NULL: synthesize `shape` */
    const char *shape;      /* of swchunk synth */
    const char *synth[8];   /* more options of swchunk synth, NULL at the end */
    const char *cache_size; /* of swbrokerd; NULL: large enough for the model */
    const char *broker[12]; /* more options of swbrokerd, NULL at the end */
    const char *socket;     /* a running broker to use instead of a private one, or NULL */
};

struct stage {
    char directory[64]; /* removed with the stage, even if the program is killed */
    char socket[128];
    char model_path[512]; /* the chunk directory */
    char model_name[256];
    pid_t broker; /* 0: not started here */
    int keeper;   /* closing it removes the directory */
    pid_t keeper_pid;
};
void stage_open(struct stage *stage, const struct stage_options *options);
void stage_close(struct stage *stage);
/* Only the directory and the model, for subcommands that start several brokers. */
void stage_prepare(struct stage *stage, const struct stage_options *options);
void stage_start_broker(struct stage *stage, const struct stage_options *options);
void stage_stop_broker(struct stage *stage);
/* A client of the stage's broker. */
sw_client *stage_connect(const struct stage *stage, const char *name);

/* The path of a program in swbench's directory, in buffer. */
const char *bench_program(const char *name, char *buffer, size_t size);
/* Starts a program that dies with swbench, with stdout to /dev/null and stderr to log. */
pid_t bench_spawn(const char *const argv[], const char *log);
/* Runs a program to its end; dies unless it exits with 0. */
void bench_run(const char *const argv[], const char *log);
/* Sends SIGTERM and waits. */
void bench_stop(pid_t pid);
/* Whether a program is on PATH. */
bool bench_installed(const char *program);

#endif
