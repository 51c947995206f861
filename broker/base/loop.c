/* SPDX-License-Identifier: MIT */
/* The event loop. The timers are a list sorted by due time: most are armed for a fixed time from
 * now, so the search from the tail ends at once. */
#include "base/loop.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* Few, so that the caller's own work (reads, digests) gets its share under a flood of messages. */
#define EVENTS_A_TURN 32

struct loop {
    int epoll_fd;
    struct epoll_event fetched[EVENTS_A_TURN];
    int fetched_count;
    TAILQ_HEAD(timer_list, loop_timer) timers;
};

uint64_t loop_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * LOOP_NS_PER_S + (uint64_t)now.tv_nsec;
}

int loop_create(struct loop **ret, struct swi_error *error)
{
    struct loop *loop = calloc(1, sizeof *loop);
    if (!loop)
        return swi_fail(error, -ENOMEM, "out of memory for the event loop");
    TAILQ_INIT(&loop->timers);
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd < 0) {
        int code = -errno;
        free(loop);
        return swi_fail(error, code, "cannot create an epoll descriptor: %s", sw_strerror(code));
    }
    *ret = loop;
    return 0;
}

void loop_destroy(struct loop *loop)
{
    if (!loop)
        return;
    assert(TAILQ_EMPTY(&loop->timers) && "timers are disarmed by their owners");
    close(loop->epoll_fd);
    free(loop);
}

int loop_add(struct loop *loop, struct loop_source *source, uint32_t events)
{
    assert(!source->added && source->ready && source->fd >= 0);
    struct epoll_event event = {.events = events, .data.ptr = source};
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, source->fd, &event) < 0)
        return -errno;
    source->events = events;
    source->added = true;
    return 0;
}

void loop_watch(struct loop *loop, struct loop_source *source, uint32_t events)
{
    assert(source->added);
    if (source->events == events)
        return;
    struct epoll_event event = {.events = events, .data.ptr = source};
    int result = epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, source->fd, &event);
    assert(result == 0 && "the descriptor is in the set");
    (void)result;
    source->events = events;
}

void loop_remove(struct loop *loop, struct loop_source *source)
{
    if (!source->added)
        return;
    (void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
    source->added = false;
    for (int i = 0; i < loop->fetched_count; i++)
        if (loop->fetched[i].data.ptr == source)
            loop->fetched[i].data.ptr = NULL;
}

void loop_arm(struct loop *loop, struct loop_timer *timer, uint64_t due_ns)
{
    assert(timer->fire);
    loop_disarm(loop, timer);
    timer->due_ns = due_ns;
    timer->armed = true;
    struct loop_timer *before = TAILQ_LAST(&loop->timers, timer_list);
    while (before && before->due_ns > due_ns)
        before = TAILQ_PREV(before, timer_list, link);
    if (before)
        TAILQ_INSERT_AFTER(&loop->timers, before, timer, link);
    else
        TAILQ_INSERT_HEAD(&loop->timers, timer, link);
}

void loop_disarm(struct loop *loop, struct loop_timer *timer)
{
    if (!timer->armed)
        return;
    TAILQ_REMOVE(&loop->timers, timer, link);
    timer->armed = false;
}

/* The shorter of the caller's timeout and the time to the next timer, in ms, rounded up. */
static int wait_ms(const struct loop *loop, int timeout_ms)
{
    const struct loop_timer *first = TAILQ_FIRST(&loop->timers);
    if (!first || timeout_ms == 0)
        return timeout_ms;
    uint64_t now_ns = loop_now();
    uint64_t rest_ms = first->due_ns <= now_ns
                           ? 0
                           : (first->due_ns - now_ns + LOOP_NS_PER_MS - 1) / LOOP_NS_PER_MS;
    if (timeout_ms >= 0 && (uint64_t)timeout_ms < rest_ms)
        return timeout_ms;
    return rest_ms > 60000 ? 60000 : (int)rest_ms;
}

static void fire_due(struct loop *loop)
{
    uint64_t now_ns = loop_now();
    for (struct loop_timer *timer; (timer = TAILQ_FIRST(&loop->timers));) {
        if (timer->due_ns > now_ns)
            return;
        loop_disarm(loop, timer);
        timer->fire(timer, now_ns); /* may re-arm, but only later than now */
    }
}

void loop_turn(struct loop *loop, int timeout_ms)
{
    int count = epoll_wait(loop->epoll_fd, loop->fetched, EVENTS_A_TURN, wait_ms(loop, timeout_ms));
    loop->fetched_count = count < 0 ? 0 : count; /* the only failure is EINTR: nothing fetched */
    for (int i = 0; i < loop->fetched_count; i++) {
        struct loop_source *source = loop->fetched[i].data.ptr;
        if (source)
            source->ready(source, loop->fetched[i].events);
    }
    loop->fetched_count = 0;
    fire_due(loop);
}
