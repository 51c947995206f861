/* SPDX-License-Identifier: MIT */
/* OPEN and TABLE: the components of a model, and their chunks in this session's index. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/internal.h"

void swi_components_free(struct swi_component_desc *components, uint32_t count)
{
    for (uint32_t i = 0; components && i < count; i++)
        free(components[i].name);
    free(components);
}

void swi_opened_fini(struct swi_opened *opened)
{
    free(opened->binding);
    swi_components_free(opened->components, opened->count);
    *opened = (struct swi_opened){0};
}

static int ask_open(struct swi_connection *connection, const char *name, uint64_t deadline,
                    struct swi_wire_opened *ret, struct swi_error *error)
{
    size_t length = strlen(name);
    if (length == 0 || length > SWI_NAME_MAX)
        return swi_fail(error, SW_ENOMODEL, "a model name must have 1 to %u bytes", SWI_NAME_MAX);
    struct swi_wire_open open = {0};
    memcpy(open.name, name, length);
    uint8_t packet[sizeof(struct swi_wire_head) + sizeof open];
    struct swi_wire_out out;
    struct swi_call call;
    swi_call_begin(connection, &call, &out, packet, sizeof packet, SWI_WIRE_OPEN);
    swi_wire_put(&out, &open, sizeof open);
    int result = swi_call_exchange(connection, &call, &out, SWI_WIRE_OPENED, deadline, error);
    if (result < 0)
        return result;
    bool whole = swi_wire_get(&call.in, ret, sizeof *ret);
    swi_call_end(connection, &call);
    if (!whole || ret->chunks == 0 || ret->chunks > SWI_COMPONENTS_MAX || ret->incarnation == 0)
        return swi_fail(error, SW_EPROTOCOL,
                        "the broker reports that %s has %" PRIu32 " components", name, ret->chunks);
    return 0;
}

static int take_row(struct swi_opened *opened, struct swi_attachment *attachment, uint32_t at,
                    struct swi_call *call, struct swi_error *error)
{
    struct swi_wire_row row;
    const char *name;
    if (!swi_wire_get_row(&call->in, &row, &name) || row.chunk >= SWI_CHUNKS || row.bytes == 0 ||
        row.name_length == 0 || memchr(name, 0, row.name_length))
        return swi_fail(error, SW_EPROTOCOL,
                        "the broker's table is malformed at component %" PRIu32, at);
    struct swi_entry_value entry = swi_entry_get(attachment->index, row.chunk);
    if (entry.incarnation != opened->binding->incarnation || entry.bytes != row.bytes)
        return swi_fail(error, SW_ESTALE,
                        "the model was replaced while it was opened; open it again");
    struct swi_component_desc *component = &opened->components[at];
    component->name = strndup(name, row.name_length);
    if (!component->name)
        return swi_fail(error, -ENOMEM, "out of memory");
    component->bytes = row.bytes;
    component->digest = (struct swi_digest){.low = entry.digest_low, .high = entry.digest_high};
    opened->binding->chunk[at] = row.chunk;
    return 0;
}

/* Takes the rows of one TABLE_PART; *at is the next component. */
static int take_part(struct swi_opened *opened, struct swi_attachment *attachment, uint32_t *at,
                     struct swi_call *call, struct swi_error *error)
{
    struct swi_wire_table_part part;
    if (!swi_wire_get(&call->in, &part, sizeof part) || part.first != *at || part.count == 0 ||
        part.count > opened->count - *at)
        return swi_fail(error, SW_EPROTOCOL,
                        "the broker's table is out of order at component %" PRIu32, *at);
    for (uint32_t i = 0; i < part.count; i++, ++*at) {
        int result = take_row(opened, attachment, *at, call, error);
        if (result < 0)
            return result;
    }
    return 0;
}

static int fetch_rows(struct swi_connection *connection, struct swi_attachment *attachment,
                      uint64_t deadline, struct swi_opened *opened, struct swi_error *error)
{
    for (uint32_t at = 0; at < opened->count;) {
        struct swi_wire_table table = {.model = opened->binding->wire_model, .first = at};
        uint8_t packet[sizeof(struct swi_wire_head) + sizeof table];
        struct swi_wire_out out;
        struct swi_call call;
        swi_call_begin(connection, &call, &out, packet, sizeof packet, SWI_WIRE_TABLE);
        swi_wire_put(&out, &table, sizeof table);
        int result =
            swi_call_exchange(connection, &call, &out, SWI_WIRE_TABLE_PART, deadline, error);
        if (result < 0)
            return result;
        result = take_part(opened, attachment, &at, &call, error);
        swi_call_end(connection, &call);
        if (result < 0)
            return result;
    }
    return 0;
}

int swi_table_fetch(struct swi_connection *connection, struct swi_attachment *attachment,
                    const char *name, uint64_t deadline, struct swi_opened *ret,
                    struct swi_error *error)
{
    struct swi_wire_opened answer;
    int result = ask_open(connection, name, deadline, &answer, error);
    if (result < 0)
        return result;
    struct swi_opened opened = {.count = answer.chunks};
    opened.components = calloc(answer.chunks, sizeof *opened.components);
    opened.binding = calloc(1, sizeof *opened.binding + answer.chunks * sizeof(uint32_t));
    if (!opened.components || !opened.binding) {
        swi_opened_fini(&opened);
        return swi_fail(error, -ENOMEM, "out of memory");
    }
    opened.binding->attachment = attachment;
    opened.binding->incarnation = answer.incarnation;
    opened.binding->wire_model = answer.model;
    result = fetch_rows(connection, attachment, deadline, &opened, error);
    if (result < 0) {
        swi_request_close(connection, answer.model);
        swi_opened_fini(&opened);
        return result;
    }
    *ret = opened;
    return 0;
}
