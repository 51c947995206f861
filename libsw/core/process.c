/* SPDX-License-Identifier: MIT */
/* The fork guard. */
#include "core/process.h"

#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

/* Lock order: all, the listed locks, numbering. swi_process takes only numbering, so it may be
 * called with a listed lock held. */
static pthread_mutex_t all = PTHREAD_MUTEX_INITIALIZER;       /* the list */
static pthread_mutex_t numbering = PTHREAD_MUTEX_INITIALIZER; /* assigning numbers */
static LIST_HEAD(, swi_fork_lock) locks = LIST_HEAD_INITIALIZER(locks);
static uint64_t generation; /* inherited by children, unlike *word */
static _Atomic uint64_t *word;
static int setup_result;

static void before_fork(void)
{
    pthread_mutex_lock(&all);
    struct swi_fork_lock *lock;
    LIST_FOREACH(lock, &locks, link)
    pthread_mutex_lock(&lock->mutex);
    pthread_mutex_lock(&numbering);
}

static void after_fork(void)
{
    pthread_mutex_unlock(&numbering);
    struct swi_fork_lock *lock;
    LIST_FOREACH(lock, &locks, link)
    pthread_mutex_unlock(&lock->mutex);
    pthread_mutex_unlock(&all);
}

static void setup(void)
{
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    void *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
        setup_result = -errno;
        return;
    }
    if (madvise(page, size, MADV_WIPEONFORK) < 0) {
        setup_result = -ENOSYS;
        munmap(page, size);
        return;
    }
    setup_result = -pthread_atfork(before_fork, after_fork, after_fork);
    if (setup_result < 0) {
        munmap(page, size);
        return;
    }
    word = page;
    generation = 1;
    atomic_store_explicit(word, generation, memory_order_relaxed);
}

int swi_fork_lock_init(struct swi_fork_lock *lock)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, setup);
    if (setup_result < 0)
        return setup_result;
    int result = -pthread_mutex_init(&lock->mutex, NULL);
    if (result < 0)
        return result;
    pthread_mutex_lock(&all);
    LIST_INSERT_HEAD(&locks, lock, link);
    pthread_mutex_unlock(&all);
    return 0;
}

void swi_fork_lock_fini(struct swi_fork_lock *lock)
{
    pthread_mutex_lock(&all);
    LIST_REMOVE(lock, link);
    pthread_mutex_unlock(&all);
    pthread_mutex_destroy(&lock->mutex);
}

uint64_t swi_process(void)
{
    uint64_t number = atomic_load_explicit(word, memory_order_relaxed);
    if (number)
        return number;
    pthread_mutex_lock(&numbering);
    number = atomic_load_explicit(word, memory_order_relaxed);
    if (!number) {
        number = ++generation;
        atomic_store_explicit(word, number, memory_order_relaxed);
    }
    pthread_mutex_unlock(&numbering);
    return number;
}

const _Atomic uint64_t *swi_process_word(void)
{
    return word;
}
