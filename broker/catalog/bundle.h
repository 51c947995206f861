/* SPDX-License-Identifier: MIT */
/* A model's manifest and small files in one value, stored in Redis as PREFIX:model:NAME:REVISION.
 * Pure.
 *
 *   "SWBUND1\n"                     8 bytes
 *   count                           4 bytes, little-endian
 *   count × { name's length         4 bytes
 *             file's length         8 bytes
 *             name }                "config.json", "1_Pooling/config.json" …
 *   the files' bytes, in that order, to the end
 *
 * One of the files is chunk_info.json. The bundle does not contain the chunks: the manifest lists
 * their digests.
 */
#ifndef SWB_CATALOG_BUNDLE_H
#define SWB_CATALOG_BUNDLE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/error.h"
#include "core/wire.h" /* SWI_NAME_MAX */

#define BUNDLE_FILES_MAX 256u
#define BUNDLE_DEPTH_MAX 4u /* parts of a name */

struct bundle_file {
    char name[SWI_NAME_MAX + 1];
    const uint8_t *bytes; /* of the bundle that was parsed, or the caller's */
    uint64_t size;
};

struct bundle {
    struct bundle_file *files; /* [count] */
    uint32_t count;
};

/* True for a relative path of plain names: none empty, none starting with a dot. */
bool bundle_name_ok(const char *name);

/* Checks everything: plain and unique names, lengths that add up to size, a chunk_info.json. The
 * files point into data. Errors: SW_EFORMAT, -ENOMEM. */
int bundle_parse(const void *data, size_t size, struct bundle *ret, struct swi_error *error);
void bundle_fini(struct bundle *bundle);
/* NULL if there is no such file. */
const struct bundle_file *bundle_find(const struct bundle *bundle, const char *name);

/* *ret_data is malloc'd; bundle_parse turns it into the same bundle. Errors: SW_EFORMAT (a bad
 * name, a missing manifest, too many files), -ENOMEM. */
int bundle_render(const struct bundle *bundle, uint8_t **ret_data, size_t *ret_size,
                  struct swi_error *error);

#endif
