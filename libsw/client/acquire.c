/* SPDX-License-Identifier: MIT */
/* Leases: the hit path, and the slow path, which may wait.
 *
 *   claim a slot ─▶ attachment retired? ─▶ look: resident ─▶ note the hit, done
 *        │                │                   │
 *      EBUSY         take it back,        keep the slot, LOAD, wait, look again
 *                    slow path
 *
 * A hit makes no system call, takes no lock and allocates nothing. Shared memory is touched through
 * core/lease only.
 */
#include <assert.h>
#include <errno.h>

#include "client/internal.h"
#include "core/sized.h"

/* Limit of looks at one chunk: a pinned chunk stays once it is resident, so more than two rounds
 * mean that the broker's answers contradict its index. */
#define ROUNDS_MAX 8
/* A thread checks for a new broker once in so many leases. */
#define GLANCE_EVERY 256

/* Where this thread first looks for a free slot: threads start on different cache lines of the slot
 * table (a line has four slots), and each returns to its last slot. initial-exec: 8 bytes of static
 * TLS instead of a call. */
static _Thread_local struct {
    uint32_t hint;
    uint32_t countdown;
} thread __attribute__((tls_model("initial-exec")));

static _Atomic uint32_t threads_seen;

/* Runs once in GLANCE_EVERY leases, and at the first lease of a thread. */
static __attribute__((noinline, cold)) void now_and_then(struct sw_client *client)
{
    if (thread.hint == 0)
        thread.hint = atomic_fetch_add_explicit(&threads_seen, 4, memory_order_relaxed) % SWI_SLOTS;
    thread.countdown = GLANCE_EVERY;
    swi_session_glance(client);
}

/* Gives back a slot; on a retired attachment it may have been the last one. */
static void drop(struct sw_client *client, struct swi_attachment *attachment, uint32_t slot)
{
    swi_pin_drop(attachment->page, slot);
    if (__builtin_expect(swi_attachment_retired(attachment), 0))
        swi_session_tidy(client);
}

static inline bool fill(struct sw_model *model, const struct swi_binding *binding,
                        uint32_t component, uint32_t slot, const struct swi_sight *sight,
                        struct sw_lease *ret)
{
    struct swi_attachment *attachment = binding->attachment;
    /* The index is shared memory: check it against the mapping. */
    if (__builtin_expect(sight->bytes != model->components[component].bytes ||
                             sight->bytes > attachment->arena_bytes ||
                             sight->offset > attachment->arena_bytes - sight->bytes,
                         0))
        return false;
    *ret = (struct sw_lease){
        .data = attachment->arena + sight->offset,
        .bytes = sight->bytes,
        .model = model,
        .generation = sight->generation,
        .epoch = attachment->epoch,
        .attachment = attachment,
        .chunk = binding->chunk[component],
        .slot = slot,
    };
    return true;
}

/* ---- what may wait --------------------------------------------------------------------------- */

/* Requests a chunk and waits. 1: the model was bound to another session in the meantime. */
static int load(struct sw_model *model, const struct swi_binding *binding, uint32_t component,
                uint64_t deadline, struct swi_error *error)
{
    struct swi_connection *connection;
    int result = swi_model_connect(model, binding, deadline, &connection, error);
    if (result != 0)
        return result;
    result = swi_request_load(connection, binding, component, deadline, error);
    swi_client_drop(model->client, connection);
    return result == SW_EDISCONNECTED ? 1 : result;
}

/* Claims a slot and looks until the chunk is resident. 1: start again with the model's new binding.
 */
