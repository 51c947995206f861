/* SPDX-License-Identifier: MIT */
/* The client handle: options, opening and closing, its figures. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/internal.h"
#include "core/sized.h"

#define DEFAULT_TIMEOUT_MS 30000

/* ---- opening and closing --------------------------------------------------------------------- */

static struct sw_client *create(const struct sw_client_options *options, struct swi_error *error)
{
    struct sw_client *client = calloc(1, sizeof *client);
    if (!client) {
        (void)swi_fail(error, -ENOMEM, "out of memory");
        return NULL;
    }
    const char *name = options->name ? options->name : program_invocation_short_name;
    (void)snprintf(client->name, sizeof client->name, "%s", name);
    client->timeout_ms = options->timeout_ms ? options->timeout_ms : DEFAULT_TIMEOUT_MS;
    client->any_server_uid = options->any_server_uid;
    client->socket_path = strdup(swi_socket_path(options->socket_path));
    int result = client->socket_path ? swi_condition_init(&client->changed) : -ENOMEM;
    if (result == 0) {
        result = swi_fork_lock_init(&client->lock);
        if (result < 0)
            pthread_cond_destroy(&client->changed);
    }
    if (result < 0) {
        free(client->socket_path);
        free(client);
        (void)swi_fail(error, result, "cannot set up a client: %s", sw_strerror(result));
        return NULL;
    }
    client->process = swi_process();
    client->served_at = client->socket_path;
    return client;
}

int sw_client_open(const struct sw_client_options *options, sw_client **ret_client)
{
    struct sw_client_options known = {0};
    struct swi_error error = {0};
    int result = swi_sized_in(&known, sizeof known, options, options ? options->size : 0, &error);
    struct sw_client *client = NULL;
    if (result == 0) {
        client = create(&known, &error);
        result = client ? swi_autostart_init(&client->autostart, &known, &error) : error.code;
    }
    if (result == 0)
        result = swi_session_begin(client, swi_client_deadline(client), &error);
    if (result < 0) {
        sw_client_close(client);
        if (options && known.error && known.error_size > 0)
            (void)snprintf(known.error, known.error_size, "%s", error.text);
        return result;
    }
    *ret_client = client;
    return 0;
}

static void destroy_all(struct swi_attachment *attachment)
{
    while (attachment) {
        struct swi_attachment *next = SLIST_NEXT(attachment, link);
        swi_attachment_destroy(attachment);
        attachment = next;
    }
}

void sw_client_close(sw_client *client)
{
    if (!client)
        return;
    swi_lock(client);
    if (client->process != swi_process())
        swi_session_disown(client);
    swi_connection_unref(client->connection);
    client->connection = NULL;
    swi_unlock(client);
    swi_attachment_destroy(client->current);
    destroy_all(SLIST_FIRST(&client->retired));
    destroy_all(SLIST_FIRST(&client->parked));
    swi_fork_lock_fini(&client->lock);
    pthread_cond_destroy(&client->changed);
    swi_autostart_fini(&client->autostart);
    free(client->socket_path);
    free(client);
}

int sw_client_socket_path(const sw_client *client, char *text, size_t size)
{
    struct sw_client *owner = (struct sw_client *)(uintptr_t)client; /* to lock it */
    swi_lock(owner);
    int length = snprintf(text, size, "%s", client->served_at);
    swi_unlock(owner);
    return length < 0 || (size_t)length >= size ? -ERANGE : 0;
}

/* ---- figures --------------------------------------------------------------------------------- */

int sw_client_get_stats(sw_client *client, struct sw_client_stats *stats)
{
    struct sw_client_stats now = {0};
    swi_lock(client);
    if (client->process != swi_process())
        swi_session_disown(client);
    now.hits = client->past_hits;
    if (client->current) {
        now.hits += swi_page_hits(client->current->page);
        now.mapped_bytes = client->current->arena_bytes;
    }
    const struct swi_attachment *attachment;
    SLIST_FOREACH(attachment, &client->retired, link)
    now.mapped_bytes += attachment->arena_bytes;
    now.misses = atomic_load_explicit(&client->misses, memory_order_relaxed);
    now.prefetches = atomic_load_explicit(&client->prefetches, memory_order_relaxed);
    now.revoked = atomic_load_explicit(&client->revoked, memory_order_relaxed);
    now.reconnects = client->sessions > 1 ? client->sessions - 1 : 0;
    swi_unlock(client);
    return swi_sized_out(stats, stats->size, &now, sizeof now);
}
