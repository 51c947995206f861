/* SPDX-License-Identifier: MIT */
/* Starts a grandchild through a child that the host cannot see.
 *
 *   host ──clone, no exit signal──▶ middle ──posix_spawn──▶ program
 *     └── waits only for middle ───────┘ exits at once: the program is an orphan
 *
 * The middle process shares the host's memory and runs while this thread is suspended, as after
 * vfork. A child without an exit signal raises no SIGCHLD, and wait() without __WCLONE does not
 * return it.
 */
#include "client/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIDDLE_STACK_BYTES (256u << 10)

struct request {
    const char *program;
    const char *const *argv;
    char *const *environment;
    int messages; /* above 2: becomes the program's stderr */
    int result;
};

static int prepare(posix_spawnattr_t *attributes, posix_spawn_file_actions_t *actions, int messages)
{
    sigset_t all, none;
    sigfillset(&all);
    sigemptyset(&none);
    int result = posix_spawnattr_setsigdefault(attributes, &all);
    if (result == 0)
        result = posix_spawnattr_setsigmask(attributes, &none);
    if (result == 0)
        result = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF |
                                                          POSIX_SPAWN_SETSIGMASK);
    if (result == 0)
        result = posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0);
    if (result == 0)
        result = posix_spawn_file_actions_addopen(actions, 1, "/dev/null", O_WRONLY, 0);
    if (result == 0)
        result = posix_spawn_file_actions_adddup2(actions, messages, 2);
    if (result == 0)
        result = posix_spawn_file_actions_addclosefrom_np(actions, 3);
    if (result == 0)
        result = posix_spawn_file_actions_addchdir_np(actions, "/");
    return result;
}

static int spawn(const struct request *request)
{
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_t actions;
    int result = posix_spawnattr_init(&attributes);
    if (result)
        return -result;
    result = posix_spawn_file_actions_init(&actions);
    if (result == 0) {
        result = prepare(&attributes, &actions, request->messages);
        pid_t unused;
        union {
            const char *const *given;
            char *const *wanted;
        } argv = {.given = request->argv};
        if (result == 0)
            result = posix_spawn(&unused, request->program, &actions, &attributes, argv.wanted,
                                 request->environment);
        posix_spawn_file_actions_destroy(&actions);
    }
    posix_spawnattr_destroy(&attributes);
    return -result;
}

static int middle(void *context)
{
    struct request *request = context;
    request->result = spawn(request);
    return 0;
}

/* The host's signal handlers must not run in the middle process, on the host's memory. */
static int run_middle(struct request *request)
{
    char *stack = mmap(NULL, MIDDLE_STACK_BYTES, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED)
        return -errno;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int state;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
    pid_t pid = clone(middle, stack + MIDDLE_STACK_BYTES, CLONE_VM | CLONE_VFORK, request);
    int result = pid < 0 ? -errno : 0;
    while (pid > 0 && waitpid(pid, NULL, (int)__WCLONE) < 0 && errno == EINTR)
        ;
    pthread_setcancelstate(state, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    munmap(stack, MIDDLE_STACK_BYTES);
    return result < 0 ? result : request->result;
}

int swi_spawn_detached(const char *program, const char *const argv[], char *const environment[],
                       int *ret_messages)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    /* In a host without standard streams, the pipe gets low numbers, which the program's streams
     * would overwrite. */
    int messages = fcntl(ends[1], F_DUPFD_CLOEXEC, 3);
    int result = messages < 0 ? -errno : 0;
    close(ends[1]);
    if (result == 0 && fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0)
        result = -errno;
    struct request request = {
        .program = program, .argv = argv, .environment = environment, .messages = messages};
    if (result == 0)
        result = run_middle(&request);
    if (messages >= 0)
        close(messages);
    if (result < 0) {
        close(ends[0]);
        return result;
    }
    *ret_messages = ends[0];
    return 0;
}
