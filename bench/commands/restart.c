/* SPDX-License-Identifier: MIT */
/* swbench restart: the effect of broker restarts on a worker.
 *
 * A broker runs under a service manager that stores its descriptors, as systemd does; a worker runs
 * passes without a pause; optional further clients only hold a lease. The broker is restarted N
 * times, or killed. A quiet window of the same length between restarts is the baseline for
 * disturbances by the machine.
 *
 * A pass is slow if it takes more than twice the median of the quiet windows, and wrong if its
 * result differs in a bit from the first.
 */
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <sw/encoder.h>

#include "lib/crew.h"
#include "lib/manager.h"
#include "lib/options.h"

#define PASSES_MAX  (1u << 20)
#define TOKENS      16u
#define SETTLE_NS   UINT64_C(150000000) /* after a restart, still in its window */
#define WARM_PASSES 50u
#define DESCRIPTORS "4096"

struct settings {
    struct stage_options stage;
    unsigned restarts, clients;
    bool kill, json;
};

struct pass {
    uint64_t begin_ns, end_ns;
    uint64_t hits, misses; /* of the worker, so far */
};

/* Shared with the crew. */
struct board {
    atomic_uint passes;
    atomic_uint failed, wrong;
    atomic_bool ending;
    struct pass pass[PASSES_MAX];
};

struct window {
    uint64_t begin_ns, end_ns;
};

static struct settings parse(int argc, char **argv)
{
    struct settings settings = {.stage = {.shape = "minilm-l6"}, .restarts = 20};
    const struct cli_option table[] = {
        {"model", "DIR", "a chunk directory (default: a synthetic minilm-l6, f16)",
         .text = &settings.stage.model},
        {"restarts", "N", "number of restarts (default: 20)", .number = &settings.restarts,
         .least = 1, .most = 1000},
        {"clients", "N", "further clients, each with a lease (default: 0)",
         .number = &settings.clients, .least = 1, .most = CREW_MAX - 1},
        {"cache-size", "SIZE", "size of the arena (default: the model and some room)",
         .text = &settings.stage.cache_size},
        {"kill", NULL, "stop the broker with SIGKILL instead of SIGTERM", .flag = &settings.kill},
        {0},
    };
    bench_parse(
        argc, argv, "restart",
        "Restart a broker under a service manager while a worker runs passes without a pause.",
        table, &settings.json);
    return settings;
}

/* ---- the manager ----------------------------------------------------------------------------- */

struct manager_seat {
    pid_t pid;
    int control;
};

static struct manager_seat start_manager(struct stage *stage, const struct settings *settings)
{
    static char program[PATH_MAX], size[32], log[128];
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        bench_die("cannot create a socket pair: %s", strerror(errno));
    (void)snprintf(stage->socket, sizeof stage->socket, "%s/broker.sock", stage->directory);
    (void)snprintf(log, sizeof log, "%s/swbrokerd.log", stage->directory);
    uint64_t bytes = stage_model_bytes(stage);
    (void)snprintf(size, sizeof size, "%llu",
                   (unsigned long long)((bytes + bytes / 4) / (1 << 20) + 32));
    const char *given = settings->stage.cache_size;
    const char *argv[] = {bench_program("swbrokerd", program, sizeof program),
                          "--chunks-dir",
                          stage->model_path,
                          "--cache-size",
                          given ? given : size,
                          "--socket",
                          stage->socket,
                          NULL};
    pid_t parent = getpid();
    struct manager_seat seat = {.pid = fork(), .control = ends[0]};
    if (seat.pid < 0)
        bench_die("cannot fork: %s", strerror(errno));
    if (seat.pid == 0) {
        const struct manager_options options = {.max = (unsigned)strtoul(DESCRIPTORS, NULL, 10),
                                                .log = log,
                                                .argv = (char *const *)(uintptr_t)argv};
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(ends[0]);
        close(stage->keeper);
        _exit(getppid() == parent ? manager_serve(&options, ends[1], ends[1]) : 127);
    }
    close(ends[1]);
    return seat;
}

