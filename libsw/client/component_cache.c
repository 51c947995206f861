/* SPDX-License-Identifier: MIT */
/* Least-recently-used order over embedded entries, with a table by component number. */
#include "client/component_cache.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

int swi_component_cache_init(struct swi_component_cache *cache, uint32_t components,
                             uint32_t capacity)
{
    struct swi_cached **table = calloc(components ? components : 1, sizeof *table);
    if (!table)
        return -ENOMEM;
    *cache = (struct swi_component_cache){
        .table = table, .components = components, .capacity = capacity};
    TAILQ_INIT(&cache->list);
    return 0;
}

void swi_component_cache_fini(struct swi_component_cache *cache)
{
    assert(cache->count == 0 && "entries belong to the caller, who must take them out first");
    free(cache->table);
    cache->table = NULL;
}

struct swi_cached *swi_component_cache_peek(const struct swi_component_cache *cache,
                                            uint32_t component)
{
    assert(component < cache->components);
    return cache->table[component];
}

struct swi_cached *swi_component_cache_find(struct swi_component_cache *cache, uint32_t component)
{
    struct swi_cached *entry = swi_component_cache_peek(cache, component);
    if (!entry) {
        cache->misses++;
        return NULL;
    }
    cache->hits++;
    if (entry != TAILQ_FIRST(&cache->list)) {
        TAILQ_REMOVE(&cache->list, entry, link);
        TAILQ_INSERT_HEAD(&cache->list, entry, link);
    }
    return entry;
}

void swi_component_cache_put(struct swi_component_cache *cache, struct swi_cached *entry)
{
    assert(entry->component < cache->components);
    assert(!cache->table[entry->component]);
    cache->table[entry->component] = entry;
    TAILQ_INSERT_HEAD(&cache->list, entry, link);
    cache->count++;
    cache->private_bytes += entry->private_bytes;
    cache->mapped_bytes += entry->mapped_bytes;
}

static struct swi_cached *take(struct swi_component_cache *cache, struct swi_cached *entry)
{
    TAILQ_REMOVE(&cache->list, entry, link);
    cache->table[entry->component] = NULL;
    cache->count--;
    cache->private_bytes -= entry->private_bytes;
    cache->mapped_bytes -= entry->mapped_bytes;
    return entry;
}

struct swi_cached *swi_component_cache_take_surplus(struct swi_component_cache *cache)
{
    bool too_heavy = cache->capacity_bytes && cache->mapped_bytes > cache->capacity_bytes;
    if (cache->count <= cache->capacity && !too_heavy)
        return NULL;
    cache->evictions++;
    /* what cannot stay in any company must not first drive out the others */
    struct swi_cached *newest = TAILQ_FIRST(&cache->list);
    bool hopeless = too_heavy && newest->mapped_bytes > cache->capacity_bytes;
    return take(cache, hopeless ? newest : TAILQ_LAST(&cache->list, swi_cached_list));
}

struct swi_cached *swi_component_cache_take_any(struct swi_component_cache *cache)
{
    struct swi_cached *entry = TAILQ_LAST(&cache->list, swi_cached_list);
    return entry ? take(cache, entry) : NULL;
}
