/* SPDX-License-Identifier: MIT */
/* Reads a chunk directory's small files into a bundle: everything in it and in its folders
 * except the chunks and names that begin with a dot. Blocks, so call it in a thread. */
#ifndef SWB_CATALOG_BUNDLE_GATHER_H
#define SWB_CATALOG_BUNDLE_GATHER_H

#include "core/digest.h"
#include "core/manifest.h"

/* The caller keeps the directory. The bundle's chunk_info.json is the given manifest, even if the
 * directory's has changed. *ret_data is malloc'd, at most most_bytes. Errors: SW_EQUOTA, -errno. */
int gather_bundle(int directory, const struct swi_manifest *manifest, size_t most_bytes,
                  uint8_t **ret_data, size_t *ret_size, struct swi_error *error);

#endif
