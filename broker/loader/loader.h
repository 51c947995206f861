/* SPDX-License-Identifier: MIT */
/* Reads chunk files into memory and verifies them.
 *
 * A load reads one file into one range. It is cut into segments. The segments of all loads share
 * one deep queue of reads, the most urgent load first; the bytes of each load are hashed in file
 * order as they arrive, at most one segment a turn, with the loads taking turns.
 *
 * Invariants:
 *   - while the kernel has a read of a load, the load is not done and the loader owns its target;
 *   - nothing beyond round_up(bytes, 4096) of the target is ever written;
 *   - done is called exactly once for each load, from loader_turn or loader_destroy, and only while
 *     none of its reads is under way.
 *
 * An engine issues the reads: io_uring, or a pool of threads that call pread. The file is read with
 * O_DIRECT where its file system allows it, else through the page cache, also if the file system
 * refuses O_DIRECT only at the first read. The loader knows nothing about chunks, their users or
 * the arena.
 *
 * A load without a file is supplied: the caller brings its segments, in any order, and the loader
 * only verifies them, in the same turns as those that it reads. The supplier writes into the target
 * on the loop's thread, and only between loader_want and loader_brought. So a failed load is over
 * as soon as the supplier has returned the segments that it wanted.
 */
#ifndef SWB_LOADER_LOADER_H
#define SWB_LOADER_LOADER_H

#include <stdbool.h>
#include <sys/queue.h>
#include <sys/stat.h>

#include "core/digest.h"
#include "core/error.h"

#define LOADER_SEGMENT_BYTES (1u << 20)
#define LOADER_DEPTH         16u /* reads with the kernel at once */
#define LOADER_WINDOW        64u /* segments of one load that may be read ahead of its hash */

enum loader_engine { LOADER_AUTO, LOADER_URING, LOADER_THREADS };

struct loader;
struct load;
typedef void (*load_done_fn)(struct load *load);

/* The identity of a file: after a failure, another try makes sense if any of this has changed. */
struct load_identity {
    uint64_t device, inode, size;
    int64_t modified_ns, changed_ns;
};

struct load {
    /* Set by the caller. */
    int fd;                   /* owned by the loader from loader_start on; -1: supplied */
    uint8_t *target;          /* [round_up(bytes, 4096)], 4096-aligned */
    uint64_t bytes;           /* length of the file, not 0 */
    unsigned priority;        /* 0 is the most urgent; may change while the load runs */
    double order;             /* among equal priorities, the smallest goes first, then the oldest */
    struct swi_digest digest; /* expected */
    load_done_fn done;
    void *context;
    /* Results, valid from done on. */
    int status; /* 0, SW_ELOAD, SW_EDIGEST or -errno, with the message in error */
    struct swi_error error;
    /* Private to the loader. */
    uint64_t issued, hashed; /* bytes issued as reads; bytes hashed */
    unsigned outstanding;    /* reads under way */
    bool direct;
    uint8_t arrived[LOADER_WINDOW]; /* by segment number modulo LOADER_WINDOW */
    swi_hasher *hasher;
    TAILQ_ENTRY(load) link;
};

/* Where io_uring is not usable, LOADER_AUTO uses threads and LOADER_URING fails. */
int loader_create(enum loader_engine engine, struct loader **ret, struct swi_error *error);
/* Waits for every read under way. Cancels the loads that are not done: done is called with
 * -ECANCELED. */
void loader_destroy(struct loader *loader);

const char *loader_engine_name(const struct loader *loader);
/* Readable when reads have completed. */
int loader_poll_fd(const struct loader *loader);

/* Checks that the file is regular and has exactly that length; SW_ELOAD with a message otherwise.
 * ret_identity is filled whenever fstat succeeds. */
int loader_check_file(int fd, uint64_t bytes, struct load_identity *ret_identity,
                      struct swi_error *error);

/* Takes over the load and its descriptor. The caller has checked the file with
 * loader_check_file. */
void loader_start(struct loader *loader, struct load *load);
/* Takes over a load without a file, and sets load->fd to -1. */
void loader_start_brought(struct loader *loader, struct load *load);
/* The next segment to supply. False: none at present (all were wanted, or enough ahead of the
 * hash, or the load has failed). Each wanted segment must be returned by one of the next two
 * functions. */
bool loader_want(struct load *load, uint64_t *ret_offset, uint32_t *ret_bytes);
/* The segment's bytes are in the target. */
void loader_brought(struct load *load, uint64_t offset);
/* The segment will not come: the load fails with that error, unless it has failed already. */
void loader_not_brought(struct load *load, const struct swi_error *error);

/* Issues no further reads for the load; done follows with -ECANCELED once those under way have
 * completed. */
void loader_cancel(struct loader *loader, struct load *load);
/* Fails a supplied load without returning a segment. */
void loader_refuse(struct load *load, const struct swi_error *error);

/* Collects completed reads, issues new ones, and hashes at most one segment. Returns true if
 * there is more to hash or to report, so that it should be called again at once. */
bool loader_turn(struct loader *loader);
/* The number of loads that are not done. */
unsigned loader_active(const struct loader *loader);

#endif
