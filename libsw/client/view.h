/* SPDX-License-Identifier: MIT */
/* Parsed views of a chunk: names, offsets and shapes of its tensors.
 *
 * A view holds offsets into the chunk, never addresses, so it stays valid when the chunk moves or
 * is loaded again, by this broker or the next: the same digest means the same view. Names are in a
 * separate block (strings) that the model keeps, because callers hold pointers to them.
 *
 * Pure: bytes in, a view out.
 */
#ifndef SWI_CLIENT_VIEW_H
#define SWI_CLIENT_VIEW_H

#include <stdbool.h>

#include <sw/client.h>

#include "client/component_cache.h"
#include "core/error.h"

/* Names of tensors, in order of offset, then key, value, key, value … of the metadata. One
 * allocation. */
struct swi_strings {
    size_t tensors, metadata; /* at[0 … tensors), then 2 × metadata more */
    uint64_t bytes;           /* of this allocation */
    const char *at[];
};

struct swi_view_tensor {
    uint64_t offset; /* from the start of the chunk */
    uint64_t bytes;
    uint64_t shape[SW_RANK_MAX];
    uint32_t rank;
    enum sw_dtype dtype;
    enum sw_layout layout;
    uint32_t by_name; /* the i-th smallest name is that of tensor[tensor[i].by_name] */
};

struct swi_view {
    struct swi_cached cached;
    uint32_t references; /* the cache's and one per component handle; under the client's lock */
    const struct swi_strings *strings; /* borrowed from the model */
    size_t count;
    struct swi_view_tensor tensor[];
};

/* Parses the chunk. known: the strings of an earlier parse of the same component, or NULL. If
 * given, the strings must be equal, and *ret_strings is known; otherwise *ret_strings is new and
 * the caller's. Errors: SW_EFORMAT, SW_EUNSUPPORTED, -ENOMEM. */
int swi_view_parse(const void *chunk, uint64_t bytes, const struct swi_strings *known,
                   struct swi_view **ret, const struct swi_strings **ret_strings,
                   struct swi_error *error);

/* The number of the named tensor, or -1. */
int64_t swi_view_find(const struct swi_view *view, const char *name);

#endif
