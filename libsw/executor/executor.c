/* SPDX-License-Identifier: MIT */
/* How a request flows.
 *
 *   (submitter) ──submit──▶ QUEUED ──a thread takes it──▶ RUNNING ──run returns──▶ DONE ──collected──▶ freed
 *                           in its lane                   lane->running             ▲
 *                              │                             │                      │
 *                              └─────────────────────────────┴──────────────────────┘
 *                           cancelled, expired, lane closed, executor destroyed; a running task
 *                           is told so by a word that it reads, and returns
 *
 * Ownership. From submission to collection, the executor owns the task and the caller's memory that
 * it points to. Only the thread of a running task touches that memory, so a task that goes from
 * QUEUED to DONE has not touched it and will not. A task is in exactly one place: its lane's queue,
 * lane->running, or the list of done tasks. Its slot (the low bits of its id) stays taken until it
 * is collected, so callers that never collect are refused instead of piling up tasks.
 *
 * Threads. Submitting, collecting and cancelling run in the caller's threads: they hold the lock
 * for a few list operations and never wait. Executor threads hold it to take a task and to put it
 * away, never while one runs. Lanes with work take turns, so one model's queue does not starve
 * another's. A new thread starts when a task arrives and none is idle, up to the configured number.
 *
 * Wake-ups. The caller polls an epoll descriptor over two others: an eventfd, written after tasks
 * are done and read when a collector finds none left; and a timerfd, set to the earliest deadline
 * of a queued task. A task that expires in the queue is therefore reported on time even while every
 * thread is busy: the collector finds and ends it. A running task checks its own deadline. Writes
 * that wake a thread happen after the lock is released: a thread that is scheduled in place of the
 * one that woke it must not find the lock taken. A late write makes the descriptor readable once
 * without a completion; the next collector clears it.
 *
 * Closing. Closing a lane ends its queue with -ECANCELED, tells its running task to stop and waits
 * for it; nothing in the library then points into the handle. Destroying the executor does the same
 * for all lanes, joins the threads and closes the descriptors. The struct lives until the last lane
 * lets go of it, so lanes may close before or after. A child after fork has no threads and must not
 * touch the shared descriptors: it drops all tasks (they go on in the parent) and makes its own.
 */
#include "executor/executor.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "core/deadline.h"
#include "core/process.h"
#include "core/sized.h"

struct sw_executor {
    struct swi_fork_lock lock;

    /* immutable */
    uint32_t threads_wanted, capacity;

    /* under the lock */
    uint64_t process;
    pthread_cond_t work;  /* a lane is ready, or the executor stops */
    pthread_cond_t ended; /* a task has stopped running */
    LIST_HEAD(, swi_lane) lanes;
    TAILQ_HEAD(, swi_lane) ready;
    TAILQ_HEAD(, swi_task) done;
    struct swi_task **slots; /* [capacity]; NULL: free */
    uint32_t *free_slots;    /* [free_count] */
    uint32_t free_count;
    uint32_t serial; /* the high half of the next id; never 0 */
    int poll_fd, event_fd, timer_fd;
    uint64_t timer_ns; /* the setting of timer_fd; SWI_FOREVER: off */
    pthread_t threads[SWI_EXECUTOR_THREADS_MAX];
    uint32_t started, idle;
    uint32_t references; /* the caller's and one per lane */
    bool stopping;
    uint32_t queued, running, ready_lanes;
    struct sw_executor_stats counts; /* the totals only */
};

static void lock(sw_executor *executor)
{
    pthread_mutex_lock(&executor->lock.mutex);
}

static void unlock(sw_executor *executor)
{
    pthread_mutex_unlock(&executor->lock.mutex);
}

/* ---- descriptors ----------------------------------------------------------------------------- */

static void close_descriptors(sw_executor *executor)
{
    int *const all[] = {&executor->poll_fd, &executor->event_fd, &executor->timer_fd};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (*all[i] >= 0)
            close(*all[i]);
        *all[i] = -1;
    }
}

static int open_descriptors(sw_executor *executor)
{
    struct epoll_event event = {.events = EPOLLIN};
    executor->timer_ns = SWI_FOREVER;
    executor->poll_fd = epoll_create1(EPOLL_CLOEXEC);
    executor->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    executor->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (executor->poll_fd >= 0 && executor->event_fd >= 0 && executor->timer_fd >= 0 &&
        epoll_ctl(executor->poll_fd, EPOLL_CTL_ADD, executor->event_fd, &event) == 0 &&
        epoll_ctl(executor->poll_fd, EPOLL_CTL_ADD, executor->timer_fd, &event) == 0)
        return 0;
    int result = -errno;
    close_descriptors(executor);
    return result;
}