/* Sends a command and reads the numbers of its answer. */
static void tell(const struct manager_seat *seat, const char *command, double *first,
                 double *second)
{
    char answer[256];
    ssize_t length = -1;
    if (write(seat->control, command, strlen(command)) == (ssize_t)strlen(command))
        length = read(seat->control, answer, sizeof answer - 1);
    answer[length > 0 ? length : 0] = 0;
    *first = *second = (double)NAN;
    if (sscanf(answer, "ok %*d %lf %lf", first, second) < 1)
        bench_die("the broker does not %s: %s", command, answer);
}

/* ---- the crew -------------------------------------------------------------------------------- */

struct job {
    const struct stage *stage;
    struct board *board;
};

static void hold_a_lease(struct seat *seat, const struct job *job)
{
    sw_client *client = stage_connect(job->stage, "holder");
    sw_model *model;
    struct sw_lease lease;
    char byte;
    bench_check(sw_model_open(client, job->stage->model_name, &model), client, "open");
    uint32_t count = sw_model_component_count(model);
    bench_check(sw_lease_acquire(model, seat->number % count, &lease), client, "acquire");
    seat_say(seat, "", 1);
    seat_hear(seat, &byte, 1);
    bench_check(sw_lease_release(&lease), client, "release after the restarts");
    seat_say(seat, "", 1);
    sw_model_close(model);
    sw_client_close(client);
}

static void run_passes(struct seat *seat, const struct job *job)
{
    struct board *board = job->board;
    sw_client *client = stage_connect(job->stage, "worker");
    char error[512] = "";
    struct sw_encoder_options options = SW_INIT(struct sw_encoder_options);
    options.error = error;
    options.error_size = sizeof error;
    sw_encoder *encoder;
    if (sw_encoder_open(client, job->stage->model_name, &options, &encoder) < 0)
        bench_die("%s", error);
    struct sw_encoder_config config = {.size = sizeof config};
    sw_encoder_get_config(encoder, &config);
    int32_t ids[TOKENS];
    uint32_t length = TOKENS;
    for (uint32_t i = 0; i < TOKENS; i++)
        ids[i] = (int32_t)((1000 + i * 7919) % config.vocab_size);
    struct sw_encoder_batch batch = {
        .size = sizeof batch, .sequences = 1, .lengths = &length, .ids = ids};
    size_t bytes = (size_t)TOKENS * config.hidden_size * sizeof(float);
    float *hidden = calloc(1, bytes), *right = calloc(1, bytes);
    struct sw_encoder_output output = SW_INIT(struct sw_encoder_output);
    output.last_hidden_state = right;
    if (!hidden || !right || sw_encoder_forward(encoder, &batch, &output) < 0)
        bench_die("the first pass failed");
    output.last_hidden_state = hidden;
    seat_say(seat, "", 1);
    for (unsigned i = 0; i < PASSES_MAX && !atomic_load(&board->ending); i++) {
        struct pass *pass = &board->pass[i];
        struct sw_client_stats stats = {.size = sizeof stats};
        pass->begin_ns = bench_now_ns();
        int result = sw_encoder_forward(encoder, &batch, &output);
        pass->end_ns = bench_now_ns();
        if (result < 0)
            atomic_fetch_add(&board->failed, 1);
        else if (memcmp(hidden, right, bytes) != 0)
            atomic_fetch_add(&board->wrong, 1);
        if (sw_client_get_stats(client, &stats) == 0) {
            pass->hits = stats.hits;
            pass->misses = stats.misses;
        }
        atomic_store(&board->passes, i + 1);
    }
    char byte;
    seat_hear(seat, &byte, 1);
    seat_say(seat, "", 1);
    free(hidden);
    free(right);
    sw_encoder_close(encoder);
    sw_client_close(client);
}

static void work(struct seat *seat, void *context)
{
    if (seat->number == 0)
        run_passes(seat, context);
    else
        hold_a_lease(seat, context);
}

/* ---- measuring ------------------------------------------------------------------------------- */

static void pause_ns(uint64_t ns)
{
    struct timespec time = {.tv_sec = (time_t)(ns / 1000000000),
                            .tv_nsec = (long)(ns % 1000000000)};
    while (nanosleep(&time, &time) < 0 && errno == EINTR)
        ;
}

static void wait_for_passes(struct board *board, unsigned more)
{
    unsigned goal = atomic_load(&board->passes) + more;
    while (atomic_load(&board->passes) < goal && atomic_load(&board->passes) < PASSES_MAX)
        pause_ns(1000000);
}

