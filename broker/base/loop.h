/* SPDX-License-Identifier: MIT */
/* The event loop: descriptors with a callback each, and timers.
 *
 * Level-triggered epoll. A turn waits once, calls the callbacks of what is ready or due, and
 * returns; the caller does its own work between turns. A callback may add and remove any source or
 * timer, including the one that called it: a removed source is not called any more, not even for an
 * event that was already fetched. Sources and timers live in their owners' structs; the loop
 * allocates nothing for them. Single-threaded.
 */
#ifndef SWB_BASE_LOOP_H
#define SWB_BASE_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/queue.h>

#include "core/error.h"

struct loop;

struct loop_source {
    void (*ready)(struct loop_source *source, uint32_t events); /* EPOLLIN … */
    int fd;
    uint32_t events; /* it waits for at present */
    bool added;
};

struct loop_timer {
    void (*fire)(struct loop_timer *timer, uint64_t now_ns);
    uint64_t due_ns;
    bool armed;
    TAILQ_ENTRY(loop_timer) link;
};

/* The struct that contains a source or timer. */
#define LOOP_OWNER(pointer, type, member)                                                          \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#define LOOP_NS_PER_MS 1000000ull
#define LOOP_NS_PER_S  1000000000ull

/* CLOCK_MONOTONIC */
uint64_t loop_now(void);

int loop_create(struct loop **ret, struct swi_error *error);
void loop_destroy(struct loop *loop);

/* The caller has set source->ready and source->fd, and keeps the descriptor. Returns 0 or
 * -errno. */
int loop_add(struct loop *loop, struct loop_source *source, uint32_t events);
/* Changes the events to wait for. With 0, only a hang-up or an error calls it. */
void loop_watch(struct loop *loop, struct loop_source *source, uint32_t events);
/* Call it before closing the descriptor. Does nothing if the source was not added. */
void loop_remove(struct loop *loop, struct loop_source *source);

/* Arms or re-arms. */
void loop_arm(struct loop *loop, struct loop_timer *timer, uint64_t due_ns);
void loop_disarm(struct loop *loop, struct loop_timer *timer);

/* One turn: waits until something is ready or due, at most timeout_ms (-1: no limit). */
void loop_turn(struct loop *loop, int timeout_ms);

#endif