/* Sets the timer; this also clears an unread expiry. */
static void set_timer(sw_executor *executor, uint64_t at_ns)
{
    struct itimerspec when = {{0}, {0}};
    if (at_ns != SWI_FOREVER) {
        when.it_value.tv_sec = (time_t)(at_ns / 1000000000u);
        when.it_value.tv_nsec = (long)(at_ns % 1000000000u);
    }
    int result = timerfd_settime(executor->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
    assert(result == 0 && "a descriptor of the executor was closed elsewhere");
    executor->timer_ns = at_ns;
}

/* ---- tasks: all with the lock held ----------------------------------------------------------- */

/* code 0: the task's error tells how it ended. The caller announces it. */
static void put_done(sw_executor *executor, struct swi_task *task, int code, const char *text)
{
    if (code)
        (void)swi_fail(&task->error, code, "%s", text);
    task->ended_ns = swi_now();
    task->lane = NULL;
    struct sw_executor_stats *counts = &executor->counts;
    switch (task->error.code) {
    case 0:
        counts->succeeded++;
        break;
    case -ECANCELED:
        counts->cancelled++;
        break;
    case -ETIMEDOUT:
        counts->timed_out++;
        break;
    default:
        counts->failed++;
    }
    TAILQ_INSERT_TAIL(&executor->done, task, link);
}

/* Makes the descriptor readable. Preferably without the lock. */
static void announce(sw_executor *executor)
{
    (void)eventfd_write(executor->event_fd, 1);
}

static void set_ready(sw_executor *executor, struct swi_lane *lane)
{
    TAILQ_INSERT_TAIL(&executor->ready, lane, ready);
    executor->ready_lanes++;
}

static void clear_ready(sw_executor *executor, struct swi_lane *lane)
{
    TAILQ_REMOVE(&executor->ready, lane, ready);
    executor->ready_lanes--;
}

static void take_from_queue(sw_executor *executor, struct swi_task *task)
{
    struct swi_lane *lane = task->lane;
    TAILQ_REMOVE(&lane->queue, task, link);
    executor->queued--;
    if (TAILQ_EMPTY(&lane->queue) && !lane->running)
        clear_ready(executor, lane);
}

/* Ends a lane's queued tasks, and tells its running task to stop. */
static void cancel_lane(sw_executor *executor, struct swi_lane *lane, const char *why)
{
    struct swi_task *task;
    while ((task = TAILQ_FIRST(&lane->queue))) {
        take_from_queue(executor, task);
        put_done(executor, task, -ECANCELED, why);
        announce(executor);
    }
    if (lane->running)
        __atomic_store_n(&lane->running->cancelled, 1, __ATOMIC_RELAXED);
}

/* Ends queued tasks whose deadline has passed, and sets the timer to the next deadline. */
static void expire(sw_executor *executor, uint64_t now)
{
    uint64_t next = SWI_FOREVER;
    struct swi_lane *lane;
    LIST_FOREACH(lane, &executor->lanes, link)
    {
        struct swi_task *task, *after;
        for (task = TAILQ_FIRST(&lane->queue); task; task = after) {
            after = TAILQ_NEXT(task, link);
            if (task->deadline_ns <= now) {
                take_from_queue(executor, task);
                put_done(executor, task, -ETIMEDOUT,
                         "the deadline passed while the request was queued");
                announce(executor);
            } else if (task->deadline_ns < next) {
                next = task->deadline_ns;
            }
        }
    }
    set_timer(executor, next);
}

/* ---- fork ------------------------------------------------------------------------------------ */

/* With the lock held. In a child: drops the parent's state. Errors: those of creating descriptors.
 */
static int adopt(sw_executor *executor)
{
    if (executor->process == swi_process())
        return executor->poll_fd >= 0 || executor->stopping ? 0 : open_descriptors(executor);
    executor->process = swi_process();
    for (uint32_t i = 0; i < executor->capacity; i++) {
        free(executor->slots[i]);
        executor->slots[i] = NULL;
        executor->free_slots[i] = i;
    }
    executor->free_count = executor->capacity;
    struct swi_lane *lane;
    LIST_FOREACH(lane, &executor->lanes, link)
    {
        TAILQ_INIT(&lane->queue);
        lane->running = NULL;
    }
    TAILQ_INIT(&executor->ready);
    TAILQ_INIT(&executor->done);
    executor->started = executor->idle = 0;
    executor->queued = executor->running = executor->ready_lanes = 0;
    executor->counts = (struct sw_executor_stats){0};
    (void)swi_condition_init(&executor->work); /* anew: nobody waits on them in this process */
    (void)swi_condition_init(&executor->ended);
    close_descriptors(executor);
    return executor->stopping ? 0 : open_descriptors(executor);
}

/* ---- threads --------------------------------------------------------------------------------- */

/* With the lock held, released while the task runs. */
static void run_next(sw_executor *executor)
{
    struct swi_lane *lane = TAILQ_FIRST(&executor->ready);
    struct swi_task *task = TAILQ_FIRST(&lane->queue);
    clear_ready(executor, lane);
    TAILQ_REMOVE(&lane->queue, task, link);
    lane->running = task;
    executor->queued--;
    executor->running++;
    task->started_ns = swi_now();
    unlock(executor);
    if (task->started_ns >= task->deadline_ns)
        (void)swi_fail(&task->error, -ETIMEDOUT, "its deadline passed before it began");
    else
        task->error.code = task->run(task, &task->error);
    lock(executor);
    executor->running--;
    lane->running = NULL;
    if (!TAILQ_EMPTY(&lane->queue))
        set_ready(executor, lane);
    put_done(executor, task, 0, NULL);
    pthread_cond_broadcast(&executor->ended);
    unlock(executor);
    announce(executor);
    lock(executor);
}

static void *thread_main(void *argument)
{
    sw_executor *executor = argument;
    /* A pass is in no hurry to begin: as a batch thread this one does not take the processor from
     * the event loop whose submission wakes it. Where that is refused, it does. */
    const struct sched_param none = {0};
    (void)sched_setscheduler(0, SCHED_BATCH, &none);
    lock(executor);
    while (!executor->stopping) {
        if (!TAILQ_EMPTY(&executor->ready)) {
            run_next(executor);
            continue;
        }
        executor->idle++;
        pthread_cond_wait(&executor->work, &executor->lock.mutex);
        executor->idle--;
    }
    unlock(executor);
    return NULL;
}

/* With the lock held. Signals are for the program's own threads. */
static int start_thread(sw_executor *executor)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_t *thread = &executor->threads[executor->started];
    int result = pthread_create(thread, NULL, thread_main, executor);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (result)
        return -EAGAIN;
    (void)pthread_setname_np(*thread, "sw-executor");
    executor->started++;
    return 0;
}

