/* SPDX-License-Identifier: MIT */
/* The component cache's order: which components are kept parsed, least recently used last.
 *
 * Pure: no I/O, no clock, no locks, no memory of its own apart from the table that init makes. What
 * an entry stands for (parsed views) is the caller's; entries are embedded in the caller's structs.
 *
 * Invariants: an entry is in the table exactly while it is in the list; count, private_bytes and
 * mapped_bytes are sums over the list; between calls count may exceed capacity, and mapped_bytes
 * capacity_bytes, only until the caller has taken every surplus entry out with
 * swi_component_cache_take_surplus.
 */
#ifndef SWI_CLIENT_COMPONENT_CACHE_H
#define SWI_CLIENT_COMPONENT_CACHE_H

#include <stdint.h>
#include <sys/queue.h>

struct swi_cached {
    TAILQ_ENTRY(swi_cached) link; /* most recently used first */
    uint64_t private_bytes;       /* heap that the entry's views take */
    uint64_t mapped_bytes;        /* arena bytes that they describe */
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

/* The entry of a component, now the most recently used; counts a hit. NULL counts a miss. */
struct swi_cached *swi_component_cache_find(struct swi_component_cache *cache, uint32_t component);
/* The entry, or NULL; changes nothing. */
struct swi_cached *swi_component_cache_peek(const struct swi_component_cache *cache,
                                            uint32_t component);
/* Keeps an entry as the most recently used. There must be none for its component. */
void swi_component_cache_put(struct swi_component_cache *cache, struct swi_cached *entry);

/* Takes the least recently used entry out while there is more than either limit allows, and counts
 * an eviction; NULL: none too many. The newest goes first if it is larger than capacity_bytes by
 * itself. */
struct swi_cached *swi_component_cache_take_surplus(struct swi_component_cache *cache);
/* Takes any entry out; NULL: the cache is empty. */
struct swi_cached *swi_component_cache_take_any(struct swi_component_cache *cache);

#endif
