/* SPDX-License-Identifier: MIT */
/* A revision without a directory, made of a bundle (bundle.h) from a remote. Its chunks have no
 * files and come from the cache's remote; its small files are sealed memory. */
#ifndef SWB_CATALOG_REVISION_REMOTE_H
#define SWB_CATALOG_REVISION_REMOTE_H

#include "catalog/revision.h"

struct revision_remote;

/* Bounds the small files of all such revisions. Each takes memory and a descriptor, and the
 * writers of the remote must not exhaust either. */
#define REVISION_REMOTE_BYTES_MAX (UINT64_C(1) << 30)
struct remote_usage {
    uint64_t files, bytes;
};
/* Checks that `more` fits, within half of `descriptors`; SW_EQUOTA with a message otherwise.
 * Pure. */
int revision_remote_check(const struct remote_usage *now, const struct remote_usage *more,
                          uint64_t descriptors, struct swi_error *error);

/* digest: of the bundle, whose bytes are not needed afterwards. SW_EQUOTA: no room for its small
 * files. */
int revision_create_remote(struct cache *cache, const char *name, const void *data, size_t size,
                           struct swi_digest digest, uint64_t incarnation, struct revision **ret,
                           struct swi_error *error);

#endif
