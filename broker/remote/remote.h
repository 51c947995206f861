/* SPDX-License-Identifier: MIT */
/* A remote: where the brokers of several hosts share chunks and models, by digest. The Redis tier
 * (remote/redis) is one.
 *
 * Chunks reach the cache and come from it through the cache's own interface (cache.h: struct
 * cache_remote), which a remote registers itself. This is what operators' verbs and --models need
 * besides: to write a chunk, and to publish, find and ask for a model.
 *
 *   a model there:  its chunks, each by its digest
 *                   its bundle (bundle.h: manifest and small files), by its digest: a revision
 *                   its name, with the current revision; a publication writes it last, so it tells
 *                   that the rest was there too
 *
 * One thread: the loop's.
 */
#ifndef SWB_REMOTE_REMOTE_H
#define SWB_REMOTE_REMOTE_H

#include <stdbool.h>

#include "core/digest.h"
#include "core/error.h"
#include "stats/remote_stats.h"

#define REMOTE_BUNDLE_MAX (128u << 20) /* bytes of a bundle */

/* ---- jobs ------------------------------------------------------------------------------------ */

/* An operation under way, as the first member of one of the structs below, which are the caller's
 * memory until it is over. */
struct remote_job {
    /* Called once, perhaps before the function that starts the job returns; not after a cancel.
     * status: 0, or as each job says; SW_ELOAD if the remote cannot be reached or refuses. why: a
     * sentence, valid during the call. May start other jobs. */
    void (*over)(struct remote_job *job, int status, const char *why);
    /* The remote's own. work NULL: not under way. */
    void *work;
    void (*cancel)(struct remote_job *job);
};

/* Writes a chunk, whether it is there or not. -ENODATA: its bytes are gone. */
struct remote_write {
    struct remote_job job;
    struct swi_digest digest;
    uint64_t bytes;
    /* The bytes at offset, to the end of the chunk, valid until the next call into the cache; NULL:
     * they are gone. */
    const uint8_t *(*bytes_at)(struct remote_write *write, uint64_t offset);
};

/* Writes a bundle, then the name with its revision. Its chunks are there already. */
struct remote_publish {
    struct remote_job job;
    const char *model;
    struct swi_digest revision; /* the bundle's digest */
    const uint8_t *bundle;
    size_t bundle_bytes;
};

/* Finds a model's current revision and reads its bundle, unverified. Not for a remote that is only
 * written to. SW_ENOMODEL: there is none. */
struct remote_find {
    struct remote_job job;
    const char *model;
    struct swi_digest revision; /* set before `room` is called */
    size_t bundle_bytes;        /* at most REMOTE_BUNDLE_MAX */
    /* Where to put the bundle; NULL: it is not wanted, and the job is over with status 1. */
    uint8_t *(*room)(struct remote_find *find);
};

/* Asks whether a model was published. Status 1: it was; 0: not. */
struct remote_ask {
    struct remote_job job;
    const char *model;
};

/* ---- a remote -------------------------------------------------------------------------------- */

struct remote;

struct remote_ops {
    void (*destroy)(struct remote *remote);
    void (*get_stats)(struct remote *remote, struct remote_stats *ret);
    /* Why nothing can be read or written now; NULL: it can. Borrowed. */
    const char *(*unreadable)(struct remote *remote);
    const char *(*unwritable)(struct remote *remote);
    /* An operator says that the reason for a pause of writing is gone. */
    void (*end_pause)(struct remote *remote);
    void (*write)(struct remote *remote, struct remote_write *write);
    void (*publish)(struct remote *remote, struct remote_publish *publish);
    void (*find)(struct remote *remote, struct remote_find *find);
    void (*ask)(struct remote *remote, struct remote_ask *ask);
};

struct remote {
    const struct remote_ops *ops;
    bool reads, writes;      /* which of the two it does; at least one */
    void (*up)(void *owner); /* called when it becomes readable; NULL: nobody listens */
    void *up_owner;
};

/* Ends a job that is under way: over is not called. Does nothing otherwise. */
void remote_cancel(struct remote_job *job);

#endif
