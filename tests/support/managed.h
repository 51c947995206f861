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

/* The program that the next managers run instead of swbrokerd: the name of a built program, or a
 * path. */
void managed_program(const char *name);

/* Starts swbrokerd under a manager whose fd store holds up to `max` descriptors. activated: by
 * socket activation. chunks_dir: NULL for none. */
struct managed managed_start(const char *chunks_dir, const char *cache_size, unsigned max,
                             bool activated, const char *const extra[]);
/* The same without starting the broker. */
struct managed managed_prepare(const char *chunks_dir, const char *cache_size, unsigned max,
                               bool activated, const char *const extra[]);
void managed_begin(struct managed *managed); /* start */
void managed_restart(struct managed *managed);
void managed_crash(struct managed *managed); /* SIGKILL, then start */
int managed_stop(struct managed *managed);   /* SIGTERM; its exit code */
void managed_kill(struct managed *managed);
void managed_end(struct managed *managed); /* both of them */

/* Sends any other command; returns what follows "ok" in the answer. */
const char *managed_tell(struct managed *managed, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Copies the stored descriptors of this name; returns their number. */
size_t managed_take(struct managed *managed, const char *name, int fds[static 8]);
/* Adds a descriptor to the store. */
void managed_put(struct managed *managed, const char *name, int fd);
/* The number of stored names with this prefix. */
size_t managed_count(struct managed *managed, const char *prefix);
/* The first stored name with this prefix. */
const char *managed_name(struct managed *managed, const char *prefix);

#endif