static int acquire_bound(struct sw_model *model, const struct swi_binding *binding,
                         uint32_t component, uint64_t deadline, bool wait, struct sw_lease *ret,
                         struct swi_error *error)
{
    struct sw_client *client = model->client;
    struct swi_attachment *attachment = binding->attachment;
    uint32_t chunk = binding->chunk[component];
    int slot = swi_pin_claim(attachment->page, chunk, &thread.hint);
    if (slot < 0)
        return swi_fail(error, SW_EBUSY,
                        "all %u pin slots of this client are taken; release a lease first",
                        SWI_SLOTS);
    int result = swi_attachment_retired(attachment) ? 1 : 0;
    bool asked = false;
    for (int round = 0; result == 0; round++) {
        struct swi_sight sight;
        switch (swi_pin_look(attachment->index, attachment->session, attachment->epoch, chunk,
                             binding->incarnation, &sight)) {
        case SWI_LOOK_RESIDENT:
            if (!fill(model, binding, component, (uint32_t)slot, &sight, ret)) {
                result =
                    swi_fail(error, SW_EPROTOCOL, "the broker's index points outside the arena");
                break;
            }
            if (asked)
                swi_page_note_use(attachment->page, attachment->index, chunk);
            else
                swi_page_note_hit(attachment->page, attachment->index, (uint32_t)slot, chunk);
            return 0;
        case SWI_LOOK_ABSENT:
            if (!wait) {
                result = -EAGAIN;
            } else if (round == ROUNDS_MAX) {
                result = swi_fail(error, SW_ELOAD,
                                  "the broker reported it as loaded, but it is not resident");
            } else {
                if (!asked)
                    atomic_fetch_add_explicit(&client->misses, 1, memory_order_relaxed);
                asked = true;
                result = load(model, binding, component, deadline, error);
            }
            break;
        case SWI_LOOK_STALE:
            result = swi_fail(error, SW_ESTALE,
                              "the broker no longer serves this revision; close the model and "
                              "open it again");
            break;
        case SWI_LOOK_REVOKED:
            swi_session_revoked(client, attachment);
            result = 1;
            break;
        case SWI_LOOK_BROKEN:
            result = swi_fail(error, SW_EPROTOCOL, "the broker's index points outside the arena");
            break;
        }
    }
    drop(client, attachment, (uint32_t)slot);
    return result;
}

static __attribute__((noinline)) int acquire_slowly(struct sw_model *model, uint32_t component,
                                                    bool wait, uint64_t deadline,
                                                    struct sw_lease *ret)
{
    struct swi_error error = {0};
    int result = swi_model_check(model, component);
    if (result < 0)
        return result;
    do {
        const struct swi_binding *binding;
        result = swi_model_ready(model, deadline, &binding, &error);
        if (result == 0)
            result = acquire_bound(model, binding, component, deadline, wait, ret, &error);
    } while (result == 1);
    if (result == -EAGAIN && !wait)
        return result; /* not a failure */
    if (result < 0 && swi_is_cancelled())
        (void)swi_fail(&error, result = -ECANCELED, "cancelled while waiting for the broker");
    if (result < 0) {
        (void)swi_fail_within(&error, result, "model %s, component %s: ", model->name,
                              model->components[component].name);
        return swi_client_fail(model->client, &error);
    }
    return 0;
}

/* ---- the hit path ---------------------------------------------------------------------------- */

/* True: leased. False: nothing changed. */
static inline __attribute__((always_inline)) bool hit(struct sw_model *model, uint32_t component,
                                                      struct sw_lease *ret)
{
    if (__builtin_expect(thread.countdown-- == 0, 0))
        now_and_then(model->client);
    const struct swi_binding *binding = atomic_load_explicit(&model->binding, memory_order_acquire);
    if (__builtin_expect(!binding || component >= model->count, 0))
        return false;
    struct swi_attachment *attachment = binding->attachment;
    if (__builtin_expect(!swi_attachment_ours(attachment), 0))
        return false; /* after fork the page is not mapped */
    uint32_t chunk = binding->chunk[component];
    int slot = swi_pin_claim(attachment->page, chunk, &thread.hint);
    if (__builtin_expect(slot < 0, 0))
        return false;
    struct swi_sight sight;
    if (__builtin_expect(!swi_attachment_retired(attachment), 1) &&
        __builtin_expect(swi_pin_look(attachment->index, attachment->session, attachment->epoch,
                                      chunk, binding->incarnation, &sight) == SWI_LOOK_RESIDENT,
                         1) &&
        fill(model, binding, component, (uint32_t)slot, &sight, ret)) {
        swi_page_note_hit(attachment->page, attachment->index, (uint32_t)slot, chunk);
        return true;
    }
    drop(model->client, attachment, (uint32_t)slot);
    return false;
}