/* ---- lanes ----------------------------------------------------------------------------------- */

void swi_lane_open(struct swi_lane *lane, sw_executor *executor)
{
    *lane = (struct swi_lane){.executor = executor};
    TAILQ_INIT(&lane->queue);
    if (!executor)
        return;
    lock(executor);
    executor->references++;
    LIST_INSERT_HEAD(&executor->lanes, lane, link);
    unlock(executor);
}

/* With the lock held, which it gives up. */
static void drop_reference(sw_executor *executor)
{
    bool last = --executor->references == 0;
    unlock(executor);
    if (!last)
        return;
    swi_fork_lock_fini(&executor->lock);
    pthread_cond_destroy(&executor->work);
    pthread_cond_destroy(&executor->ended);
    free(executor->slots);
    free(executor->free_slots);
    free(executor);
}

void swi_lane_close(struct swi_lane *lane)
{
    sw_executor *executor = lane->executor;
    if (!executor)
        return;
    lock(executor);
    (void)adopt(executor); /* without descriptors there is nothing to cancel either */
    cancel_lane(executor, lane, "its handle was closed");
    while (lane->running)
        pthread_cond_wait(&executor->ended, &executor->lock.mutex);
    LIST_REMOVE(lane, link);
    lane->executor = NULL;
    drop_reference(executor);
}

static bool is_free(const struct swi_lane *lane)
{
    return TAILQ_EMPTY(&lane->queue) && !lane->running;
}

