/* SPDX-License-Identifier: MIT */
/* swbench: every benchmark of Surfing Weights, one subcommand each. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/program.h"
#include "lib/bench.h"

static const struct command {
    const char *name;
    const char *summary;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"acquire", "lease and release a resident chunk, beside mmap and Redis", bench_acquire},
    {"bert", "whole passes of a BERT model, tokens a second", bench_bert},
    {"coldstart", "a new worker's way to its first embedding", bench_coldstart},
    {"gemm", "the engine's matrix multiplication, beside the core's peak", bench_gemm},
    {"load", "load and verify a cold chunk, beside fio, mmap and read()", bench_load},
    {"overhead", "a warm forward by the public functions, beside the engine alone", bench_overhead},
    {"policy", "replay a broker's trace under each eviction policy, beside a bound", bench_policy},
    {"redis", "load a model through a Redis, beside its local files", bench_redis},
    {"restart", "passes of a worker whose broker is restarted again and again", bench_restart},
    {"tokenize", "turn text into token ids", bench_tokenize},
    {"serve", "time BERT passes on request, for comparisons with other engines", bench_serve},
    {"flood", "hits and misses of one client while 200 others misbehave", bench_flood},
    {"stream", "passes through a model larger than the arena: hits and time", bench_stream},
    {"submit", "several models driven by one event loop: its longest stall", bench_submit},
    {"touch", "a new client's first touch of resident weights, beside small pages", bench_touch},
    {"workers", "memory of 1 to 8 workers on one model, beside private copies and mmap",
     bench_workers},
};
#define COMMANDS (sizeof commands / sizeof commands[0])

static void usage(FILE *stream)
{
    fprintf(stream, "Usage: swbench COMMAND [--json] …\n"
                    "Measure Surfing Weights beside what it replaces.\n\n");
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf(stream, "  %-10s %s\n", commands[i].name, commands[i].summary);
    fprintf(stream, "\n"
                    "  -h, --help     show this and exit; swbench COMMAND --help says more\n"
                    "  -V, --version  show the version and exit\n");
}

int main(int argc, char **argv)
{
    swi_program_begin();
    if (argc < 2) {
        usage(stderr);
        return 2;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        usage(stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        printf("swbench %s\n", sw_version());
        return 0;
    }
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    bench_die("there is no command %s; swbench --help lists them", argv[1]);
}
