/* SPDX-License-Identifier: MIT */
/* Model handles: opening a revision, sessions of a model, its components. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/internal.h"
#include "core/sized.h"

/* ---- opening --------------------------------------------------------------------------------- */

static int create(struct sw_client *client, const char *name, struct swi_opened *opened,
                  struct sw_model **ret)
{
    struct sw_model *model = calloc(1, sizeof *model);
    if (!model)
        return -ENOMEM;
    model->client = client;
    model->count = opened->count;
    model->references = 1;
    model->name = strdup(name);
    model->strings = calloc(opened->count, sizeof(struct swi_strings *));
    if (!model->name || !model->strings ||
        swi_component_cache_init(&model->cache, opened->count, opened->count) < 0) {
        free(model->name);
        free(model->strings);
        free(model);
        return -ENOMEM;
    }
    model->components = opened->components;
    opened->components = NULL;
    SLIST_INIT(&model->bindings);
    *ret = model;
    return 0;
}

/* One attempt. 1: the session was replaced in the meantime; try again. */
static int open_once(struct sw_client *client, const char *name, uint64_t deadline,
                     struct sw_model **ret, struct swi_error *error)
{
    swi_lock(client);
    int result = swi_session_ensure(client, deadline, error);
    struct swi_connection *connection = client->connection;
    struct swi_attachment *attachment = client->current;
    if (result == 0)
        swi_connection_ref(connection);
    swi_unlock(client);
    if (result < 0)
        return result;
    struct swi_opened opened = {0};
    result = swi_table_fetch(connection, attachment, name, deadline, &opened, error);
    swi_lock(client);
    swi_connection_unref(connection);
    /* While another thread reconnects, the list of models to reopen is already fixed. */
    bool replaced = client->current != attachment || client->connecting;
    if (replaced)
        result = 1;
    struct sw_model *model = NULL;
    if (result == 0 && create(client, name, &opened, &model) < 0)
        result = swi_fail(error, -ENOMEM, "out of memory");
    if (result == 0) {
        swi_model_bind(model, &opened);
        LIST_INSERT_HEAD(&client->models, model, link);
        *ret = model;
    }
    swi_unlock(client);
    swi_opened_fini(&opened);
    return result == SW_EDISCONNECTED ? 1 : result;
}

int sw_model_open(sw_client *client, const char *name, sw_model **ret_model)
{
    uint64_t deadline = swi_client_deadline(client);
    struct swi_error error = {0};
    int result;
    do
        result = open_once(client, name, deadline, ret_model, &error);
    while (result == 1 && !swi_over(deadline));
    if (result == 1)
        result = swi_fail(&error, SW_EDISCONNECTED, "the broker went away repeatedly");
    if (result == 0)
        return 0;
    if (!strstr(error.text, name)) /* the broker's messages name it themselves */
        (void)swi_fail_within(&error, result, "model %s: ", name);
    return swi_client_fail(client, &error);
}

void sw_model_close(sw_model *model)
{
    if (!model)
        return;
    struct sw_client *client = model->client;
    swi_lock(client);
    LIST_REMOVE(model, link);
    const struct swi_binding *binding = atomic_load_explicit(&model->binding, memory_order_acquire);
    bool ours = client->process == swi_process() && binding &&
                binding->attachment == client->current && client->connection;
    struct swi_connection *connection = ours ? client->connection : NULL;
    uint32_t wire_model = ours ? binding->wire_model : 0;
    if (connection)
        swi_connection_ref(connection);
    swi_model_unref(model);
    swi_unlock(client);
    if (!connection)
        return;
    swi_request_close(connection, wire_model);
    swi_client_drop(client, connection);
}

/* ---- sessions -------------------------------------------------------------------------------- */

static bool usable(const struct swi_binding *binding)
{
    return binding && swi_attachment_ours(binding->attachment) &&
           !swi_attachment_retired(binding->attachment);
}

int swi_model_ready(struct sw_model *model, uint64_t deadline, const struct swi_binding **ret,
                    struct swi_error *error)
{
    struct sw_client *client = model->client;
    for (;;) {
        const struct swi_binding *binding =
            atomic_load_explicit(&model->binding, memory_order_acquire);
        if (usable(binding)) {
            *ret = binding;
            return 0;
        }
        swi_lock(client);
        int result = swi_session_ensure(client, deadline, error);
        if (result == 0 && model->stale.code) {
            *error = model->stale;
            result = error->code;
        }
        swi_unlock(client);
        if (result < 0)
            return result;
        if (swi_over(deadline))
            return swi_fail(error, SW_EDISCONNECTED, "the broker went away repeatedly");
    }
}

int swi_model_connect(struct sw_model *model, const struct swi_binding *binding, uint64_t deadline,
                      struct swi_connection **ret, struct swi_error *error)
{
    struct sw_client *client = model->client;
    swi_lock(client);
    int result = swi_session_ensure(client, deadline, error);
    if (result == 0 && binding->attachment != client->current)
        result = 1;
    if (result == 0) {
        swi_connection_ref(client->connection);
        *ret = client->connection;
    }
    swi_unlock(client);
    return result;
}

int swi_model_session(struct sw_model *model, uint64_t deadline,
                      const struct swi_binding **ret_binding,
                      struct swi_connection **ret_connection, struct swi_error *error)
{
    int result;
    do {
        result = swi_model_ready(model, deadline, ret_binding, error);
        if (result == 0)
            result = swi_model_connect(model, *ret_binding, deadline, ret_connection, error);
    } while (result == 1);
    return result;
}

/* ---- components ------------------------------------------------------------------------------ */

uint32_t sw_model_component_count(const sw_model *model)
{
    return model->count;
}

int swi_model_check(struct sw_model *model, uint32_t component)
{
    if (component < model->count)
        return 0;
    return swi_client_failf(model->client, SW_ENOCOMPONENT,
                            "model %s has %" PRIu32 " components, not a component %" PRIu32,
                            model->name, model->count, component);
}

int sw_model_component_info(sw_model *model, uint32_t component, struct sw_component_info *info)
{
    int result = swi_model_check(model, component);
    if (result < 0)
        return result;
    struct sw_component_info now = {.name = model->components[component].name,
                                    .bytes = model->components[component].bytes};
    const struct swi_binding *binding = atomic_load_explicit(&model->binding, memory_order_acquire);
    if (binding && swi_attachment_ours(binding->attachment)) {
        struct swi_entry_value entry =
            swi_entry_get(binding->attachment->index, binding->chunk[component]);
        now.resident = entry.state == SWI_RESIDENT && entry.incarnation == binding->incarnation;
    }
    return swi_sized_out(info, info->size, &now, sizeof now);
}

int sw_model_find(const sw_model *model, const char *component_name)
{
    for (uint32_t i = 0; i < model->count; i++)
        if (strcmp(model->components[i].name, component_name) == 0)
            return (int)i;
    return SW_ENOCOMPONENT;
}