/* With the lock held: somebody to run one more ready lane. */
static int ensure_thread(sw_executor *executor, struct swi_error *error)
{
    if (executor->idle > executor->ready_lanes || executor->started == executor->threads_wanted)
        return 0;
    int result = start_thread(executor);
    if (result < 0 && executor->started > 0)
        return 0; /* fewer will do */
    return result < 0 ? swi_fail(error, result, "cannot start a thread to run requests on") : 0;
}

/* With the lock held: a number and a place for the task. */
static void enter(struct swi_lane *lane, struct swi_task *task)
{
    sw_executor *executor = lane->executor;
    uint32_t slot = executor->free_slots[--executor->free_count];
    executor->slots[slot] = task;
    task->id = (uint64_t)executor->serial << 32 | slot;
    if (++executor->serial == 0)
        executor->serial = 1;
    task->lane = lane;
    task->submitted_ns = swi_now();
    executor->queued++;
    executor->counts.submitted++;
    if (is_free(lane))
        set_ready(executor, lane);
    TAILQ_INSERT_TAIL(&lane->queue, task, link);
    if (task->deadline_ns < executor->timer_ns)
        set_timer(executor, task->deadline_ns);
}

int swi_lane_submit(struct swi_lane *lane, struct swi_task *task, uint64_t *ret_id,
                    struct swi_error *error)
{
    sw_executor *executor = lane->executor;
    if (!executor)
        return swi_fail(error, -EINVAL,
                        "this handle was opened without an executor: set options.executor");
    lock(executor);
    int result = adopt(executor);
    if (result < 0) {
        (void)swi_fail(error, result,
                       "cannot create the executor's descriptors in this child process: %s",
                       sw_strerror(result));
    } else if (executor->stopping) {
        result = swi_fail(error, -ESHUTDOWN, "the handle's executor has been destroyed");
    } else if (executor->free_count == 0) {
        executor->counts.refused++;
        result = swi_fail(
            error, SW_EFULL,
            "%u requests are in flight, the executor's limit; collect some, or create it with more",
            executor->capacity);
    } else if (is_free(lane)) {
        result = ensure_thread(executor, error);
    }
    bool wake = result == 0 && is_free(lane);
    if (result == 0) {
        enter(lane, task);
        *ret_id = task->id; /* before anybody can collect it */
    }
    unlock(executor);
    if (wake)
        pthread_cond_signal(&executor->work);
    return result;
}

/* ---- the public face ------------------------------------------------------------------------- */

static int allocate(sw_executor *executor)
{
    executor->slots = calloc(executor->capacity, sizeof(struct swi_task *));
    executor->free_slots = calloc(executor->capacity, sizeof *executor->free_slots);
    if (!executor->slots || !executor->free_slots)
        return -ENOMEM;
    for (uint32_t i = 0; i < executor->capacity; i++)
        executor->free_slots[i] = i;
    executor->free_count = executor->capacity;
    LIST_INIT(&executor->lanes);
    TAILQ_INIT(&executor->ready);
    TAILQ_INIT(&executor->done);
    executor->serial = 1;
    executor->references = 1;
    (void)swi_condition_init(&executor->work);
    (void)swi_condition_init(&executor->ended);
    int result = open_descriptors(executor);
    if (result == 0)
        result = swi_fork_lock_init(&executor->lock);
    if (result < 0)
        close_descriptors(executor);
    else
        executor->process = swi_process();
    return result;
}

static int create(const struct sw_executor_options *options, sw_executor **ret,
                  struct swi_error *error)
{
    uint32_t threads = options->threads ? options->threads : 1;
    uint32_t requests = options->requests ? options->requests : 256;
    if (threads > SWI_EXECUTOR_THREADS_MAX || requests > SWI_EXECUTOR_REQUESTS_MAX)
        return swi_fail(error, -EINVAL,
                        "%u threads and %u requests were requested; at most %u and %u are possible",
                        threads, requests, SWI_EXECUTOR_THREADS_MAX, SWI_EXECUTOR_REQUESTS_MAX);
    sw_executor *executor = calloc(1, sizeof *executor);
    if (!executor)
        return swi_fail(error, -ENOMEM, "out of memory");
    executor->threads_wanted = threads;
    executor->capacity = requests;
    int result = allocate(executor);
    if (result < 0) {
        free(executor->slots);
        free(executor->free_slots);
        free(executor);
        return swi_fail(error, result, "cannot set up an executor: %s", sw_strerror(result));
    }
    *ret = executor;
    return 0;
}