int sw_lease_acquire(sw_model *model, uint32_t component, struct sw_lease *ret_lease)
{
    return hit(model, component, ret_lease)
               ? 0
               : acquire_slowly(model, component, true, swi_client_deadline(model->client),
                                ret_lease);
}

int sw_lease_try_acquire(sw_model *model, uint32_t component, struct sw_lease *ret_lease)
{
    return hit(model, component, ret_lease)
               ? 0
               : acquire_slowly(model, component, false, swi_client_deadline(model->client),
                                ret_lease);
}

int swi_wait_begin(struct sw_client *client, const struct sw_wait *wait, struct swi_patience *ret)
{
    struct sw_wait known = {0};
    struct swi_error error = {0};
    int result = swi_sized_in(&known, sizeof known, wait, wait ? wait->size : 0, &error);
    if (result < 0)
        return swi_client_fail(client, &error);
    *ret = (struct swi_patience){
        .outer = swi_cancelled, .outer_ends = swi_call_ends, .timeout_ms = known.timeout_ms};
    swi_cancelled = known.cancelled;
    swi_call_ends = known.timeout_ms ? swi_deadline_in(known.timeout_ms) : 0;
    return 0;
}

void swi_wait_end(const struct swi_patience *patience)
{
    swi_cancelled = patience->outer;
    swi_call_ends = patience->outer_ends;
}

int swi_lease_acquire_patiently(struct sw_model *model, uint32_t component,
                                const struct swi_patience *patience, struct sw_lease *ret)
{
    if (hit(model, component, ret))
        return 0;
    uint64_t deadline = patience->timeout_ms ? swi_deadline_in(patience->timeout_ms)
                                             : swi_client_deadline(model->client);
    return acquire_slowly(model, component, true, deadline, ret);
}

int sw_lease_acquire_within(sw_model *model, uint32_t component, const struct sw_wait *wait,
                            struct sw_lease *ret_lease)
{
    struct swi_patience patience;
    int result = swi_wait_begin(model->client, wait, &patience);
    if (result < 0)
        return result;
    result = swi_lease_acquire_patiently(model, component, &patience, ret_lease);
    swi_wait_end(&patience);
    return result;
}

bool swi_lease_valid(const struct sw_lease *lease)
{
    const struct swi_attachment *attachment = lease->attachment;
    return swi_pin_valid(attachment->index, attachment->session, lease->epoch, lease->chunk,
                         lease->generation);
}

/* ---- release --------------------------------------------------------------------------------- */

static __attribute__((noinline, cold)) int report_revoked(struct sw_client *client)
{
    atomic_fetch_add_explicit(&client->revoked, 1, memory_order_relaxed);
    return swi_client_failf(client, SW_EREVOKED,
                            "the broker revoked this lease; discard what was computed from it");
}

int sw_lease_release(struct sw_lease *lease)
{
    struct swi_attachment *attachment = lease->attachment;
    assert(attachment && "a lease is released once");
    struct sw_client *client = lease->model->client;
    bool ours = swi_attachment_ours(attachment);
    bool valid = ours && swi_lease_valid(lease);
    lease->attachment = NULL;
    lease->data = NULL;
    if (__builtin_expect(!ours, 0))
        return SW_EFORK;
    drop(client, attachment, lease->slot);
    if (__builtin_expect(!valid, 0))
        return report_revoked(client);
    return 0;
}

/* ---- cursors --------------------------------------------------------------------------------- */

void sw_model_publish_cursor(sw_model *model, unsigned lane, uint32_t component, uint64_t pass,
                             uint64_t step_ns)
{
    swi_session_glance(model->client);
    const struct swi_binding *binding = atomic_load_explicit(&model->binding, memory_order_acquire);
    if (!binding || !swi_attachment_ours(binding->attachment))
        return; /* only a hint, and there is no session */
    struct swi_cursor_value value = {.incarnation = binding->incarnation,
                                     .pass = pass,
                                     .step_ns = step_ns,
                                     .component = component};
    swi_cursor_put(binding->attachment->page, binding->attachment->index, lane, &value);
}
