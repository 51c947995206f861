/* SPDX-License-Identifier: MIT */
/* The component cache: which components stay parsed, in order of use.
 *
 * Pure: no I/O, no clock, no locks, and no memory except the table that init allocates. The caller
 * embeds entries in its structs and owns what they stand for (parsed views).
 *
 * Invariants: an entry is in the table exactly while it is in the list; count, private_bytes and
 * mapped_bytes are sums over the list; count may exceed capacity, and mapped_bytes capacity_bytes,
 * only until the caller has taken out every surplus entry with swi_component_cache_take_surplus.
 */
#ifndef SWI_CLIENT_COMPONENT_CACHE_H
#define SWI_CLIENT_COMPONENT_CACHE_H

#include <stdint.h>
#include <sys/queue.h>

struct swi_cached {
    TAILQ_ENTRY(swi_cached) link; /* most recently used first */
    uint64_t private_bytes;       /* heap of the entry's views */
    uint64_t mapped_bytes;        /* chunk bytes that they describe */
    uint32_t component;
};

struct swi_component_cache {
    TAILQ_HEAD(swi_cached_list, swi_cached) list;
    struct swi_cached **table; /* [components]; NULL: not kept */
    uint32_t components;
    uint32_t capacity;
    uint32_t count;
    uint64_t capacity_bytes; /* of mapped_bytes; 0: no limit */
    uint64_t hits, misses, evictions;
    uint64_t private_bytes, mapped_bytes;
};

/* components: of the model. Errors: -ENOMEM. */
int swi_component_cache_init(struct swi_component_cache *cache, uint32_t components,
                             uint32_t capacity);
/* The cache must be empty: the entries belong to the caller. */
void swi_component_cache_fini(struct swi_component_cache *cache);

/* The entry of a component, which becomes the most recently used, and counts a hit; NULL counts a
 * miss. */
struct swi_cached *swi_component_cache_find(struct swi_component_cache *cache, uint32_t component);
/* The entry, or NULL, without any change. */
struct swi_cached *swi_component_cache_peek(const struct swi_component_cache *cache,
                                            uint32_t component);
/* Adds an entry as the most recently used. Its component must not have one. */
void swi_component_cache_put(struct swi_component_cache *cache, struct swi_cached *entry);

/* Takes out the least recently used entry if a limit is exceeded, and counts an eviction; NULL:
 * none is surplus. An entry larger than capacity_bytes is taken out first, even if it is the
 * newest. */
struct swi_cached *swi_component_cache_take_surplus(struct swi_component_cache *cache);
/* Takes out any entry; NULL: the cache is empty. */
struct swi_cached *swi_component_cache_take_any(struct swi_component_cache *cache);

#endif
