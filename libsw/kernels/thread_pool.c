/* SPDX-License-Identifier: MIT */
/* Threads in step: see kernels/thread_pool.h.
 *
 * One barrier does everything. Its counter `arrived` takes each member's arrival; the last one
 * resets it and advances `phase`, which the others watch, first spinning, then in a futex. For a
 * run, the caller stores function and context and meets the others at the barrier; all run; all
 * meet again. Arrivals are acquire-release, so all members see after the barrier what any wrote
 * before it.
 *
 * Spinning members look busy to the scheduler, which may leave two of them on one processor while
 * another is idle, so that each waits for the other. Therefore each member publishes its processor
 * at the start of a run, and moves away if a member with a lower number is on the same one.
 */
#include "kernels/thread_pool.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/* About 100–200 µs: longer than the difference between the members' parts of a step and than the
 * caller's work between two runs of a pass, and about the time to wake a processor of a virtual
 * machine. If there are more members than processors, they do not spin: each would block another.
 */
enum { SPINS = 4000 };

struct member {
    swi_thread_pool *team;
    unsigned number;
    pthread_t thread;
    _Atomic int processor; /* its processor at the latest run: a hint */
};

struct swi_thread_pool {
    unsigned wanted; /* members asked for */
    _Atomic unsigned
        size;       /* members at the barrier; below wanted only while a failed start is undone */
    unsigned spins; /* looks at the phase before sleeping */
    pid_t owner;    /* process of the threads; 0: none are started */
    void (*function)(void *, unsigned);
    void *context; /* NULL function: the members exit */
    _Alignas(64) _Atomic uint32_t arrived;
    _Alignas(64) _Atomic uint32_t phase;
    _Atomic uint32_t sleepers;
    _Alignas(64) _Atomic uint32_t next;
    struct member members[SWI_THREAD_POOL_MAX];
};

static void futex(_Atomic uint32_t *word, int operation, uint32_t value)
{
    (void)syscall(SYS_futex, word, operation | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0);
}

static void pause_briefly(void)
{
#ifdef __x86_64__
    __builtin_ia32_pause();
#else
    atomic_signal_fence(memory_order_seq_cst);
#endif
}

static void meet(swi_thread_pool *team, unsigned spins)
{
    if (team->wanted == 1) {
        atomic_store_explicit(&team->next, 0, memory_order_relaxed);
        return;
    }
    uint32_t phase = atomic_load_explicit(&team->phase, memory_order_relaxed);
    uint32_t arrived = atomic_fetch_add_explicit(&team->arrived, 1, memory_order_acq_rel) + 1;
    if (arrived == atomic_load_explicit(&team->size, memory_order_relaxed)) {
        atomic_store_explicit(&team->arrived, 0, memory_order_relaxed);
        atomic_store_explicit(&team->next, 0, memory_order_relaxed);
        /* seq_cst with the sleepers' count: either we see the sleeper or it sees the new phase */
        atomic_store_explicit(&team->phase, phase + 1, memory_order_seq_cst);
        if (atomic_load_explicit(&team->sleepers, memory_order_seq_cst))
            futex(&team->phase, FUTEX_WAKE, INT_MAX);
        return;
    }
    for (unsigned i = 0; i < spins; i++) {
        if (atomic_load_explicit(&team->phase, memory_order_acquire) != phase)
            return;
        pause_briefly();
    }
    atomic_fetch_add_explicit(&team->sleepers, 1, memory_order_seq_cst);
    while (atomic_load_explicit(&team->phase, memory_order_seq_cst) == phase)
        futex(&team->phase, FUTEX_WAIT, phase);
    atomic_fetch_sub_explicit(&team->sleepers, 1, memory_order_relaxed);
}

/* Moves to another processor, if allowed. The affinity mask is unchanged afterwards. */
static void move_away(int processor)
{
    cpu_set_t allowed, others;
    if (sched_getaffinity(0, sizeof allowed, &allowed) < 0 || CPU_COUNT(&allowed) < 2)
        return;
    others = allowed;
    CPU_CLR((size_t)processor, &others);
    if (CPU_COUNT(&others) > 0 && sched_setaffinity(0, sizeof others, &others) == 0)
        (void)sched_setaffinity(0, sizeof allowed, &allowed);
}

