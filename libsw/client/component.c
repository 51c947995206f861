/* SPDX-License-Identifier: MIT */
/* Components: a lease and the parsed views of its chunk, and the cache of views.
 *
 * A component holds a pin only while it is acquired. Handles come from the model's list of idle
 * ones, so that a warm acquire allocates nothing.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/views.h"
#include "core/sized.h"

/* ---- acquire and release --------------------------------------------------------------------- */

/* Parses the leased chunk. Lock not held. */
static int parse(struct sw_model *model, uint32_t component, const struct sw_lease *lease,
                 struct swi_view **ret)
{
    struct sw_client *client = model->client;
    swi_lock(client);
    const struct swi_strings *known = model->strings[component];
    swi_unlock(client);
    struct swi_view *view;
    const struct swi_strings *strings;
    struct swi_error error = {0};
    int result = swi_view_parse(lease->data, lease->bytes, known, &view, &strings, &error);
    if (result == 0 && !swi_lease_valid(lease)) {
        /* The pin was revoked during parsing: the view may be of other bytes and must not be kept.
         * The caller's release reports it. */
        free(view);
        if (strings != known)
            free((void *)(uintptr_t)strings);
        result = swi_fail(&error, SW_EREVOKED, "the broker revoked the lease");
    }
    if (result < 0) {
        (void)swi_fail_within(&error, result, "model %s, component %s: ", model->name,
                              model->components[component].name);
        return swi_client_fail(client, &error);
    }
    swi_lock(client);
    *ret = swi_views_keep(model, component, view, strings);
    swi_unlock(client);
    return 0;
}

static void put_back(struct sw_model *model, struct sw_component *handle)
{
    if (handle->view)
        swi_view_unref(handle->view);
    handle->view = NULL;
    handle->next = model->idle;
    model->idle = handle;
}

static int acquire(struct sw_model *model, uint32_t component, const struct swi_patience *patience,
                   sw_component **ret_component)
{
    struct sw_client *client = model->client;
    swi_session_glance(client);
    struct sw_lease lease;
    int result = swi_lease_acquire_patiently(model, component, patience, &lease);
    if (result < 0)
        return result;

    swi_lock(client);
    struct sw_component *handle = model->idle;
    if (handle)
        model->idle = handle->next;
    struct swi_view *view = swi_views_find(model, component);
    swi_unlock(client);

    if (!handle) {
        handle = calloc(1, sizeof *handle);
        if (!handle)
            result = swi_client_failf(client, -ENOMEM, "out of memory");
    }
    if (result == 0 && !view)
        result = parse(model, component, &lease, &view);
    if (result == 0) {
        *handle = (struct sw_component){.lease = lease, .model = model, .view = view};
        *ret_component = handle;
        return 0;
    }
    /* A lease revoked during parsing explains any error of the parser. */
    int released = sw_lease_release(&lease);
    swi_lock(client);
    if (handle)
        put_back(model, handle);
    if (!handle && view)
        swi_view_unref(view);
    swi_unlock(client);
    return released == SW_EREVOKED ? released : result;
}

int sw_component_acquire(sw_model *model, uint32_t component, sw_component **ret_component)
{
    static const struct swi_patience usual;
    return acquire(model, component, &usual, ret_component);
}

int sw_component_acquire_within(sw_model *model, uint32_t component, const struct sw_wait *wait,
                                sw_component **ret_component)
{
    struct swi_patience patience;
    int result = swi_wait_begin(model->client, wait, &patience);
    if (result < 0)
        return result;
    result = acquire(model, component, &patience, ret_component);
    swi_wait_end(&patience);
    return result;
}

int sw_component_release(sw_component *component)
{
    struct sw_model *model = component->model;
    int result = sw_lease_release(&component->lease);
    swi_lock(model->client);
    put_back(model, component);
    swi_unlock(model->client);
    return result;
}

/* ---- tensors --------------------------------------------------------------------------------- */

uint32_t sw_component_tensor_count(const sw_component *component)
{
    return (uint32_t)component->view->count;
}

int sw_component_tensor_at(const sw_component *component, uint32_t index, struct sw_tensor *tensor)
{
    const struct swi_view *view = component->view;
    if (index >= view->count)
        return SW_ENOCOMPONENT;
    const struct swi_view_tensor *from = &view->tensor[index];
    struct sw_tensor now = {.name = view->strings->at[index],
                            .data = (const uint8_t *)component->lease.data + from->offset,
                            .bytes = from->bytes,
                            .rank = from->rank,
                            .dtype = from->dtype,
                            .layout = from->layout};
    uint64_t stride = 1;
    for (uint32_t i = from->rank; i-- > 0;) {
        now.shape[i] = from->shape[i];
        now.strides[i] = stride;
        stride *= from->shape[i];
    }
    return swi_sized_out(tensor, tensor->size, &now, sizeof now);
}

int sw_component_tensor(const sw_component *component, const char *name, struct sw_tensor *tensor)
{
    int64_t index = swi_view_find(component->view, name);
    if (index < 0)
        return swi_client_failf(
            component->model->client, SW_ENOCOMPONENT, "model %s, component %s: no tensor %s",
            component->model->name,
            component->model->components[component->view->cached.component].name, name);
    return sw_component_tensor_at(component, (uint32_t)index, tensor);
}

const char *sw_component_metadata(const sw_component *component, const char *key)
{
    const struct swi_strings *strings = component->view->strings;
    for (size_t i = 0; i < strings->metadata; i++)
        if (strcmp(strings->at[strings->tensors + 2 * i], key) == 0)
            return strings->at[strings->tensors + 2 * i + 1];
    return NULL;
}

/* ---- the cache ------------------------------------------------------------------------------- */

int sw_model_get_cache_info(sw_model *model, struct sw_cache_info *info)
{
    swi_lock(model->client);
    const struct swi_component_cache *cache = &model->cache;
    struct sw_cache_info now = {.capacity = cache->capacity,
                                .count = cache->count,
                                .hits = cache->hits,
                                .misses = cache->misses,
                                .private_bytes = cache->private_bytes,
                                .mapped_bytes = cache->mapped_bytes,
                                .capacity_bytes = cache->capacity_bytes,
                                .evictions = cache->evictions};
    swi_unlock(model->client);
    return swi_sized_out(info, info->size, &now, sizeof now);
}

int sw_model_cached_names(sw_model *model, const char **names, size_t capacity)
{
    swi_lock(model->client);
    size_t count = 0;
    struct swi_cached *cached;
    TAILQ_FOREACH(cached, &model->cache.list, link)
    {
        if (count < capacity)
            names[count] = model->components[cached->component].name;
        count++;
    }
    swi_unlock(model->client);
    return (int)count;
}

int sw_model_set_cache_size(sw_model *model, uint32_t components)
{
    swi_lock(model->client);
    model->cache.capacity = components;
    swi_views_trim(model);
    swi_unlock(model->client);
    return 0;
}

int sw_model_set_cache_bytes(sw_model *model, uint64_t bytes)
{
    swi_lock(model->client);
    model->cache.capacity_bytes = bytes;
    swi_views_trim(model);
    swi_unlock(model->client);
    return 0;
}

void sw_model_clear_cache(sw_model *model)
{
    swi_lock(model->client);
    swi_views_clear(model);
    swi_unlock(model->client);
}