int sw_executor_create(const struct sw_executor_options *options, sw_executor **ret_executor)
{
    struct sw_executor_options known = {0};
    struct swi_error error = {0};
    if (!ret_executor)
        return -EINVAL;
    int result = swi_sized_in(&known, sizeof known, options, options ? options->size : 0, &error);
    if (result == 0)
        result = create(&known, ret_executor, &error);
    if (result < 0 && known.error && known.error_size)
        (void)snprintf(known.error, known.error_size, "%s", error.text);
    return result;
}

void sw_executor_destroy(sw_executor *executor)
{
    if (!executor)
        return;
    lock(executor);
    (void)adopt(executor);
    executor->stopping = true;
    struct swi_lane *lane;
    LIST_FOREACH(lane, &executor->lanes, link)
    cancel_lane(executor, lane, "the executor was destroyed");
    pthread_cond_broadcast(&executor->work);
    uint32_t started = executor->started;
    unlock(executor);
    for (uint32_t i = 0; i < started; i++)
        (void)pthread_join(executor->threads[i], NULL);
    lock(executor);
    executor->started = 0;
    struct swi_task *task;
    while ((task = TAILQ_FIRST(&executor->done))) {
        TAILQ_REMOVE(&executor->done, task, link);
        free(task);
    }
    memset(executor->slots, 0, executor->capacity * sizeof(struct swi_task *));
    close_descriptors(executor);
    drop_reference(executor);
}

int sw_executor_fd(sw_executor *executor)
{
    lock(executor);
    int result = adopt(executor);
    if (result == 0)
        result = executor->poll_fd;
    unlock(executor);
    return result;
}

int sw_executor_collect(sw_executor *executor, struct sw_completion *completion)
{
    if (completion->size < sizeof completion->size)
        return -EINVAL;
    lock(executor);
    int result = adopt(executor);
    uint64_t now = executor->timer_ns == SWI_FOREVER ? 0 : swi_now();
    if (result == 0 && now >= executor->timer_ns)
        expire(executor, now);
    struct swi_task *task = result == 0 ? TAILQ_FIRST(&executor->done) : NULL;
    if (task) {
        TAILQ_REMOVE(&executor->done, task, link);
        uint32_t slot = (uint32_t)task->id;
        executor->slots[slot] = NULL;
        executor->free_slots[executor->free_count++] = slot;
    }
    eventfd_t ignored;
    if (result == 0 && TAILQ_EMPTY(&executor->done))
        (void)eventfd_read(executor->event_fd, &ignored);
    unlock(executor);
    if (!task)
        return result;
    uint64_t started = task->started_ns ? task->started_ns : task->ended_ns;
    struct sw_completion now_done = {.id = task->id,
                                     .context = task->context,
                                     .result = task->error.code,
                                     .queued_ms = (double)(started - task->submitted_ns) / 1e6,
                                     .run_ms = (double)(task->ended_ns - started) / 1e6};
    if (task->error.code)
        memcpy(now_done.message, task->error.text, sizeof now_done.message);
    free(task);
    result = swi_sized_out(completion, completion->size, &now_done, sizeof now_done);
    return result < 0 ? result : 1;
}

int sw_executor_cancel(sw_executor *executor, uint64_t id)
{
    lock(executor);
    int result = adopt(executor);
    uint32_t slot = (uint32_t)id;
    struct swi_task *task = result == 0 && slot < executor->capacity ? executor->slots[slot] : NULL;
    if (result == 0 && (!task || task->id != id || !task->lane))
        result = -ENOENT;
    bool queued = result == 0 && task->lane->running != task;
    if (queued) {
        take_from_queue(executor, task);
        put_done(executor, task, -ECANCELED, "cancelled before it began");
    } else if (result == 0) {
        __atomic_store_n(&task->cancelled, 1, __ATOMIC_RELAXED);
    }
    unlock(executor);
    if (queued)
        announce(executor);
    return result;
}

int sw_executor_get_stats(sw_executor *executor, struct sw_executor_stats *stats)
{
    lock(executor);
    int result = adopt(executor);
    struct sw_executor_stats now = executor->counts;
    now.threads = executor->threads_wanted;
    now.capacity = executor->capacity;
    now.queued = executor->queued;
    now.running = executor->running;
    now.done = executor->capacity - executor->free_count - executor->queued - executor->running;
    unlock(executor);
    return result < 0 ? result : swi_sized_out(stats, stats->size, &now, sizeof now);
}
