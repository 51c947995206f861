/* SPDX-License-Identifier: MIT */
/* A broker under a service manager. */
#include "managed.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/socket.h"
#include "keep.h"

#define ARGS_MAX 64

static pid_t spawn_manager(const char *const argv[], int control, const char *log)
{
    const char *path = sup_format("%s/sw-manager", SW_BUILD_DIR);
    pid_t parent = getpid();
    pid_t pid = fork();
    cr_assert_geq(pid, 0, "fork: %m");
    if (pid > 0)
        return pid;
    int messages = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || dup2(control, 0) < 0 || dup2(control, 1) < 0 ||
        dup2(messages, 2) < 0)
        _exit(126);
    union {
        const char *const *given;
        char *const *wanted;
    } arguments = {.given = argv};
    (void)execv(path, arguments.wanted);
    _exit(127);
}

static const char *program = "swbrokerd";

void managed_program(const char *name)
{
    program = name;
}

struct managed managed_prepare(const char *chunks_dir, const char *cache_size, unsigned max,
                               bool activated, const char *const extra[])
{
    static int started;
    struct managed managed = {.broker = {.socket = sup_path("managed%d.sock", started),
                                         .log = sup_path("managed%d.log", started)}};
    started++;
    const char *argv[ARGS_MAX] = {"sw-manager", "--max", sup_format("%u", max), "--log",
                                  managed.broker.log};
    size_t count = 5;
    if (activated) {
        argv[count++] = "--listen";
        argv[count++] = managed.broker.socket;
    }
    argv[count++] = strchr(program, '/') ? program : sup_format("%s/%s", SW_BUILD_DIR, program);
    const char *const own[] = {"--cache-size",        cache_size,     "--socket",
                               managed.broker.socket, "--chunks-dir", chunks_dir};
    size_t own_count = sizeof own / sizeof own[0] - (chunks_dir ? 0 : 2);
    for (size_t i = 0; i < own_count; i++)
        argv[count++] = own[i];
    const char *engine = getenv("SW_TEST_IO_ENGINE");
    if (engine) {
        argv[count++] = "--io-engine";
        argv[count++] = engine;
    }
    for (size_t i = 0; extra && extra[i]; i++) {
        cr_assert_lt(count, ARGS_MAX - 1);
        argv[count++] = extra[i];
    }
    int ends[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0, "socketpair: %m");
    managed.manager = spawn_manager(argv, ends[1], managed.broker.log);
    close(ends[1]);
    managed.control = ends[0];
    cr_assert_eq(setenv("SW_SOCKET", managed.broker.socket, 1), 0);
    return managed;
}

struct managed managed_start(const char *chunks_dir, const char *cache_size, unsigned max,
                             bool activated, const char *const extra[])
{
    struct managed managed = managed_prepare(chunks_dir, cache_size, max, activated, extra);
    managed_begin(&managed);
    return managed;
}

/* Sends one line; returns what follows "ok" in the answer. */
static const char *ask(struct managed *managed, const char *line, const int *send_fds,
                       size_t send_count, int *fds, size_t *ret_count)
{
    static char text[65536];
    size_t count = 0;
    cr_assert_eq(swi_socket_send(managed->control, line, strlen(line), send_fds, send_count), 0,
                 "the manager takes nothing: %m");
    ssize_t length = swi_socket_receive(managed->control, text, sizeof text - 1, fds, &count);
    cr_assert_gt(length, 0, "the manager has gone: %s", sup_read(managed->broker.log, NULL));
    text[length] = 0;
    text[strcspn(text, "\n")] = 0;
    cr_assert_eq(strncmp(text, "ok", 2), 0, "%s: %s\n%s", line, text,
                 sup_read(managed->broker.log, NULL));
    if (ret_count)
        *ret_count = count;
    return sup_format("%s", text[2] ? text + 3 : "");
}

const char *managed_tell(struct managed *managed, const char *format, ...)
{
    char line[400];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    return ask(managed, line, NULL, 0, NULL, NULL);
}

static void started(struct managed *managed, int fields, int wanted, int pid)
{
    cr_assert_eq(fields, wanted, "the manager's answer has %d fields", fields);
    managed->broker.pid = pid;
}

void managed_begin(struct managed *managed)
{
    int pid;
    int fields = sscanf(managed_tell(managed, "start"), "%d %lf", &pid, &managed->ready_ms);
    started(managed, fields, 2, pid);
}

void managed_restart(struct managed *managed)
{
    int pid;
    int fields = sscanf(managed_tell(managed, "restart"), "%d %lf %lf", &pid, &managed->exit_ms,
                        &managed->ready_ms);
    started(managed, fields, 3, pid);
}

void managed_crash(struct managed *managed)
{
    int pid;
    int fields = sscanf(managed_tell(managed, "crash"), "%d %lf", &pid, &managed->ready_ms);
    started(managed, fields, 2, pid);
}

int managed_stop(struct managed *managed)
{
    int code;
    cr_assert_eq(sscanf(managed_tell(managed, "stop"), "%d %lf", &code, &managed->exit_ms), 2);
    managed->broker.pid = 0;
    return code;
}

void managed_kill(struct managed *managed)
{
    (void)managed_tell(managed, "kill");
    managed->broker.pid = 0;
}

void managed_end(struct managed *managed)
{
    if (managed->broker.pid)
        cr_assert_eq(managed_stop(managed), 0, "%s", sup_read(managed->broker.log, NULL));
    close(managed->control);
    cr_assert_eq(sup_wait(managed->manager, 20000), 0);
}

size_t managed_take(struct managed *managed, const char *name, int fds[static 8])
{
    size_t count;
    (void)ask(managed, sup_format("give %s", name), NULL, 0, fds, &count);
    return count;
}

void managed_put(struct managed *managed, const char *name, int fd)
{
    (void)ask(managed, sup_format("put %s", name), &fd, 1, NULL, NULL);
}

static size_t walk(struct managed *managed, const char *prefix, const char **ret_first)
{
    char *rest = strdup(managed_tell(managed, "list"));
    char *text = rest;
    size_t count = 0;
    for (char *word; (word = strsep(&rest, " "));) {
        if (!*word || strncmp(word, prefix, strlen(prefix)) != 0)
            continue;
        if (count++ == 0 && ret_first)
            *ret_first = sup_format("%s", word);
    }
    free(text);
    return count;
}

size_t managed_count(struct managed *managed, const char *prefix)
{
    return walk(managed, prefix, NULL);
}

const char *managed_name(struct managed *managed, const char *prefix)
{
    const char *name = NULL;
    (void)walk(managed, prefix, &name);
    cr_assert_not_null(name, "nothing is stored as %s…", prefix);
    return name;
}
