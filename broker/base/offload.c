/* SPDX-License-Identifier: MIT */
/* Work that may block, done by a thread of its own. */
#include "base/offload.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct aside {
    struct aside_task task;
    struct loop *loop;
    struct loop_source
        source; /* its descriptor is the thread's to write to until it has finished */
    pthread_mutex_t lock;
    bool finished, abandoned; /* whoever comes second frees */
};

static void aside_free(struct aside *aside)
{
    (void)close(aside->source.fd);
    (void)pthread_mutex_destroy(&aside->lock);
    free(aside);
}

static void *run(void *argument)
{
    struct aside *aside = argument;
    aside->task.work(aside->task.data);
    (void)pthread_mutex_lock(&aside->lock);
    aside->finished = true;
    bool abandoned = aside->abandoned;
    const uint64_t one = 1;
    if (!abandoned && write(aside->source.fd, &one, sizeof one) < 0)
        abort(); /* an eventfd takes a first 1 */
    (void)pthread_mutex_unlock(&aside->lock);
    if (abandoned) {
        aside->task.dispose(aside->task.data);
        aside_free(aside);
    }
    return NULL;
}

static void finished(struct loop_source *source, uint32_t events)
{
    (void)events;
    struct aside *aside = LOOP_OWNER(source, struct aside, source);
    struct aside_task task = aside->task;
    loop_remove(aside->loop, &aside->source);
    (void)pthread_mutex_lock(&aside->lock); /* the thread has let go of it */
    (void)pthread_mutex_unlock(&aside->lock);
    aside_free(aside);
    task.over(task.owner, task.data);
}

static int start_thread(struct aside *aside)
{
    pthread_attr_t attributes;
    pthread_t thread;
    int code = pthread_attr_init(&attributes);
    if (code != 0)
        return -code;
    (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    code = pthread_create(&thread, &attributes, run, aside);
    (void)pthread_attr_destroy(&attributes);
    return -code;
}

int aside_start(struct loop *loop, const struct aside_task *task, struct aside **ret)
{
    struct aside *aside = calloc(1, sizeof *aside);
    if (!aside)
        return -ENOMEM;
    *aside = (struct aside){.task = *task, .loop = loop, .source = {.ready = finished}};
    aside->source.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (aside->source.fd < 0) {
        int code = -errno;
        free(aside);
        return code;
    }
    (void)pthread_mutex_init(&aside->lock, NULL);
    int result = loop_add(loop, &aside->source, EPOLLIN);
    if (result == 0)
        result = start_thread(aside);
    if (result < 0) {
        loop_remove(loop, &aside->source);
        aside_free(aside);
        return result;
    }
    *ret = aside;
    return 0;
}

void aside_abandon(struct aside *aside)
{
    loop_remove(aside->loop, &aside->source);
    (void)pthread_mutex_lock(&aside->lock);
    aside->abandoned = true;
    bool over = aside->finished;
    (void)pthread_mutex_unlock(&aside->lock);
    if (over) {
        aside->task.dispose(aside->task.data);
        aside_free(aside);
    }
}
