/* SPDX-License-Identifier: MIT */
/* The interface of the loader's engines, which pass reads to the kernel and report their
 * completion, in any order. */
#ifndef SWB_LOADER_ENGINE_H
#define SWB_LOADER_ENGINE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "core/error.h"

struct load;
struct loader;

struct loader_read {
    struct load *load;
    uint64_t offset;  /* in the file and in the target */
    uint32_t length;  /* of the rest */
    uint32_t retries; /* without progress */
    int fd;
    bool direct; /* O_DIRECT was set when it was submitted */
    uint8_t *buffer;
    int64_t result; /* bytes, 0 at end of file, or -errno */
    STAILQ_ENTRY(loader_read) link;
};
STAILQ_HEAD(loader_reads, loader_read);

struct loader_engine_ops {
    const char *name;
    int (*create)(unsigned depth, void **ret, struct swi_error *error);
    /* All submitted reads have completed. */
    void (*destroy)(void *engine);
    int (*poll_fd)(void *engine);
    /* Queues a read; at most `depth` are under way at once. It starts at the next flush. */
    void (*submit)(void *engine, struct loader_read *read);
    /* Returns true if it must be called again without waiting for poll_fd: a read could not be
     * started, or was refused and can be reaped. */
    bool (*flush)(void *engine);
    /* Appends completed reads. wait: blocks until there is at least one. */
    void (*reap)(void *engine, struct loader_reads *completed, bool wait);
};

/* loader_create with a given engine, for instance one that injects faults. */
int loader_create_on(const struct loader_engine_ops *ops, struct loader **ret,
                     struct swi_error *error);

extern const struct loader_engine_ops loader_uring_ops;
extern const struct loader_engine_ops loader_threads_ops;

#endif
