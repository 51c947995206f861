/* SPDX-License-Identifier: MIT */
/* The directory, model and broker of a benchmark, and their removal.
 *
 * Started programs get SIGKILL when swbench ends (PR_SET_PDEATHSIG). A keeper process removes the
 * directory when a pipe that only swbench holds is closed, even if swbench is killed.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/bench.h"

#define ARGUMENTS_MAX 32

/* ---- programs -------------------------------------------------------------------------------- */

const char *bench_program(const char *name, char *buffer, size_t size)
{
    char self[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length < 0)
        bench_die("cannot read /proc/self/exe: %s", strerror(errno));
    self[length] = 0;
    char *slash = strrchr(self, '/');
    *slash = 0;
    /* beside swbench where all was built, in sbin where it was installed */
    static const char *const places[] = {"", "../sbin/"};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        char path[PATH_MAX];
        int written = snprintf(path, sizeof path, "%s/%s%s", self, places[i], name);
        if (written < 0 || (size_t)written >= size)
            bench_die("the path of %s is too long", name);
        if (access(path, X_OK) == 0)
            return strcpy(buffer, path);
    }
    bench_die("%s is not in %s, the directory of swbench; build it", name, self);
}

bool bench_installed(const char *program)
{
    const char *path = getenv("PATH");
    char *directories = strdup(path ? path : "/usr/bin:/bin");
    bool found = false;
    char *rest = directories;
    for (char *one; !found && (one = strsep(&rest, ":"));) {
        char candidate[PATH_MAX];
        (void)snprintf(candidate, sizeof candidate, "%s/%s", one, program);
        found = access(candidate, X_OK) == 0;
    }
    free(directories);
    return found;
}

pid_t bench_spawn(const char *const argv[], const char *log)
{
    pid_t parent = getpid();
    pid_t child = fork();
    if (child < 0)
        bench_die("cannot fork: %s", strerror(errno));
    if (child > 0)
        return child;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127);
    int nothing = open("/dev/null", O_RDWR);
    int messages = log ? open(log, O_WRONLY | O_CREAT | O_APPEND, 0600) : nothing;
    if (nothing < 0 || messages < 0 || dup2(nothing, 0) < 0 || dup2(nothing, 1) < 0 ||
        dup2(messages, 2) < 0)
        _exit(127);
    execvp(argv[0], (char *const *)(uintptr_t)argv);
    dprintf(2, "cannot run %s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

/* The last line of a log, for messages. */
static const char *last_words(const char *log, char *buffer, size_t size)
{
    (void)snprintf(buffer, size, "it said nothing");
    FILE *file = log ? fopen(log, "re") : NULL;
    if (!file)
        return buffer;
    char line[512];
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        if (line[0])
            (void)snprintf(buffer, size, "%s", line);
    }
    fclose(file);
    return buffer;
}

void bench_run(const char *const argv[], const char *log)
{
    pid_t child = bench_spawn(argv, log);
    int status;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            bench_die("cannot wait for %s: %s", argv[0], strerror(errno));
    char words[512];
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        bench_die("%s failed: %s", argv[0], last_words(log, words, sizeof words));
}

void bench_stop(pid_t pid)
{
    if (pid <= 0)
        return;
    kill(pid, SIGTERM);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

/* ---- the directory --------------------------------------------------------------------------- */

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status;
    (void)type;
    (void)where;
    (void)remove(path);
    return 0;
}

static void keep(int pipe_end, const char *directory)
{
    /* A terminal's Ctrl-C goes to the whole group; the keeper must outlive it. */
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    char byte;
    while (read(pipe_end, &byte, 1) < 0 && errno == EINTR)
        ;
    nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    _exit(0);
}

static void make_directory(struct stage *stage)
{
    const char *parent = getenv("TMPDIR");
    if (!parent || !*parent)
        parent = "/tmp";
    int length = snprintf(stage->directory, sizeof stage->directory, "%s/swbench.XXXXXX", parent);
    if (length < 0 || (size_t)length >= sizeof stage->directory)
        bench_die("$TMPDIR is too long for the path of a socket: %s", parent);
    if (!mkdtemp(stage->directory))
        bench_die("cannot create a directory under %s: %s", parent, strerror(errno));
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        bench_die("cannot create a pipe: %s", strerror(errno));
    stage->keeper_pid = fork();
    if (stage->keeper_pid < 0)
        bench_die("cannot fork: %s", strerror(errno));
    if (stage->keeper_pid == 0) {
        close(ends[1]);
        keep(ends[0], stage->directory);
    }
    close(ends[0]);
    stage->keeper = ends[1];
}

/* ---- the model ------------------------------------------------------------------------------- */

static void take_model(struct stage *stage, const char *model)
{
    char path[PATH_MAX];
    if (!realpath(model, path))
        bench_die("%s: %s", model, strerror(errno));
    if ((size_t)snprintf(stage->model_path, sizeof stage->model_path, "%s", path) >=
        sizeof stage->model_path)
        bench_die("%s: the path is too long", path);
    char manifest[PATH_MAX + 32];
    (void)snprintf(manifest, sizeof manifest, "%s/chunk_info.json", path);
    if (access(manifest, R_OK) < 0)
        bench_die("%s is not a chunk directory (no chunk_info.json); make one with swchunk import",
                  path);
}

