/* SPDX-License-Identifier: MIT */
/* Blocking work in a separate thread. */
#include "base/offload.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct offload {
    struct offload_task task;
    struct loop *loop;
    struct loop_source source; /* the thread writes to its descriptor until it has finished */
    pthread_mutex_t lock;
    bool finished, abandoned; /* the side that comes second frees the struct */
};

static void offload_free(struct offload *offload)
{
    (void)close(offload->source.fd);
    (void)pthread_mutex_destroy(&offload->lock);
    free(offload);
}

static void *run(void *argument)
{
    struct offload *offload = argument;
    offload->task.work(offload->task.data);
    (void)pthread_mutex_lock(&offload->lock);
    offload->finished = true;
    bool abandoned = offload->abandoned;
    const uint64_t one = 1;
    if (!abandoned && write(offload->source.fd, &one, sizeof one) < 0)
        abort(); /* an eventfd takes a first 1 */
    (void)pthread_mutex_unlock(&offload->lock);
    if (abandoned) {
        offload->task.dispose(offload->task.data);
        offload_free(offload);
    }
    return NULL;
}

static void finished(struct loop_source *source, uint32_t events)
{
    (void)events;
    struct offload *offload = LOOP_OWNER(source, struct offload, source);
    struct offload_task task = offload->task;
    loop_remove(offload->loop, &offload->source);
    (void)pthread_mutex_lock(&offload->lock); /* until the thread has unlocked it */
    (void)pthread_mutex_unlock(&offload->lock);
    offload_free(offload);
    task.over(task.owner, task.data);
}

static int start_thread(struct offload *offload)
{
    pthread_attr_t attributes;
    pthread_t thread;
    int code = pthread_attr_init(&attributes);
    if (code != 0)
        return -code;
    (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    code = pthread_create(&thread, &attributes, run, offload);
    (void)pthread_attr_destroy(&attributes);
    return -code;
}

int offload_start(struct loop *loop, const struct offload_task *task, struct offload **ret)
{
    struct offload *offload = calloc(1, sizeof *offload);
    if (!offload)
        return -ENOMEM;
    *offload = (struct offload){.task = *task, .loop = loop, .source = {.ready = finished}};
    offload->source.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (offload->source.fd < 0) {
        int code = -errno;
        free(offload);
        return code;
    }
    (void)pthread_mutex_init(&offload->lock, NULL);
    int result = loop_add(loop, &offload->source, EPOLLIN);
    if (result == 0)
        result = start_thread(offload);
    if (result < 0) {
        loop_remove(loop, &offload->source);
        offload_free(offload);
        return result;
    }
    *ret = offload;
    return 0;
}

void offload_abandon(struct offload *offload)
{
    loop_remove(offload->loop, &offload->source);
    (void)pthread_mutex_lock(&offload->lock);
    offload->abandoned = true;
    bool over = offload->finished;
    (void)pthread_mutex_unlock(&offload->lock);
    if (over) {
        offload->task.dispose(offload->task.data);
        offload_free(offload);
    }
}
