/* SPDX-License-Identifier: MIT */
/* swbench workers: the memory of N workers on one model.
 *
 * The workers are swbert processes that have embedded a text and wait for the next one; their
 * broker counts too. Baselines, in the same round: as many processes that read the model's chunk
 * files into private memory, and that map them from the page cache. These hold only the weights,
 * without engine and tokenizer.
 *
 * The figure is the sum of PSS: private pages in full, shared ones divided by the number of
 * processes that map them.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/crew.h"
#include "lib/options.h"

#define PRIVATE_KB_A_WORKER 8192 /* what a worker may need beside the arena */

static const unsigned sizes[] = {1, 2, 4, 8};
#define SIZES (sizeof sizes / sizeof sizes[0])

struct settings {
    struct stage_options stage;
    unsigned rounds;
    bool json;
};

static struct settings parse(int argc, char **argv)
{
    struct settings settings = {.stage = {.shape = "bert-base"}, .rounds = 3};
    const struct cli_option table[] = {
        {"model", "DIR", "a chunk directory (default: a synthetic bert-base, f16)",
         .text = &settings.stage.model},
        {"rounds", "N", "number of rounds (default: 3)", .number = &settings.rounds, .least = 1,
         .most = 1000},
        {0},
    };
    bench_parse(argc, argv, "workers", "Measure the memory of 1, 2, 4 and 8 workers on one model.",
                table, &settings.json);
    return settings;
}

/* ---- swbert ---------------------------------------------------------------------------------- */

struct worker {
    pid_t pid;
    int in, out; /* as swbench sees them: its results, its texts */
};

static void become_swbert(const struct stage *stage, int in, int out)
{
    char program[PATH_MAX], log[128];
    (void)snprintf(log, sizeof log, "%s/swbert.log", stage->directory);
    int messages = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (messages < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(messages, 2) < 0 ||
        setenv("SW_SOCKET", stage->socket, 1) < 0)
        _exit(127);
    execl(bench_program("swbert", program, sizeof program), "swbert", "embed", "--model",
          stage->model_name, (char *)NULL);
    _exit(127);
}

static struct worker start_worker(const struct stage *stage)
{
    int down[2], up[2];
    if (pipe2(down, O_CLOEXEC) < 0 || pipe2(up, O_CLOEXEC) < 0)
        bench_die("cannot create a pipe: %s", strerror(errno));
    struct worker worker = {.pid = fork(), .in = up[0], .out = down[1]};
    if (worker.pid < 0)
        bench_die("cannot fork: %s", strerror(errno));
    if (worker.pid == 0)
        become_swbert(stage, down[0], up[1]);
    close(down[0]);
    close(up[1]);
    return worker;
}

/* Sends one text and reads one line: then every component has been used. */
static void make_it_work(const struct worker *worker)
{
    static const char text[] = "the quick brown fox jumps over the lazy dog\n";
    char byte = 0;
    if (write(worker->out, text, sizeof text - 1) != (ssize_t)(sizeof text - 1))
        bench_die("swbert does not read its input");
    while (byte != '\n')
        if (read(worker->in, &byte, 1) != 1)
            bench_die("swbert printed no embedding");
}

static void stop_worker(const struct worker *worker)
{
    int status = 0;
    close(worker->out);
    while (waitpid(worker->pid, &status, 0) < 0 && errno == EINTR)
        ;
    close(worker->in);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        bench_die("swbert failed when it exited");
}

struct sum {
    int64_t total_kb, broker_kb;
};

static struct sum measure_shared(const struct stage *stage, unsigned count)
{
    struct worker worker[8];
    for (unsigned i = 0; i < count; i++)
        worker[i] = start_worker(stage);
    for (unsigned i = 0; i < count; i++)
        make_it_work(&worker[i]);
    struct sum sum = {.broker_kb = bench_pss_kb(stage->broker)};
    sum.total_kb = sum.broker_kb;
    for (unsigned i = 0; i < count; i++)
        sum.total_kb += bench_pss_kb(worker[i].pid);
    for (unsigned i = 0; i < count; i++)
        stop_worker(&worker[i]);
    return sum;
}

/* ---- the two other ways ---------------------------------------------------------------------- */

struct holding {
    const struct stage *stage;
    bool mapped;
};

static void hold_file(int fd, size_t size, bool mapped, const char *name)
{
    volatile const unsigned char *bytes;
    if (mapped) {
        bytes = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
        if (bytes == MAP_FAILED)
            bench_die("cannot map %s: %s", name, strerror(errno));
    } else {
        unsigned char *copy = malloc(size);
        for (size_t done = 0; copy && done < size;) {
            ssize_t got = pread(fd, copy + done, size - done, (off_t)done);
            if (got <= 0)
                bench_die("cannot read %s", name);
            done += (size_t)got;
        }
        bytes = copy;
    }
    if (!bytes)
        bench_die("out of memory");
    unsigned sum = 0;
    for (size_t at = 0; at < size; at += 4096)
        sum += bytes[at];
    (void)sum;
}

