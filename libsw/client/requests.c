/* SPDX-License-Identifier: MIT */
/* Requests about one model over one connection. */
#include "client/internal.h"

int swi_request_send_load(struct swi_connection *connection, struct swi_call *call,
                          const struct swi_binding *binding, uint32_t component, uint64_t deadline,
                          struct swi_error *error)
{
    struct swi_wire_load load = {.incarnation = binding->incarnation,
                                 .model = binding->wire_model,
                                 .chunk = binding->chunk[component]};
    uint8_t packet[sizeof(struct swi_wire_head) + sizeof load];
    struct swi_wire_out out;
    swi_call_begin(connection, call, &out, packet, sizeof packet, SWI_WIRE_LOAD);
    swi_wire_put(&out, &load, sizeof load);
    return swi_call_send(connection, call, &out, deadline, error);
}

int swi_request_load(struct swi_connection *connection, const struct swi_binding *binding,
                     uint32_t component, uint64_t deadline, struct swi_error *error)
{
    struct swi_call call;
    int result = swi_request_send_load(connection, &call, binding, component, deadline, error);
    if (result == 0)
        result = swi_call_wait(connection, &call, SWI_WIRE_DONE, deadline, error);
    swi_call_end(connection, &call);
    return result;
}

void swi_request_close(struct swi_connection *connection, uint32_t wire_model)
{
    struct swi_wire_close close_it = {.model = wire_model};
    uint8_t packet[sizeof(struct swi_wire_head) + sizeof close_it];
    struct swi_wire_out out;
    swi_wire_begin(&out, packet, sizeof packet, SWI_WIRE_CLOSE, 0);
    swi_wire_put(&out, &close_it, sizeof close_it);
    struct swi_error unreported;
    (void)swi_connection_post(connection, &out, swi_deadline_in(1000), &unreported);
}

void swi_request_prefetch(struct swi_connection *connection, const struct swi_binding *binding,
                          const uint32_t *chunks, uint32_t count)
{
    struct swi_wire_prefetch prefetch = {
        .incarnation = binding->incarnation, .model = binding->wire_model, .count = count};
    uint8_t packet[sizeof(struct swi_wire_head) + sizeof prefetch +
                   SWI_WIRE_PREFETCH_MAX * sizeof(uint32_t)];
    struct swi_wire_out out;
    swi_wire_begin(&out, packet, sizeof packet, SWI_WIRE_PREFETCH, 0);
    swi_wire_put(&out, &prefetch, sizeof prefetch);
    swi_wire_put(&out, chunks, count * sizeof *chunks);
    struct swi_error unreported; /* a hint: a broker that takes no requests now gets none */
    (void)swi_connection_post(connection, &out, 0, &unreported);
}
