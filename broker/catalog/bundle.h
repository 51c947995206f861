/* SPDX-License-Identifier: MIT */
/* A model's manifest and small files in one piece, as a Redis holds them under
 * PREFIX:model:NAME:REVISION. Pure.
 *
 *   "SWBUND1\n"                     8 bytes
 *   count                           4 bytes, little-endian
 *   count × { name's length         4 bytes
 *             file's length         8 bytes
 *             name }                "config.json", "1_Pooling/config.json" …
 *   the files' bytes, in that order, to the end
 *
 * One of the files is chunk_info.json. The chunks are not in it: the manifest names them by digest.
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

/* A relative path of plain names: none empty, none with a dot in front. */
bool bundle_name_ok(const char *name);

/* Checks all of it: names plain and each once, lengths that add up to size, a chunk_info.json. The
 * files point into data. Errors: SW_EFORMAT, -ENOMEM. */
int bundle_parse(const void *data, size_t size, struct bundle *ret, struct swi_error *error);
void bundle_fini(struct bundle *bundle);
/* NULL: not in it. */
const struct bundle_file *bundle_find(const struct bundle *bundle, const char *name);

/* *ret_data is malloc'd. What it makes of a valid bundle parses to the same. Errors: SW_EFORMAT (a
 * name, a missing manifest, too many), -ENOMEM. */
int bundle_render(const struct bundle *bundle, uint8_t **ret_data, size_t *ret_size,
                  struct swi_error *error);

#endif
