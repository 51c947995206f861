/* SPDX-License-Identifier: MIT */
/* swbench coldstart: from the exec of a new worker to its first embedding, with a warm arena.
 *
 * The worker is swbert embed with one line of text on standard input. The time includes connecting,
 * mapping, reading config and vocabulary, tokenizing, and a pass over weights that the process has
 * never touched. Baseline, in alternation: the same text through a worker that has answered before,
 * over its pipe. The difference is the cost of starting.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/crew.h"
#include "lib/options.h"

extern char **environ;

struct settings {
    struct stage_options stage;
    const char *text;
    unsigned rounds;
    bool json;
};

static struct settings parse(int argc, char **argv)
{
    struct settings settings = {.stage = {.shape = "bert-base"},
                                .text =
                                    "The tide comes in twice a day, and the boats rise with it.",
                                .rounds = 15};
    const struct cli_option table[] = {
        {"model", "DIR", "a chunk directory (default: a synthetic bert-base, f16)",
         .text = &settings.stage.model},
        {"text", "TEXT", "text to embed (default: a sentence)", .text = &settings.text},
        {"rounds", "N", "number of rounds (default: 15)", .number = &settings.rounds, .least = 1,
         .most = 10000},
        {0},
    };
    bench_parse(argc, argv, "coldstart",
                "Time a new worker from its start to its first embedding, with resident weights.",
                table, &settings.json);
    if (!*settings.text || strchr(settings.text, '\n'))
        bench_die("coldstart: --text must be one line of text");
    return settings;
}

/* ---- a worker behind two pipes --------------------------------------------------------------- */

struct worker {
    pid_t pid;
    int to, from;
};

static struct worker start(const struct stage *stage)
{
    char program[512];
    int in[2], out[2];
    if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
        bench_die("cannot create a pipe: %s", strerror(errno));
    const char *const argv[] = {bench_program("swbert", program, sizeof program),
                                "embed",
                                "--model",
                                stage->model_name,
                                "--socket",
                                stage->socket,
                                NULL};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
    struct worker worker = {.to = in[1], .from = out[0]};
    int result =
        posix_spawn(&worker.pid, argv[0], &actions, NULL, (char *const *)(uintptr_t)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (result)
        bench_die("cannot start %s: %s", argv[0], strerror(result));
    close(in[0]);
    close(out[1]);
    return worker;
}

/* Sends a line and reads the line that answers it. */
static void ask(const struct worker *worker, const char *line)
{
    static char answer[1 << 16];
    size_t length = strlen(line);
    if (write(worker->to, line, length) != (ssize_t)length)
        bench_die("cannot write to a worker: %s", strerror(errno));
    for (;;) {
        ssize_t count = read(worker->from, answer, sizeof answer);
        if (count <= 0)
            bench_die("a worker exited before it answered; its message is above");
        if (answer[count - 1] == '\n')
            return;
    }
}

static void finish(const struct worker *worker)
{
    int status;
    close(worker->to);
    close(worker->from);
    if (waitpid(worker->pid, &status, 0) < 0 || status != 0)
        bench_die("a worker failed");
}

/* ---- measuring ------------------------------------------------------------------------------- */

static void load_all(const struct stage *stage)
{
    sw_client *client = stage_connect(stage, "swbench coldstart");
    sw_model *model;
    bench_check(sw_model_open(client, stage->model_name, &model), client, "swbench");
    for (uint32_t i = 0, count = sw_model_component_count(model); i < count; i++)
        bench_check(sw_model_warmup(model, &i, 1), client, "warming up");
    sw_model_close(model);
    sw_client_close(client);
}

int bench_coldstart(int argc, char **argv)
{
    struct settings settings = parse(argc, argv);
    struct stage stage;
    struct report report;
    struct series first = {0}, warm = {0}, beyond = {0};
    char line[4096];
    if (snprintf(line, sizeof line, "%s\n", settings.text) >= (int)sizeof line)
        bench_die("coldstart: --text must not be longer than %zu bytes", sizeof line - 2);
    (void)signal(SIGPIPE, SIG_IGN);
    stage_open(&stage, &settings.stage);
    load_all(&stage);
    struct worker old = start(&stage);
    ask(&old, line);
    for (unsigned round = 0; round < settings.rounds; round++) {
        uint64_t begin = bench_now_ns();
        struct worker fresh = start(&stage);
        ask(&fresh, line);
        double cold_ms = (double)(bench_now_ns() - begin) / 1e6;
        finish(&fresh);
        begin = bench_now_ns();
        ask(&old, line);
        double warm_ms = (double)(bench_now_ns() - begin) / 1e6;
        series_add(&first, cold_ms);
        series_add(&warm, warm_ms);
        series_add(&beyond, cold_ms - warm_ms);
    }
    finish(&old);
    report_init(&report, "coldstart");
    report_string(&report, "model", stage.model_name, "model");
    report_integer(&report, "rounds", settings.rounds, "rounds");
    report_number(&report, "first_embedding_ms_p50", series_median(&first), 2,
                  "exec to first embedding, ms");
    report_number(&report, "warm_forward_ms_p50", series_median(&warm), 2,
                  "the same text, warm, ms");
    report_number(&report, "beyond_warm_ms_p50", series_median(&beyond), 2,
                  "what starting costs beyond it, ms");
    report_number(&report, "beyond_warm_ms_p90", series_quantile(&beyond, 0.9), 2,
                  "90th percentile, ms");
    series_fini(&first);
    series_fini(&warm);
    series_fini(&beyond);
    stage_close(&stage);
    return report_print(&report, settings.json);
}
