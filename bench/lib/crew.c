/* SPDX-License-Identifier: MIT */
/* Forked workers, and requests to the broker of a stage. */
#include "lib/crew.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctl/lib/ask.h"

#define ASK_TIMEOUT_MS 60000

/* ---- pipes ----------------------------------------------------------------------------------- */

/* False at the end of the pipe. */
static bool take(int fd, void *ret, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t got = read(fd, (char *)ret + done, size - done);
        if (got > 0)
            done += (size_t)got;
        else if (got == 0 || errno != EINTR)
            return false;
    }
    return true;
}

static bool give(int fd, const void *data, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t put = write(fd, (const char *)data + done, size - done);
        if (put > 0)
            done += (size_t)put;
        else if (errno != EINTR)
            return false;
    }
    return true;
}

void seat_say(struct seat *seat, const void *data, size_t size)
{
    if (!give(seat->out, data, size))
        _exit(1);
}

void seat_hear(struct seat *seat, void *ret, size_t size)
{
    if (!take(seat->in, ret, size))
        _exit(0);
}

/* ---- the crew -------------------------------------------------------------------------------- */

static void become_member(struct crew *crew, const struct stage *stage, struct seat *seat,
                          crew_run run, void *context)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    close(stage->keeper);
    for (unsigned i = 0; i < crew->count; i++) {
        close(crew->member[i].in);
        close(crew->member[i].out);
    }
    run(seat, context);
    _exit(0);
}

void crew_start(struct crew *crew, const struct stage *stage, unsigned count, crew_run run,
                void *context)
{
    *crew = (struct crew){.count = 0};
    signal(SIGPIPE, SIG_IGN);
    fflush(stdout);
    if (count > CREW_MAX)
        bench_die("%u workers are too many", count);
    for (unsigned i = 0; i < count; i++) {
        int down[2], up[2];
        if (pipe2(down, O_CLOEXEC) < 0 || pipe2(up, O_CLOEXEC) < 0)
            bench_die("cannot create a pipe: %s", strerror(errno));
        pid_t pid = fork();
        if (pid < 0)
            bench_die("cannot fork: %s", strerror(errno));
        if (pid == 0) {
            close(down[1]);
            close(up[0]);
            struct seat seat = {.number = i, .in = down[0], .out = up[1]};
            become_member(crew, stage, &seat, run, context);
        }
        close(down[0]);
        close(up[1]);
        crew->member[i].pid = pid;
        crew->member[i].in = up[0];
        crew->member[i].out = down[1];
        crew->count++;
    }
}

void crew_tell(struct crew *crew, const void *data, size_t size)
{
    for (unsigned i = 0; i < crew->count; i++)
        if (!give(crew->member[i].out, data, size))
            bench_die("worker %u ended too early", i);
}

void crew_hear(struct crew *crew, unsigned member, void *ret, size_t size)
{
    if (!take(crew->member[member].in, ret, size))
        bench_die("worker %u failed", member);
}

void crew_gather(struct crew *crew)
{
    char byte;
    for (unsigned i = 0; i < crew->count; i++)
        crew_hear(crew, i, &byte, 1);
}

void crew_end(struct crew *crew)
{
    for (unsigned i = 0; i < crew->count; i++)
        close(crew->member[i].out);
    for (unsigned i = 0; i < crew->count; i++) {
        int status = 0;
        while (waitpid(crew->member[i].pid, &status, 0) < 0 && errno == EINTR)
            ;
        close(crew->member[i].in);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
            bench_die("worker %u failed", i);
    }
    crew->count = 0;
}

/* ---- the broker ------------------------------------------------------------------------------ */

json_t *stage_ask(const struct stage *stage, json_t *request)
{
    struct swi_error error = {.code = 0};
    json_t *reply;
    int result = ctl_ask_once(stage->socket, request, ASK_TIMEOUT_MS, &reply, &error);
    json_decref(request);
    if (result < 0)
        bench_die("the broker: %s", error.text);
    if (!json_is_true(json_object_get(reply, "ok")))
        bench_die("the broker: %s", json_string_value(json_object_get(reply, "error")));
    return reply;
}

int64_t stage_stat(const struct stage *stage, const char *key)
{
    json_t *stats = stage_ask(stage, json_pack("{s:s}", "verb", "stats"));
    json_t *value = json_object_get(stats, key);
    if (!json_is_integer(value))
        bench_die("the broker's stats have no number %s", key);
    int64_t number = json_integer_value(value);
    json_decref(stats);
    return number;
}

int64_t bench_pss_kb(pid_t pid)
{
    char path[64], line[256];
    (void)snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)pid);
    FILE *file = fopen(path, "re");
    if (!file)
        bench_die("%s: %s", path, strerror(errno));
    long long kilobytes = -1;
    while (kilobytes < 0 && fgets(line, sizeof line, file))
        (void)sscanf(line, "Pss: %lld kB", &kilobytes);
    fclose(file);
    if (kilobytes < 0)
        bench_die("%s has no Pss", path);
    return kilobytes;
}

uint64_t stage_model_bytes(const struct stage *stage)
{
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/chunk_info.json", stage->model_path);
    json_error_t error;
    json_t *manifest = json_load_file(path, 0, &error);
    json_int_t bytes = json_integer_value(json_object_get(manifest, "total_bytes"));
    if (bytes <= 0)
        bench_die("%s: no total_bytes", path);
    json_decref(manifest);
    return (uint64_t)bytes;
}