static bool within(const struct pass *pass, const struct window *window)
{
    return pass->end_ns > window->begin_ns && pass->begin_ns < window->end_ns;
}

static unsigned count_slow(const struct board *board, const struct window *window, double limit_ns)
{
    unsigned slow = 0;
    for (unsigned i = 0; i < board->passes; i++)
        slow += within(&board->pass[i], window) &&
                (double)(board->pass[i].end_ns - board->pass[i].begin_ns) > limit_ns;
    return slow;
}

/* Hits and misses of the passes that begin in the window. */
static void count_uses(const struct board *board, const struct window *window, uint64_t *hits,
                       uint64_t *misses)
{
    for (unsigned i = 1; i < board->passes; i++) {
        if (!within(&board->pass[i], window))
            continue;
        *hits += board->pass[i].hits - board->pass[i - 1].hits;
        *misses += board->pass[i].misses - board->pass[i - 1].misses;
    }
}

struct figures {
    struct window *restart, *quiet; /* [restarts] */
    struct series exit_ms, ready_ms, slow, slow_quiet, longest_ms;
    double fresh_ready_ms;
    uint64_t hits, misses;
};

static void restart_all(const struct settings *settings, const struct manager_seat *seat,
                        struct board *board, struct figures *figures)
{
    for (unsigned i = 0; i < settings->restarts; i++) {
        double exit_ms, ready_ms;
        wait_for_passes(board, WARM_PASSES);
        struct window *window = &figures->restart[i];
        window->begin_ns = bench_now_ns();
        tell(seat, settings->kill ? "crash" : "restart", &exit_ms, &ready_ms);
        if (settings->kill) {
            ready_ms = exit_ms;
        } else {
            series_add(&figures->exit_ms, exit_ms);
        }
        series_add(&figures->ready_ms, ready_ms);
        pause_ns(SETTLE_NS);
        window->end_ns = bench_now_ns();
        pause_ns(SETTLE_NS);
        figures->quiet[i].begin_ns = bench_now_ns();
        pause_ns(window->end_ns - window->begin_ns);
        figures->quiet[i].end_ns = bench_now_ns();
    }
}

static double judge(const struct settings *settings, const struct board *board,
                    struct figures *figures)
{
    struct series quiet = {0};
    for (unsigned i = 0; i < board->passes; i++)
        for (unsigned k = 0; k < settings->restarts; k++)
            if (within(&board->pass[i], &figures->quiet[k]))
                series_add(&quiet, (double)(board->pass[i].end_ns - board->pass[i].begin_ns));
    double median_ns = series_median(&quiet);
    for (unsigned k = 0; k < settings->restarts; k++) {
        const struct window *window = &figures->restart[k];
        double longest = 0;
        series_add(&figures->slow, count_slow(board, window, 2 * median_ns));
        series_add(&figures->slow_quiet, count_slow(board, &figures->quiet[k], 2 * median_ns));
        for (unsigned i = 0; i < board->passes; i++) {
            double took = (double)(board->pass[i].end_ns - board->pass[i].begin_ns);
            if (within(&board->pass[i], window) && took > longest)
                longest = took;
        }
        series_add(&figures->longest_ms, longest / 1e6);
        count_uses(board, window, &figures->hits, &figures->misses);
    }
    series_fini(&quiet);
    return median_ns;
}

static double sum_of(const struct series *series)
{
    double sum = 0;
    for (size_t i = 0; i < series->count; i++)
        sum += series->values[i];
    return sum;
}

