/* SPDX-License-Identifier: MIT */
/* The catalog: the models in the chunks directory, by name.
 *
 * The directory is one model's chunk directory (its base name is the model's name) or a folder of
 * them. It is scanned at start and at each reload. An unknown name is looked up once more on
 * request, so that a model imported later is found. A fault in one model does not affect the
 * others. A Hugging Face directory is such a fault: it has to be imported first.
 *
 * Models may also come from a remote, without a directory (remote/models.h); a directory of
 * the same name takes precedence. The chunks directory is optional then.
 */
#ifndef SWB_CATALOG_CATALOG_H
#define SWB_CATALOG_CATALOG_H

#include "catalog/revision.h"

struct catalog_model {
    TAILQ_ENTRY(catalog_model) link;
    char *name;
    struct revision *current; /* NULL: none was ever valid */
    int problem;              /* found by the last scan; 0: none */
    char *problem_text;
    bool seen;   /* by the scan under way */
    bool wanted; /* from a remote as well: stays in the catalog without a directory */
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
    uint32_t lookups; /* of unknown names, still allowed */
    uint64_t lookups_since_ns;
    void (*grown)(void *context); /* a directory was added or replaced; NULL: nobody to tell */
    void *grown_context;
};

#define CATALOG_MODELS_MAX 4096u

/* path NULL: no chunks directory. Fails if path is not a readable directory. Scans nothing yet: the
 * owner sets ->cache first. */
int catalog_create(const char *path, struct catalog **ret, struct swi_error *error);
/* Releases every revision, used or not, and leaves its chunks in the index for the next broker.
 * Call it before catalog_destroy if the cache is already gone. */
void catalog_leave(struct catalog *catalog);
/* No revision may have users. */
void catalog_destroy(struct catalog *catalog);

struct catalog_changes {
    uint32_t added, replaced, removed, unchanged, bad;
};
/* Scans the directory again; on failure the catalog does not change. */
int catalog_scan(struct catalog *catalog, struct catalog_changes *ret, struct swi_error *error);

/* The bytes of all models in the directory, which is read for it; 0 without one. */
uint64_t catalog_measure(struct catalog *catalog);

/* Returns the current revision of a model and makes the caller its user. Errors: SW_ENOMODEL, the
 * model's problem, and those of revision_acquire. */
int catalog_acquire(struct catalog *catalog, const char *name, uint64_t now_ns,
                    struct revision **ret, struct swi_error *error);
void catalog_release(struct catalog *catalog, struct revision *revision);

/* ---- models from a remote -------------------------------------------------------------------- */

/* The model is wanted from the remote but not available: records why, for later requests. A
 * revision that is served continues to be served. */
void catalog_miss_remote(struct catalog *catalog, const char *name, int code, const char *text);
/* Takes a bundle of the model, verified by its digest. Errors: those of revision_create_remote. */
int catalog_offer_remote(struct catalog *catalog, const char *name, const void *data, size_t size,
                         struct swi_digest digest, struct swi_error *error);
/* True if that revision is not needed: it is served already, or a directory is. */
bool catalog_has_remote(struct catalog *catalog, const char *name, struct swi_digest digest);

/* By incarnation; NULL: none. */
struct revision *catalog_find_revision(struct catalog *catalog, uint64_t incarnation);
struct catalog_model *catalog_find(struct catalog *catalog, const char *name);
/* Models that can be opened, or that a remote is still asked for. */
uint32_t catalog_served(const struct catalog *catalog);

#endif
