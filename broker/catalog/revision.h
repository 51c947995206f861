/* SPDX-License-Identifier: MIT */
/* One revision of one model: a chunk directory as it was when the catalog looked at it.
 *
 * A descriptor holds the directory, so that a replaced one stays readable for its users. The chunks
 * are registered with the cache at the first use. Once the revision is superseded and its last user
 * is gone, they leave the cache and the revision is freed. The catalog creates and supersedes
 * revisions.
 *
 *   current, unregistered ──acquire──▶ current, registered ──supersede──▶ superseded
 *                                                                            │
 *                                                                       last release
 *                                                                            ▼
 *                                                                          freed
 */
#ifndef SWB_CATALOG_REVISION_H
#define SWB_CATALOG_REVISION_H

#include <stdbool.h>
#include <sys/queue.h>
#include <sys/stat.h>

#include "cache/cache.h"
#include "core/manifest.h"

struct revision;
struct revision_remote;

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
    struct revision_remote *remote; /* NULL: it has a directory */
    struct swi_digest bundle;       /* of the bundle it was made of; unused if it has a directory */
    dev_t device;                   /* of the directory */
    ino_t inode;
    struct swi_manifest manifest;
    uint64_t incarnation;
    uint32_t users;
    bool superseded;
    uint32_t registered; /* chunks that the cache knows: 0 or manifest.count */
    uint32_t place;      /* index in the ledger; LEDGER_NOWHERE: not recorded */
    uint32_t *ids;       /* [manifest.count], by ordinal */
    int *files;          /* [manifest.count], O_PATH or -1: for users of a replaced revision */
};

/* Reads the directory's manifest. On success the revision owns the descriptor. */
int revision_create(struct cache *cache, const char *name, int directory, uint64_t incarnation,
                    struct revision **ret, struct swi_error *error);
/* Makes a revision of a manifest, which it owns on success. The caller then sets ops and the
 * members that they use. -ENOMEM. */
int revision_create_of(struct cache *cache, const char *name, const struct swi_manifest *manifest,
                       uint64_t incarnation, struct revision **ret);
/* The revision has no users. Removes its chunks from the cache; their waiters receive SW_ESTALE. */
void revision_destroy(struct revision *revision);

/* True if both are the same directory with the same chunks, or the same bundle. */
bool revision_equal(const struct revision *a, const struct revision *b);

/* Makes the caller a user. The first use registers the chunks: SW_EQUOTA if the index is full. */
int revision_acquire(struct revision *revision, struct swi_error *error);
/* Returns true if a superseded revision has lost its last user: the owner destroys it. */
bool revision_release(struct revision *revision);

/* Turns an unused revision into the one that an earlier broker had registered under these ids
 * [manifest.count, by ordinal]. Returns 0, 1 if it is not the same, or -errno. */
int revision_restore(struct revision *revision, uint64_t incarnation, const uint32_t *ids,
                     uint32_t place);
/* Leaves its chunks in the index for the next broker: revision_destroy only frees memory then. */
void revision_leave(struct revision *revision);

/* Ordinal of a component, or SW_ENOCOMPONENT. */
int revision_find(const struct revision *revision, const char *component);

/* Opens a small file for a client; *ret_bytes is its size. Errors: SW_ENOCOMPONENT, SW_EQUOTA over
 * REVISION_FILE_MAX_BYTES, -errno. */
#define REVISION_FILE_MAX_BYTES (64u << 20)
int revision_open_file(const struct revision *revision, const char *path, uint64_t *ret_bytes,
                       struct swi_error *error);

#endif
