/* SPDX-License-Identifier: MIT */
/* A broker under a service manager, for Criterion tests. */
#ifndef SWT_SUPPORT_MANAGED_H
#define SWT_SUPPORT_MANAGED_H

#include "support.h"

struct managed {
    struct sup_broker broker; /* for sup_swctl, raw_attach …; pid 0 while it does not run */
    pid_t manager;
    int control;
    double exit_ms, ready_ms; /* of the last restart or start */
};

/* What the next ones run instead of swbrokerd: a program as it is built, or a path. */
void managed_program(const char *name);

/* Starts swbrokerd under a manager that keeps `max` descriptors. activated: on a socket of the
 * manager's. chunks_dir NULL: none. */
struct managed managed_start(const char *chunks_dir, const char *cache_size, unsigned max,
                             bool activated, const char *const extra[]);
/* The same, but the broker is not started yet. */
struct managed managed_prepare(const char *chunks_dir, const char *cache_size, unsigned max,
                               bool activated, const char *const extra[]);
void managed_begin(struct managed *managed); /* start */
void managed_restart(struct managed *managed);
void managed_crash(struct managed *managed); /* SIGKILL, then start */
int managed_stop(struct managed *managed);   /* SIGTERM; its exit code */
void managed_kill(struct managed *managed);
void managed_end(struct managed *managed); /* both of them */

/* Any other command; its answer behind "ok". */
const char *managed_tell(struct managed *managed, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Copies of the stored descriptors of that name; returns how many. */
size_t managed_take(struct managed *managed, const char *name, int fds[static 8]);
/* Into the store. */
void managed_put(struct managed *managed, const char *name, int fd);
/* How many stored names begin so. */
size_t managed_count(struct managed *managed, const char *prefix);
/* The first stored name that begins so. */
const char *managed_name(struct managed *managed, const char *prefix);

#endif