/* Publishes the member's processor; no two members should share one. */
static void take_place(swi_thread_pool *team, unsigned number)
{
    int processor = sched_getcpu();
    if (team->spins == 0 || processor < 0 || processor >= CPU_SETSIZE)
        return;
    for (unsigned i = 0; i < number; i++) {
        if (atomic_load_explicit(&team->members[i].processor, memory_order_relaxed) != processor)
            continue;
        move_away(processor);
        processor = sched_getcpu();
        break;
    }
    atomic_store_explicit(&team->members[number].processor, processor, memory_order_relaxed);
}

static void *member_main(void *argument)
{
    struct member *member = argument;
    swi_thread_pool *team = member->team;
    for (;;) {
        /* the next run of a pass comes within microseconds, and waking a sleeper costs more than
         * that */
        meet(team, team->spins);
        if (!team->function)
            return NULL;
        take_place(team, member->number);
        team->function(team->context, member->number);
        meet(team, team->spins);
    }
}

static void dismiss(swi_thread_pool *team, unsigned members)
{
    team->function = NULL;
    atomic_store_explicit(&team->size, members, memory_order_relaxed);
    meet(team, 0);
    for (unsigned i = 1; i < members; i++)
        (void)pthread_join(team->members[i].thread, NULL);
}

static unsigned processors(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

/* On failure no thread is left, and the pool may be started again. */
static int start(swi_thread_pool *team)
{
    atomic_store(&team->arrived, 0);
    atomic_store(&team->sleepers, 0);
    atomic_store(&team->size, team->wanted);
    team->owner = getpid();
    atomic_store(&team->members[0].processor, -1);
    for (unsigned i = 1; i < team->wanted; i++) {
        atomic_store(&team->members[i].processor, -1);
        team->members[i].team = team;
        team->members[i].number = i;
        if (pthread_create(&team->members[i].thread, NULL, member_main, &team->members[i])) {
            dismiss(team, i);
            team->owner = 0;
            return -EAGAIN;
        }
    }
    return 0;
}

int swi_thread_pool_create(unsigned threads, swi_thread_pool **ret_team)
{
    swi_thread_pool *team = NULL;
    if (threads < 1 || threads > SWI_THREAD_POOL_MAX)
        return -EINVAL;
    team = aligned_alloc(64, sizeof *team);
    if (!team)
        return -ENOMEM;
    atomic_init(&team->phase, 0);
    atomic_init(&team->next, 0);
    team->wanted = threads;
    team->spins = threads <= processors() ? SPINS : 0;
    int r = start(team);
    if (r < 0) {
        free(team);
        return r;
    }
    *ret_team = team;
    return 0;
}

void swi_thread_pool_destroy(swi_thread_pool *team)
{
    if (!team)
        return;
    if (team->owner == getpid())
        dismiss(team, team->wanted);
    free(team);
}

unsigned swi_thread_pool_size(const swi_thread_pool *team)
{
    return team->wanted;
}

int swi_thread_pool_run(swi_thread_pool *team, void (*function)(void *context, unsigned member),
                        void *context)
{
    if (team->wanted > 1 && team->owner != getpid()) {
        int r = start(team);
        if (r < 0)
            return r;
    }
    team->function = function;
    team->context = context;
    if (team->wanted > 1)
        take_place(team, 0);
    meet(team, team->spins);
    function(context, 0);
    meet(team, team->spins);
    return 0;
}

void swi_thread_pool_wait(swi_thread_pool *team)
{
    meet(team, team->spins);
}

uint32_t swi_thread_pool_next(swi_thread_pool *team)
{
    return atomic_fetch_add_explicit(&team->next, 1, memory_order_relaxed);
}

void swi_thread_pool_share(const swi_thread_pool *team, unsigned member, uint32_t count,
                           uint32_t *first, uint32_t *end)
{
    *first = (uint32_t)((uint64_t)count * member / team->wanted);
    *end = (uint32_t)((uint64_t)count * (member + 1) / team->wanted);
}
