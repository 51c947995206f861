/* SPDX-License-Identifier: MIT */
/* The loader's engine for machines where io_uring is forbidden: a few threads that call pread.
 *
 * One mutex protects everything that they share with the loop. An eventfd tells the loop about
 * completions.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "loader/engine.h"

#define THREADS 4u

struct pool {
    pthread_mutex_t lock;
    pthread_cond_t work;     /* waiting is not empty, or stopping */
    pthread_cond_t finished; /* completed is not empty */
    struct loader_reads waiting, completed;
    bool stopping;
    int event;
    unsigned threads;
    pthread_t thread[THREADS];
};

static void *serve(void *argument)
{
    struct pool *pool = argument;
    (void)pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (STAILQ_EMPTY(&pool->waiting) && !pool->stopping)
            (void)pthread_cond_wait(&pool->work, &pool->lock);
        struct loader_read *read = STAILQ_FIRST(&pool->waiting);
        if (!read)
            break;
        STAILQ_REMOVE_HEAD(&pool->waiting, link);
        (void)pthread_mutex_unlock(&pool->lock);
        ssize_t result = pread(read->fd, read->buffer, read->length, (off_t)read->offset);
        read->result = result < 0 ? -errno : result;
        (void)pthread_mutex_lock(&pool->lock);
        STAILQ_INSERT_TAIL(&pool->completed, read, link);
        (void)pthread_cond_signal(&pool->finished);
        (void)eventfd_write(pool->event, 1);
    }
    (void)pthread_mutex_unlock(&pool->lock);
    return NULL;
}

static void pool_destroy(void *engine)
{
    struct pool *pool = engine;
    (void)pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    (void)pthread_cond_broadcast(&pool->work);
    (void)pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->threads; i++)
        (void)pthread_join(pool->thread[i], NULL);
    (void)close(pool->event);
    (void)pthread_cond_destroy(&pool->finished);
    (void)pthread_cond_destroy(&pool->work);
    (void)pthread_mutex_destroy(&pool->lock);
    free(pool);
}

static int pool_create(unsigned depth, void **ret, struct swi_error *error)
{
    (void)depth;
    struct pool *pool = calloc(1, sizeof *pool);
    if (!pool)
        return swi_fail(error, -ENOMEM, "out of memory");
    pool->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (pool->event < 0) {
        int code = -errno;
        free(pool);
        return swi_fail(error, code, "cannot create an eventfd: %s", strerror(-code));
    }
    STAILQ_INIT(&pool->waiting);
    STAILQ_INIT(&pool->completed);
    (void)pthread_mutex_init(&pool->lock, NULL);
    (void)pthread_cond_init(&pool->work, NULL);
    (void)pthread_cond_init(&pool->finished, NULL);
    /* leave all signals to the loop */
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int result = 0;
    while (pool->threads < THREADS && result == 0) {
        result = pthread_create(&pool->thread[pool->threads], NULL, serve, pool);
        pool->threads += result == 0;
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (pool->threads == 0) {
        pool_destroy(pool);
        return swi_fail(error, -result, "cannot start the reading threads: %s", strerror(result));
    }
    *ret = pool;
    return 0;
}

static int pool_poll_fd(void *engine)
{
    struct pool *pool = engine;
    return pool->event;
}

static void pool_submit(void *engine, struct loader_read *read)
{
    struct pool *pool = engine;
    (void)pthread_mutex_lock(&pool->lock);
    STAILQ_INSERT_TAIL(&pool->waiting, read, link);
    (void)pthread_cond_signal(&pool->work);
    (void)pthread_mutex_unlock(&pool->lock);
}

static bool pool_flush(void *engine)
{
    (void)engine; /* submit has started the read */
    return false;
}

static void pool_reap(void *engine, struct loader_reads *completed, bool wait)
{
    struct pool *pool = engine;
    eventfd_t count;
    (void)pthread_mutex_lock(&pool->lock);
    (void)eventfd_read(pool->event, &count);
    while (wait && STAILQ_EMPTY(&pool->completed))
        (void)pthread_cond_wait(&pool->finished, &pool->lock);
    STAILQ_CONCAT(completed, &pool->completed);
    (void)pthread_mutex_unlock(&pool->lock);
}

const struct loader_engine_ops loader_threads_ops = {
    .name = "threads",
    .create = pool_create,
    .destroy = pool_destroy,
    .poll_fd = pool_poll_fd,
    .submit = pool_submit,
    .flush = pool_flush,
    .reap = pool_reap,
};
