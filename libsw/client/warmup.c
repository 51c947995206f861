/* SPDX-License-Identifier: MIT */
/* Loading ahead: warm-up, which waits, and prefetch, a hint. */
#include <errno.h>

#include "client/internal.h"

/* Loads in flight during warm-up: enough to keep the broker's disk queue busy, and far below its
 * limit for one client. */
#define WARMUP_WINDOW 8u

static int check_all(struct sw_model *model, const uint32_t *components, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int result = swi_model_check(model, components[i]);
        if (result < 0)
            return result;
    }
    return 0;
}

static bool is_resident(const struct swi_binding *binding, uint32_t component)
{
    struct swi_entry_value entry =
        swi_entry_get(binding->attachment->index, binding->chunk[component]);
    return entry.state == SWI_RESIDENT && entry.incarnation == binding->incarnation;
}

/* ---- warm-up --------------------------------------------------------------------------------- */

/* Loads components over one connection, a window of requests at a time. Counts the loaded ones in
 * *done. */
static int warm_up(struct sw_model *model, struct swi_connection *connection,
                   const struct swi_binding *binding, const uint32_t *components, size_t count,
                   size_t *done, uint64_t deadline, struct swi_error *error)
{
    struct swi_call calls[WARMUP_WINDOW];
    size_t sent = *done;
    int result = 0;
    while (*done < count && result == 0) {
        for (; sent < count && sent - *done < WARMUP_WINDOW && result == 0; sent++) {
            result = swi_request_send_load(connection, &calls[sent % WARMUP_WINDOW], binding,
                                           components[sent], deadline, error);
            if (result < 0)
                break;
        }
        if (result < 0)
            break;
        struct swi_call *oldest = &calls[*done % WARMUP_WINDOW];
        result = swi_call_wait(connection, oldest, SWI_WIRE_DONE, deadline, error);
        if (result < 0) {
            (void)swi_fail_within(error, result,
                                  "component %s: ", model->components[components[*done]].name);
            break;
        }
        swi_call_end(connection, oldest);
        ++*done;
    }
    for (size_t i = *done; i < sent; i++)
        swi_call_end(connection, &calls[i % WARMUP_WINDOW]);
    return result;
}

int sw_model_warmup(sw_model *model, const uint32_t *components, size_t count)
{
    int result = check_all(model, components, count);
    if (result < 0)
        return result;
    struct sw_client *client = model->client;
    uint64_t deadline = swi_client_deadline(client);
    struct swi_error error = {0};
    size_t done = 0;
    do {
        const struct swi_binding *binding;
        struct swi_connection *connection;
        result = swi_model_session(model, deadline, &binding, &connection, &error);
        if (result < 0)
            break;
        result = warm_up(model, connection, binding, components, count, &done, deadline, &error);
        swi_client_drop(model->client, connection);
    } while (result == SW_EDISCONNECTED && !swi_over(deadline));
    if (result < 0) {
        (void)swi_fail_within(&error, result, "model %s: ", model->name);
        return swi_client_fail(client, &error);
    }
    return 0;
}

/* ---- prefetch -------------------------------------------------------------------------------- */

int sw_model_prefetch(sw_model *model, const uint32_t *components, size_t count)
{
    int result = check_all(model, components, count);
    if (result < 0)
        return result;
    struct sw_client *client = model->client;
    const struct swi_binding *binding = atomic_load_explicit(&model->binding, memory_order_acquire);
    if (!binding || !swi_attachment_ours(binding->attachment))
        return 0; /* no session: the next lease opens one */
    uint32_t chunks[SWI_WIRE_PREFETCH_MAX];
    uint32_t wanted = 0;
    for (size_t i = 0; i < count && wanted < SWI_WIRE_PREFETCH_MAX; i++)
        if (!is_resident(binding, components[i]))
            chunks[wanted++] = binding->chunk[components[i]];
    if (wanted == 0)
        return 0;
    struct swi_connection *connection = NULL;
    swi_lock(client);
    if (binding->attachment == client->current && client->connection &&
        swi_connection_usable(client->connection)) {
        connection = client->connection;
        swi_connection_ref(connection);
    }
    swi_unlock(client);
    if (!connection)
        return 0;
    atomic_fetch_add_explicit(&client->prefetches, wanted, memory_order_relaxed);
    swi_request_prefetch(connection, binding, chunks, wanted);
    swi_client_drop(model->client, connection);
    return 0;
}
