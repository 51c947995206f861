/* SPDX-License-Identifier: MIT */
/* Starts the project's programs for the torture test's conductor. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "stress/torture.h"

#define PROGRAM_LIMIT_MS 60000

void torture_pause_ms(uint64_t ms)
{
    nanosleep(
        &(struct timespec){.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000L},
        NULL);
}

/* In a child: executes build/PRESET/NAME. out: a descriptor for its stdout; -1 for /dev/null. */
static void become(const char *const argv[], int out, int err, pid_t parent)
{
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/%s", SW_BUILD_DIR, argv[0]);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || dup2(null, 0) < 0 || dup2(out < 0 ? null : out, 1) < 0 ||
        dup2(err < 0 ? null : err, 2) < 0)
        _exit(126);
    union {
        const char *const *given;
        char *const *wanted;
    } arguments = {.given = argv};
    (void)execv(path, arguments.wanted);
    _exit(127);
}

pid_t torture_start(const char *const argv[], int out, int err)
{
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0)
        become(argv, out, err, parent);
    return pid;
}

int torture_finish(pid_t pid)
{
    int status;
    for (uint64_t end = torture_now_ms() + PROGRAM_LIMIT_MS; torture_now_ms() < end;
         torture_pause_ms(1)) {
        pid_t result = waitpid(pid, &status, WNOHANG);
        if (result == pid)
            return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
        if (result < 0 && errno != EINTR)
            return -1;
    }
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, &status, 0);
    return -1;
}

int torture_run(const char *const argv[], int out, int err)
{
    pid_t pid = torture_start(argv, out, err);
    return pid < 0 ? -1 : torture_finish(pid);
}
