/* SPDX-License-Identifier: MIT */
/* Reading chunk files into memory and verifying them.
 *
 * A load is one file read into one range. It is cut into segments; segments of all loads share one
 * deep queue of reads (those of the most urgent load first), and each load's bytes are hashed in
 * file order as they arrive, at most one segment a turn, the loads taking turns.
 *
 * Invariants:
 *   - while a read of a load is with the kernel, the load is not done and its target is the
 *     loader's;
 *   - nothing beyond round_up(bytes, 4096) of the target is ever written;
 *   - done is called exactly once for each load, from loader_turn or loader_destroy, and never
 * while one of its reads is under way.
 *
 * How reads reach the disk is an engine's business: io_uring, or a pool of threads calling pread.
 * The file is read with O_DIRECT where its file system allows it (also when it refuses only at the
 * first read), else through the page cache. It does not know what a chunk is, whom it is for, or
 * what the arena is.
 *
 * A load may also have no file: then somebody else brings its segments, in any order, and the loader
 * only verifies them, in the same turns as those that it reads. The bringer writes into the target
 * on the loop's own thread and only between loader_want and loader_brought, so that such a load,
 * once it has failed, is over as soon as the bringer has given back what it wanted.
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

/* Which file a load read: a failed one is worth another try when any of this changed. */
struct load_identity {
    uint64_t device, inode, size;
    int64_t modified_ns, changed_ns;
};

struct load {
    /* Set by the caller. */
    int fd;                   /* owned by the loader from loader_start on; -1: brought */
    uint8_t *target;          /* [round_up(bytes, 4096)], 4096-aligned */
    uint64_t bytes;           /* what the file must hold, over zero */
    unsigned priority;        /* 0 is the most urgent; may change while the load runs */
    double order;             /* among equals the smallest goes first, then the oldest */
    struct swi_digest digest; /* what it must hash to */
    load_done_fn done;
    void *context;
    /* Results, valid from done on. */
    int status; /* 0, SW_ELOAD, SW_EDIGEST or -errno; message in error */
    struct swi_error error;
    /* The loader's own. */
    uint64_t issued, hashed; /* bytes handed out for reading; bytes hashed */
    unsigned outstanding;    /* reads under way */
    bool direct;
    uint8_t arrived[LOADER_WINDOW]; /* by segment number modulo LOADER_WINDOW */
    swi_hasher *hasher;
    TAILQ_ENTRY(load) link;
};

/* LOADER_AUTO takes threads where io_uring cannot be used; LOADER_URING is an error there. */
int loader_create(enum loader_engine engine, struct loader **ret, struct swi_error *error);
/* Waits for every read that is under way. Loads that were not done are cancelled: done is called
 * with -ECANCELED. */
void loader_destroy(struct loader *loader);

const char *loader_engine_name(const struct loader *loader);
/* Readable when reads have completed. */
int loader_poll_fd(const struct loader *loader);

/* Whether the file is what it should be as far as its inode tells: regular, of exactly that length.
 * SW_ELOAD with a message otherwise; ret_identity is filled whenever the file could be looked at.
 */
int loader_check_file(int fd, uint64_t bytes, struct load_identity *ret_identity,
                      struct swi_error *error);

/* Takes the load and its descriptor over. The caller has checked the file by loader_check_file. */
void loader_start(struct loader *loader, struct load *load);
/* Takes a load without a file over: load->fd is -1. */
void loader_start_brought(struct loader *loader, struct load *load);
/* The next segment to bring. False: none now (all are asked for, or enough ahead of the hash; or the
 * load has failed). Each that is returned must be given back by one of the two below. */
bool loader_want(struct load *load, uint64_t *ret_offset, uint32_t *ret_bytes);
/* Its bytes are in the target. */
void loader_brought(struct load *load, uint64_t offset);
/* It will not come; the load fails with that error, unless it has failed already. */
void loader_not_brought(struct load *load, const struct swi_error *error);

/* No further reads are issued for it; done follows with -ECANCELED once those under way have
 * completed. */
void loader_cancel(struct loader *loader, struct load *load);
/* Fails a brought load of which nothing is wanted back. */
void loader_refuse(struct load *load, const struct swi_error *error);

/* Takes in completed reads, issues new ones, hashes at most one segment. Returns true when there is
 * more to hash or to report, so that it should be called again at once. */
bool loader_turn(struct loader *loader);
/* Loads that are not done yet. */
unsigned loader_active(const struct loader *loader);

#endif