static void fill_report(struct report *report, const struct settings *settings,
                        const struct stage *stage, const struct board *board,
                        struct figures *figures)
{
    double median_ns = judge(settings, board, figures);
    double asked = (double)figures->hits + (double)figures->misses;
    report_string(report, "model", stage->model_name, "model");
    report_string(report, "ended_by", settings->kill ? "SIGKILL" : "SIGTERM", "the broker's end");
    report_integer(report, "restarts", settings->restarts, "restarts");
    report_integer(report, "clients", settings->clients + 1, "clients");
    report_integer(report, "passes", board->passes, "passes");
    report_integer(report, "failed_passes", board->failed, "failed");
    report_integer(report, "wrong_passes", board->wrong, "with a wrong result");
    report_number(report, "pass_ms_p50", median_ns / 1e6, 2, "pass in a quiet window, median, ms");
    report_number(report, "slow_passes_max", series_quantile(&figures->slow, 1), 0,
                  "over twice that, in one restart, at most");
    report_number(report, "slow_passes", sum_of(&figures->slow), 0, "in all restarts");
    report_number(report, "slow_passes_quiet", sum_of(&figures->slow_quiet), 0,
                  "in all quiet windows, as long");
    report_number(report, "slow_passes_quiet_max", series_quantile(&figures->slow_quiet, 1), 0,
                  "in one quiet window, at most");
    report_number(report, "longest_pass_ms_p50", series_median(&figures->longest_ms), 2,
                  "longest pass of a restart, median, ms");
    report_number(report, "longest_pass_ms_max", series_quantile(&figures->longest_ms, 1), 2,
                  "at most");
    report_number(report, "hit_rate", asked > 0 ? (double)figures->hits / asked : (double)NAN, 4,
                  "hit rate during the restarts");
    report_number(report, "exit_ms_p50", series_median(&figures->exit_ms), 1,
                  "SIGTERM to exit, median, ms");
    report_number(report, "exit_ms_max", series_quantile(&figures->exit_ms, 1), 1, "at most");
    report_number(report, "ready_ms_p50", series_median(&figures->ready_ms), 1,
                  "start to ready, taking over, median, ms");
    report_number(report, "ready_ms_max", series_quantile(&figures->ready_ms, 1), 1, "at most");
    report_number(report, "fresh_ready_ms", figures->fresh_ready_ms, 1,
                  "start to ready, fresh, ms");
}

/* Reserves the whole arena, so that a successor takes over all of it. */
static int64_t wait_for_memory(const struct stage *stage)
{
    while (stage_stat(stage, "reserved_bytes") < stage_stat(stage, "arena_bytes"))
        pause_ns(50000000);
    return stage_stat(stage, "arena_bytes");
}

int bench_restart(int argc, char **argv)
{
    struct settings settings = parse(argc, argv);
#ifndef SW_KEEPS_DESCRIPTORS
    bench_die("this was built without libsystemd, and a broker without it keeps nothing over a "
              "restart; install libsystemd-dev and build again");
#endif
    struct stage stage;
    struct report report;
    struct figures figures = {.restart = calloc(settings.restarts, sizeof *figures.restart),
                              .quiet = calloc(settings.restarts, sizeof *figures.quiet)};
    struct board *board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE,
                               MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (board == MAP_FAILED || !figures.restart || !figures.quiet)
        bench_die("out of memory");
    double none;
    stage_prepare(&stage, &settings.stage);
    struct manager_seat seat = start_manager(&stage, &settings);
    tell(&seat, "start", &figures.fresh_ready_ms, &none);
    int64_t arena_bytes = wait_for_memory(&stage);
    struct crew crew;
    struct job job = {.stage = &stage, .board = board};
    crew_start(&crew, &stage, settings.clients + 1, work, &job);
    crew_gather(&crew);
    restart_all(&settings, &seat, board, &figures);
    atomic_store(&board->ending, true);
    crew_tell(&crew, "", 1);
    crew_gather(&crew); /* every lease was still good at its release */
    int64_t resident = stage_stat(&stage, "adopted_chunks");
    crew_end(&crew);
    report_init(&report, "restart");
    report_integer(&report, "arena_bytes", arena_bytes, "arena, bytes");
    fill_report(&report, &settings, &stage, board, &figures);
    report_integer(&report, "adopted_chunks", resident, "chunks taken over by the last");
    double exit_ms;
    tell(&seat, "stop", &exit_ms, &none);
    close(seat.control);
    while (waitpid(seat.pid, NULL, 0) < 0 && errno == EINTR)
        ;
    stage_close(&stage);
    free(figures.restart);
    free(figures.quiet);
    series_fini(&figures.exit_ms);
    series_fini(&figures.ready_ms);
    series_fini(&figures.slow);
    series_fini(&figures.slow_quiet);
    series_fini(&figures.longest_ms);
    (void)munmap(board, sizeof *board);
    return report_print(&report, settings.json);
}
