/* SPDX-License-Identifier: MIT */
/* Making a directory or a file appear whole or not at all.
 *
 * Everything is written under a hidden name beside the target (".NAME.tmp-XXXXXX"), synced, and
 * renamed in one step. Whatever ends before that leaves the target as it was; discard removes the
 * rest. */
#ifndef SWI_PROGRAMS_CHUNK_WRITE_STAGING_H
#define SWI_PROGRAMS_CHUNK_WRITE_STAGING_H

#include <stdbool.h>

#include "core/error.h"

struct staging {
    int parent;       /* directory of the target */
    int directory;    /* the new directory; -1 for a file */
    int file;         /* the new file; -1 for a directory */
    bool replace;     /* the target may be there and is then replaced */
    char name[256];   /* of the target, in parent */
    char hidden[300]; /* in parent; "": nothing to remove */
};

/* Begins a directory. Without replace the target must not exist; with it, it may be a chunk
 * directory or an empty one: anything else is refused, so that a slip does not remove somebody's
 * files. */
int staging_begin_directory(struct staging *staging, const char *target, bool replace,
                            struct swi_error *error);
/* Begins a file; with replace the target may be a regular file. */
int staging_begin_file(struct staging *staging, const char *target, bool replace,
                       struct swi_error *error);

/* Syncs and renames. The staging is finished with, also on failure. */
int staging_commit(struct staging *staging, struct swi_error *error);
void staging_discard(struct staging *staging);

#endif
