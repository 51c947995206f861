/* SPDX-License-Identifier: MIT */
/* Programs run by tests. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "keep.h"
#include "support.h"

#define RUN_TIMEOUT_MS 120000

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void sup_sleep_ms(int ms)
{
    struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
    while (nanosleep(&time, &time) < 0 && errno == EINTR)
        ;
}

bool sup_until(bool (*check)(void *context), void *context, int timeout_ms)
{
    int64_t end = now_ms() + timeout_ms;
    for (;;) {
        if (check(context))
            return true;
        if (now_ms() >= end)
            return false;
        sup_sleep_ms(5);
    }
}

static const char *program_path(const char *name)
{
    return strchr(name, '/') ? name : sup_format("%s/%s", SW_BUILD_DIR, name);
}

/* In the child: does not return. fds become stdin, stdout, stderr. */
static void become(const char *path, const char *const argv[], const int fds[3], pid_t parent)
{
    for (int i = 0; i < 3; i++)
        if (dup2(fds[i], i) < 0)
            _exit(126);
    sigset_t none;
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(126);
    union {
        const char *const *given;
        char *const *wanted;
    } arguments = {.given = argv};
    (void)execv(path, arguments.wanted);
    (void)dprintf(2, "cannot run %s: %s\n", path, strerror(errno));
    _exit(127);
}

static pid_t start(const char *const argv[], const int fds[3])
{
    const char *path = program_path(argv[0]);
    pid_t parent = getpid();
    pid_t pid = fork();
    cr_assert_geq(pid, 0, "fork: %m");
    if (pid == 0)
        become(path, argv, fds, parent);
    return pid;
}

static int open_for(const char *path, int flags)
{
    int fd = open(path ? path : "/dev/null", flags | O_CLOEXEC, 0666);
    cr_assert_geq(fd, 0, "open %s: %m", path ? path : "/dev/null");
    return fd;
}

pid_t sup_spawn(const char *const argv[], const char *out_path, const char *err_path)
{
    int fds[3] = {open_for(NULL, O_RDONLY), open_for(out_path, O_WRONLY | O_CREAT | O_TRUNC),
                  open_for(err_path, O_WRONLY | O_CREAT | O_TRUNC)};
    pid_t pid = start(argv, fds);
    for (int i = 0; i < 3; i++)
        close(fds[i]);
    return pid;
}

int sup_wait(pid_t pid, int timeout_ms)
{
    int64_t end = now_ms() + timeout_ms;
    for (;;) {
        int status;
        pid_t result = waitpid(pid, &status, WNOHANG);
        cr_assert(result >= 0 || errno == EINTR, "waitpid %d: %m", (int)pid);
        if (result == pid)
            return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
        if (now_ms() >= end)
            return -1;
        sup_sleep_ms(2);
    }
}

struct flow {
    char *data;
    size_t size, capacity;
    int fd;
};

static void take(struct flow *flow)
{
    if (flow->capacity - flow->size < 65536) {
        flow->capacity = flow->capacity * 2 + 131072;
        flow->data = realloc(flow->data, flow->capacity);
        cr_assert_not_null(flow->data, "out of memory");
    }
    ssize_t count = read(flow->fd, flow->data + flow->size, flow->capacity - flow->size);
    if (count > 0) {
        flow->size += (size_t)count;
    } else if (count == 0 || errno != EINTR) {
        close(flow->fd);
        flow->fd = -1;
    }
}

static void feed(int *fd, const char *input, size_t size, size_t *done)
{
    ssize_t count = write(*fd, input + *done, size - *done);
    if (count > 0)
        *done += (size_t)count;
    if ((count < 0 && errno != EAGAIN && errno != EINTR) || *done == size) {
        close(*fd); /* a program that stops reading its input is no failure of the test's */
        *fd = -1;
    }
}

static char *keep_flow(struct flow *flow, size_t *ret_size)
{
    char *text = sup_keep(flow->size);
    if (flow->size)
        memcpy(text, flow->data, flow->size);
    free(flow->data);
    *ret_size = flow->size;
    return text;
}

struct sup_result sup_run_input(const char *const argv[], const void *input, size_t input_size)
{
    int in[2], out[2], err[2];
    cr_assert(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0 && pipe2(err, O_CLOEXEC) == 0,
              "pipe: %m");
    (void)signal(SIGPIPE, SIG_IGN);
    pid_t pid = start(argv, (const int[3]){in[0], out[1], err[1]});
    close(in[0]);
    close(out[1]);
    close(err[1]);
    (void)fcntl(in[1], F_SETFL, O_NONBLOCK);
    struct flow outputs[2] = {{.fd = out[0]}, {.fd = err[0]}};
    int in_fd = in[1];
    size_t done = 0;
    if (input_size == 0) {
        close(in_fd);
        in_fd = -1;
    }
    int64_t end = now_ms() + RUN_TIMEOUT_MS;
    while (outputs[0].fd >= 0 || outputs[1].fd >= 0) {
        struct pollfd wait[3] = {{.fd = outputs[0].fd, .events = POLLIN},
                                 {.fd = outputs[1].fd, .events = POLLIN},
                                 {.fd = in_fd, .events = POLLOUT}};
        if (poll(wait, 3, 1000) < 0)
            cr_assert_eq(errno, EINTR, "poll: %m");
        for (int i = 0; i < 2; i++)
            if (outputs[i].fd >= 0 && wait[i].revents)
                take(&outputs[i]);
        if (in_fd >= 0 && wait[2].revents)
            feed(&in_fd, input, input_size, &done);
        cr_assert(now_ms() < end, "%s is still running after %d ms", argv[0], RUN_TIMEOUT_MS);
    }
    if (in_fd >= 0)
        close(in_fd);
    struct sup_result result = {.exit_code = sup_wait(pid, RUN_TIMEOUT_MS)};
    result.out = keep_flow(&outputs[0], &result.out_size);
    result.err = keep_flow(&outputs[1], &result.err_size);
    cr_assert_geq(result.exit_code, 0, "%s does not end", argv[0]);
    return result;
}

struct sup_result sup_run(const char *const argv[])
{
    return sup_run_input(argv, NULL, 0);
}

char *sup_run_ok(const char *const argv[])
{
    struct sup_result result = sup_run(argv);
    cr_assert_eq(result.exit_code, 0, "%s %s: exit %d: %s", argv[0], argv[1] ? argv[1] : "",
                 result.exit_code, result.err);
    return result.out;
}
