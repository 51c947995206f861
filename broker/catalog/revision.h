/* SPDX-License-Identifier: MIT */
/* One revision of one model: a chunk directory as it was when the catalog looked at it.
 *
 * The directory is held by descriptor, so that a replaced one stays readable for those who opened
 * it before. Its chunks are known to the cache from the first use on. Once it is superseded, and
 * its last user is gone, they leave the cache and the revision is freed. Made and superseded by the
 * catalog.
 *
 *   current, unregistered ──acquire──▶ current, registered ──supersede──▶ superseded
 *                                                                                  │
 *                                                                            last release
 *                                                                                  ▼
 *                                                                                freed
 */
#ifndef SWB_CATALOG_REVISION_H
#define SWB_CATALOG_REVISION_H

#include <stdbool.h>
#include <sys/queue.h>
#include <sys/stat.h>

#include "cache/cache.h"
#include "core/manifest.h"

struct revision;
struct revision_stored;

/* How a revision reaches its small files: in a directory, or in memory. */
struct revision_ops {
    /* As revision_open_file. */
    int (*open_file)(const struct revision *revision, const char *path, uint64_t *ret_bytes,
                     struct swi_error *error);
    void (*free)(struct revision *revision);
};

struct revision {
    TAILQ_ENTRY(revision) link; /* among the superseded */
    struct cache *cache;
    char *name;
    const struct revision_ops *ops;
    int directory;                  /* -1: it came from a remote (catalog/revision_remote.h) */
    struct revision_stored *stored; /* NULL: it has a directory */
    struct swi_digest bundle;       /* of the bundle it was made of; unused if it has a directory */
    dev_t device;                   /* of the directory */
    ino_t inode;
    struct swi_manifest manifest;
    uint64_t incarnation;
    uint32_t users;
    bool superseded;
    uint32_t registered; /* chunks that the cache knows: 0 or manifest.count */
    uint32_t place;      /* in the ledger; LEDGER_NOWHERE: not noted */
    uint32_t *ids;       /* [manifest.count], by ordinal */
    int *files;          /* [manifest.count], O_PATH or -1: what users of a replaced one read */
};

/* Reads the directory's manifest. The descriptor becomes the revision's on success. */
int revision_create(struct cache *cache, const char *name, int directory, uint64_t incarnation,
                    struct revision **ret, struct swi_error *error);
/* Makes a revision of a manifest, which it owns on success. The caller then sets ops and the members
 * that they use. -ENOMEM. */
int revision_create_of(struct cache *cache, const char *name, const struct swi_manifest *manifest,
                       uint64_t incarnation, struct revision **ret);
/* Without users. Takes its chunks out of the cache; their waiters hear SW_ESTALE. */
void revision_destroy(struct revision *revision);

/* Whether both are the same directory with the same chunks. */
bool revision_equal(const struct revision *a, const struct revision *b);

/* Makes the caller a user. The first use registers the chunks: SW_EQUOTA when the index is full. */
int revision_acquire(struct revision *revision, struct swi_error *error);
/* True when a superseded revision lost its last user: its owner destroys it. */
bool revision_release(struct revision *revision);

/* Makes it the revision that a broker which has ended had registered under these ids
 * [manifest.count, by ordinal]: 1 when it is not the same, 0, or -errno. Nobody uses it yet. */
int revision_restore(struct revision *revision, uint64_t incarnation, const uint32_t *ids,
                     uint32_t place);
/* Its chunks stay as they are in the index, for the next broker: what follows frees memory only. */
void revision_leave(struct revision *revision);

/* Ordinal of a component, or SW_ENOCOMPONENT. */
int revision_find(const struct revision *revision, const char *component);

/* Opens a small file of the directory for a client; *ret_bytes is its size. Errors:
 * SW_ENOCOMPONENT, SW_EQUOTA over 64 MiB, -errno. */
int revision_open_file(const struct revision *revision, const char *path, uint64_t *ret_bytes,
                       struct swi_error *error);

#endif
