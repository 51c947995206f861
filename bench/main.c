/* SPDX-License-Identifier: MIT */
/* swbench: every benchmark of Surfing Weights, one subcommand each. */
#include "cli/program.h"
#include "core/program.h"
#include "lib/bench.h"

static const struct cli_entry commands[] = {
    {"acquire", NULL, "compare lease and release of a resident chunk with mmap and Redis",
     bench_acquire},
    {"bert", NULL, "time whole passes of a BERT model", bench_bert},
    {"coldstart", NULL, "time a new worker up to its first embedding", bench_coldstart},
    {"gemm", NULL, "compare the engine's matrix multiplication with the core's peak", bench_gemm},
    {"load", NULL, "load and verify a cold chunk, against fio, mmap and read()", bench_load},
    {"overhead", NULL, "compare a warm forward through the public calls with the engine alone",
     bench_overhead},
    {"policy", NULL, "replay a broker's trace under each eviction policy, with a bound",
     bench_policy},
    {"redis", NULL, "compare loading a model through a Redis and from local files", bench_redis},
    {"restart", NULL, "time a worker's passes while its broker restarts repeatedly", bench_restart},
    {"tokenize", NULL, "turn text into token ids", bench_tokenize},
    {"serve", NULL, "time BERT passes on request, for comparisons with other engines", bench_serve},
    {"flood", NULL, "time one client's hits and misses while 200 others misbehave", bench_flood},
    {"stream", NULL, "stream through a model larger than the arena: hits and time", bench_stream},
    {"submit", NULL, "drive several models from one event loop: its longest stall", bench_submit},
    {"touch", NULL, "compare a new client's first touch of resident weights with small pages",
     bench_touch},
    {"workers", NULL, "compare the memory of 1 to 8 workers with private copies and mmap",
     bench_workers},
};

static const struct cli_program program = {.name = "swbench",
                                           .about =
                                               "Measure Surfing Weights against what it replaces.",
                                           .entries = commands,
                                           .count = sizeof commands / sizeof commands[0]};

int main(int argc, char **argv)
{
    swi_program_begin();
    return cli_run(&program, argc, argv);
}
