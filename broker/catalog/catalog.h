/* SPDX-License-Identifier: MIT */
/* The catalog: which models the chunks directory holds, by name.
 *
 * The directory is one model's chunk directory (its base name is the model's name) or a folder of
 * them. It is looked through at start and at each reload; a name that is not known is looked up
 * once more when somebody asks for it, so that a model imported later is found. What is wrong with
 * one model does not touch the others.
 *
 * Models may also come from a Redis, without a directory (remote/redis/models.h); a directory of that name
 * goes before. There need not be a chunks directory then.
 */
#ifndef SWB_CATALOG_CATALOG_H
#define SWB_CATALOG_CATALOG_H

#include "catalog/revision.h"

struct catalog_model {
    TAILQ_ENTRY(catalog_model) link;
    char *name;
    struct revision *current; /* NULL: never was in order */
    int problem;              /* what the last look found wrong; 0: nothing */
    char *problem_text;
    bool seen;   /* by the scan that is under way */
    bool wanted; /* also from a Redis: stays in the catalog without a directory */
};

TAILQ_HEAD(catalog_models, catalog_model);
TAILQ_HEAD(catalog_revisions, revision);

struct catalog {
    struct cache *cache;
    char *path; /* absolute; NULL: there is no chunks directory */
    uint64_t next_incarnation;
    struct catalog_models models;        /* by name */
    struct catalog_revisions superseded; /* that still have users */
    uint32_t count;
    uint32_t lookups; /* of unknown names that may be made now */
    uint64_t lookups_since_ns;
};

#define CATALOG_MODELS_MAX 4096u

/* path NULL: no chunks directory. Fails when it is not a readable directory. Nothing is scanned yet: the owner sets ->cache
 * before that. */
int catalog_create(const char *path, struct catalog **ret, struct swi_error *error);
/* Lets go of every revision, used or not, and leaves its chunks in the index for the next broker.
 * Before catalog_destroy, when the cache is gone already. */
void catalog_leave(struct catalog *catalog);
/* Nobody uses a revision any more. */
void catalog_destroy(struct catalog *catalog);

struct catalog_changes {
    uint32_t added, replaced, removed, unchanged, bad;
};
/* Looks through the directory again; on failure nothing leaves the catalog. */
int catalog_scan(struct catalog *catalog, struct catalog_changes *ret, struct swi_error *error);

/* The current revision of a model, with the caller as its user. Errors: SW_ENOMODEL, the model's
 * own problem, and those of revision_acquire. */
int catalog_acquire(struct catalog *catalog, const char *name, uint64_t now_ns,
                    struct revision **ret, struct swi_error *error);
void catalog_release(struct catalog *catalog, struct revision *revision);

/* ---- models from a Redis ---- */

/* The model is wanted from there and cannot be had: why, for whoever asks for it. One that is served
 * goes on being served. */
void catalog_miss_stored(struct catalog *catalog, const char *name, int code, const char *text);
/* A bundle of the model's, verified by its digest. Errors: those of revision_create_stored. */
int catalog_offer_stored(struct catalog *catalog, const char *name, const void *data, size_t size,
                         struct swi_digest digest, struct swi_error *error);
/* Whether a revision from there is of no use: it is the one that is served, or a directory is. */
bool catalog_has_stored(struct catalog *catalog, const char *name, struct swi_digest digest);

/* By incarnation; NULL: none. */
struct revision *catalog_find_revision(struct catalog *catalog, uint64_t incarnation);
struct catalog_model *catalog_find(struct catalog *catalog, const char *name);

#endif