static void make_model(struct stage *stage, const struct stage_options *options)
{
    (void)snprintf(stage->model_path, sizeof stage->model_path, "%s/%s", stage->directory,
                   options->shape);
    char program[PATH_MAX], log[128];
    (void)snprintf(log, sizeof log, "%s/swchunk.log", stage->directory);
    const char *argv[ARGUMENTS_MAX] = {bench_program("swchunk", program, sizeof program), "synth",
                                       options->shape, stage->model_path};
    size_t count = 4;
    for (size_t i = 0; i < sizeof options->synth / sizeof options->synth[0] && options->synth[i];
         i++)
        argv[count++] = options->synth[i];
    bench_run(argv, log);
}

void stage_prepare(struct stage *stage, const struct stage_options *options)
{
    *stage = (struct stage){.keeper = -1};
    make_directory(stage);
    if (options->model)
        take_model(stage, options->model);
    else
        make_model(stage, options);
    const char *slash = strrchr(stage->model_path, '/');
    (void)snprintf(stage->model_name, sizeof stage->model_name, "%.255s",
                   slash ? slash + 1 : stage->model_path);
}

/* ---- the broker ------------------------------------------------------------------------------ */

/* The size of the model plus some room for placement, in MB. */
static unsigned long long default_megabytes(const struct stage *stage)
{
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/chunk_info.json", stage->model_path);
    json_error_t error;
    json_t *manifest = json_load_file(path, 0, &error);
    if (!manifest)
        bench_die("%s: %s", path, error.text);
    const char *name;
    json_t *chunk;
    unsigned long long bytes = 0;
    json_object_foreach(json_object_get(manifest, "chunks"), name, chunk) bytes +=
        (unsigned long long)json_integer_value(json_object_get(chunk, "bytes"));
    json_decref(manifest);
    return (bytes + bytes / 4) / (1 << 20) + 32;
}

static void wait_for_broker(struct stage *stage, const char *log)
{
    uint64_t deadline = bench_now_ns() + UINT64_C(30000000000);
    char words[512];
    for (;;) {
        struct sw_client_options options = SW_INIT(struct sw_client_options);
        options.socket_path = stage->socket;
        sw_client *client;
        if (sw_client_open(&options, &client) == 0) {
            sw_client_close(client);
            return;
        }
        if (waitpid(stage->broker, NULL, WNOHANG) == stage->broker)
            bench_die("swbrokerd does not start: %s", last_words(log, words, sizeof words));
        if (bench_now_ns() > deadline)
            bench_die("swbrokerd does not answer: %s", last_words(log, words, sizeof words));
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    }
}

void stage_start_broker(struct stage *stage, const struct stage_options *options)
{
    (void)snprintf(stage->socket, sizeof stage->socket, "%s/broker.sock", stage->directory);
    char program[PATH_MAX], log[128], megabytes[32];
    (void)snprintf(log, sizeof log, "%s/swbrokerd.log", stage->directory);
    if (!options->cache_size)
        (void)snprintf(megabytes, sizeof megabytes, "%llu", default_megabytes(stage));
    const char *argv[ARGUMENTS_MAX] = {bench_program("swbrokerd", program, sizeof program),
                                       "--chunks-dir",
                                       stage->model_path,
                                       "--cache-size",
                                       options->cache_size ? options->cache_size : megabytes,
                                       "--socket",
                                       stage->socket};
    size_t count = 7;
    for (size_t i = 0; i < sizeof options->broker / sizeof options->broker[0] && options->broker[i];
         i++)
        argv[count++] = options->broker[i];
    stage->broker = bench_spawn(argv, log);
    wait_for_broker(stage, log);
}

void stage_stop_broker(struct stage *stage)
{
    bench_stop(stage->broker);
    stage->broker = 0;
}

void stage_open(struct stage *stage, const struct stage_options *options)
{
    stage_prepare(stage, options);
    if (options->socket) {
        if ((size_t)snprintf(stage->socket, sizeof stage->socket, "%s", options->socket) >=
            sizeof stage->socket)
            bench_die("%s: the socket's path is too long", options->socket);
    } else {
        stage_start_broker(stage, options);
    }
}

void stage_close(struct stage *stage)
{
    stage_stop_broker(stage);
    close(stage->keeper);
    while (waitpid(stage->keeper_pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

sw_client *stage_connect(const struct stage *stage, const char *name)
{
    struct sw_client_options options = SW_INIT(struct sw_client_options);
    char error[512] = "";
    options.socket_path = stage->socket;
    options.name = name;
    options.error = error;
    options.error_size = sizeof error;
    sw_client *client;
    if (sw_client_open(&options, &client) < 0)
        bench_die("%s", error);
    return client;
}
