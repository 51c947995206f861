/* SPDX-License-Identifier: MIT */
/* The thread pool's barrier and task counter under load. A plain program, because Criterion aborts
 * under ThreadSanitizer. Each member writes its part, waits at the barrier, and reads all parts; a
 * barrier that opens early gives a wrong sum here and a data race to the sanitizer.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernels/thread_pool.h"

enum { STEPS = 300, RUNS = 20, TASKS = 1000 };

struct work {
    swi_thread_pool *team;
    uint64_t part[SWI_THREAD_POOL_MAX];
    uint8_t done[TASKS]; /* how often each task was claimed */
    unsigned wrong[SWI_THREAD_POOL_MAX];
};

static void run(void *context, unsigned member)
{
    struct work *work = context;
    unsigned size = swi_thread_pool_size(work->team);
    for (uint64_t step = 1; step <= STEPS; step++) {
        work->part[member] = step * (member + 1);
        swi_thread_pool_wait(work->team);
        uint64_t sum = 0;
        for (unsigned i = 0; i < size; i++)
            sum += work->part[i];
        work->wrong[member] += sum != step * size * (size + 1) / 2;
        swi_thread_pool_wait(work->team);
    }
    for (uint32_t task; (task = swi_thread_pool_next(work->team)) < TASKS;)
        work->done[task]++;
    swi_thread_pool_wait(work->team);
    uint32_t first, end;
    swi_thread_pool_share(work->team, member, TASKS, &first, &end);
    for (uint32_t task = first; task < end; task++)
        work->wrong[member] += work->done[task] != 1;
}

static int check(swi_thread_pool *team)
{
    static struct work work;
    for (int i = 0; i < RUNS; i++) {
        memset(&work, 0, sizeof work);
        work.team = team;
        if (swi_thread_pool_run(team, run, &work) < 0) {
            fprintf(stderr, "thread-pool-stress: a run did not start\n");
            return 1;
        }
        for (unsigned member = 0; member < swi_thread_pool_size(team); member++)
            if (work.wrong[member]) {
                fprintf(stderr, "thread-pool-stress: member %u of %u saw %u wrong values\n", member,
                        swi_thread_pool_size(team), work.wrong[member]);
                return 1;
            }
    }
    return 0;
}

/* A forked child has none of the parent's threads and starts its own. */
static int check_child(swi_thread_pool *team)
{
    int status = 1;
    pid_t child = fork();
    if (child == 0) {
        alarm(60);
        int result = check(team);
        swi_thread_pool_destroy(team);
        _exit(result);
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        return 1;
    if (status)
        fprintf(stderr, "thread-pool-stress: the pool of a forked child failed (%d)\n", status);
    return status != 0;
}

int main(int argc, char **argv)
{
    static const unsigned sizes[] = {1, 2, 3, 8};
    bool forking = argc < 2 || strcmp(argv[1], "--no-fork") != 0;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        swi_thread_pool *team = NULL;
        if (swi_thread_pool_create(sizes[i], &team) < 0) {
            fprintf(stderr, "thread-pool-stress: cannot create a pool of %u threads\n", sizes[i]);
            return 1;
        }
        if (check(team) || (forking && check_child(team)) || check(team))
            return 1;
        swi_thread_pool_destroy(team);
    }
    return 0;
}