static void hold(struct seat *seat, void *context)
{
    const struct holding *holding = context;
    DIR *directory = opendir(holding->stage->model_path);
    if (!directory)
        bench_die("%s: %s", holding->stage->model_path, strerror(errno));
    for (struct dirent *entry; (entry = readdir(directory));) {
        const char *dot = strrchr(entry->d_name, '.');
        if (!dot || strcmp(dot, ".safetensors") != 0)
            continue;
        int fd = openat(dirfd(directory), entry->d_name, O_RDONLY | O_CLOEXEC);
        struct stat status;
        if (fd < 0 || fstat(fd, &status) < 0)
            bench_die("%s: %s", entry->d_name, strerror(errno));
        hold_file(fd, (size_t)status.st_size, holding->mapped, entry->d_name);
        close(fd);
    }
    closedir(directory);
    seat_say(seat, "", 1);
    char byte;
    seat_hear(seat, &byte, 1);
}

static int64_t measure_held(const struct stage *stage, unsigned count, bool mapped)
{
    struct crew crew;
    struct holding holding = {.stage = stage, .mapped = mapped};
    int64_t sum = 0;
    crew_start(&crew, stage, count, hold, &holding);
    crew_gather(&crew);
    for (unsigned i = 0; i < count; i++)
        sum += bench_pss_kb(crew.member[i].pid);
    crew_end(&crew);
    return sum;
}

/* ---- all of it ------------------------------------------------------------------------------- */

struct figures {
    struct series shared, broker, copied, mapped;
};

static void print(const struct settings *settings, const struct stage *stage, int64_t arena_bytes,
                  struct figures figures[SIZES])
{
    struct report report;
    char label[96], text[128];
    report_init(&report, "workers");
    report_string(&report, "model", stage->model_name, "model");
    report_integer(&report, "model_bytes", (int64_t)stage_model_bytes(stage), NULL);
    report_integer(&report, "arena_bytes", arena_bytes, "arena, bytes");
    report_string(&report, "page_cache", "warm for the mapped files; the broker reads around it",
                  NULL);
    report_integer(&report, "rounds", settings->rounds, NULL);
    json_t *list = json_array();
    for (size_t i = 0; i < SIZES; i++) {
        double shared = series_median(&figures[i].shared);
        double broker = series_median(&figures[i].broker);
        double copied = series_median(&figures[i].copied);
        double mapped = series_median(&figures[i].mapped);
        double spread =
            series_quantile(&figures[i].shared, 1) - series_quantile(&figures[i].shared, 0);
        json_array_append_new(list,
                              json_pack("{s:i, s:f, s:f, s:f, s:f, s:f}", "workers", (int)sizes[i],
                                        "pss_kb_total", shared, "pss_kb_spread", spread,
                                        "pss_kb_broker", broker, "pss_kb_total_private_copies",
                                        copied, "pss_kb_total_mmap", mapped));
        (void)snprintf(label, sizeof label, "%u workers: shared, private, mmap, kB", sizes[i]);
        (void)snprintf(text, sizeof text, "%.0f  %.0f  %.0f", shared, copied, mapped);
        report_string(&report, "", text, label);
    }
    json_object_del(report.root, "");
    json_object_set_new(report.root, "by_workers", list);
    double most = series_median(&figures[SIZES - 1].shared);
    double limit = (double)arena_bytes / 1024 + (double)sizes[SIZES - 1] * PRIVATE_KB_A_WORKER;
    report_number(&report, "pss_kb_total", most, 0, "sum of PSS with 8 workers, kB");
    report_number(&report, "limit_kb", limit, 0, "arena + 8 MB per worker, kB");
    report_number(&report, "pss_kb_a_worker", (most - (double)arena_bytes / 1024) / 8, 0,
                  "beside the arena, per worker, kB");
    json_object_set_new(report.root, "within_limit", json_boolean(most <= limit));
    report_number(&report, "ratio_private_copies", series_median(&figures[SIZES - 1].copied) / most,
                  2, "times that private copies need");
    report_print(&report, settings->json);
}

int bench_workers(int argc, char **argv)
{
    struct settings settings = parse(argc, argv);
    struct stage stage;
    struct figures figures[SIZES] = {0};
    char cache_size[32];
    stage_prepare(&stage, &settings.stage);
    (void)snprintf(cache_size, sizeof cache_size, "%llu",
                   (unsigned long long)(stage_model_bytes(&stage) >> 20) + 2);
    settings.stage.cache_size = cache_size; /* the model and no more: as the others hold it */
    stage_start_broker(&stage, &settings.stage);
    for (unsigned round = 0; round < settings.rounds; round++) {
        for (size_t i = 0; i < SIZES; i++) {
            struct sum sum = measure_shared(&stage, sizes[i]);
            series_add(&figures[i].shared, (double)sum.total_kb);
            series_add(&figures[i].broker, (double)sum.broker_kb);
            series_add(&figures[i].copied, (double)measure_held(&stage, sizes[i], false));
            series_add(&figures[i].mapped, (double)measure_held(&stage, sizes[i], true));
        }
    }
    print(&settings, &stage, stage_stat(&stage, "arena_bytes"), figures);
    for (size_t i = 0; i < SIZES; i++) {
        series_fini(&figures[i].shared);
        series_fini(&figures[i].broker);
        series_fini(&figures[i].copied);
        series_fini(&figures[i].mapped);
    }
    stage_close(&stage);
    return 0;
}
