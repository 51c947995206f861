/* SPDX-License-Identifier: MIT */
/* The structs behind the public handles, shared by the files of libsw/client.
 *
 *   sw_client ─┬─▶ connection (socket)        replaced on reconnect
 *              ├─▶ attachment (mappings)      replaced on reconnect; old ones are kept as retired
 *              └─▶ sw_model ──▶ binding       one per model and attachment: ids and incarnation
 *
 * The hit path reads model → binding → attachment without a lock. Bindings and attachments are
 * immutable except for `retired`, and live at least as long as their model or client. Everything
 * else is under the client's lock, which is never held while waiting.
 */
#ifndef SWI_CLIENT_INTERNAL_H
#define SWI_CLIENT_INTERNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/queue.h>

#include <sw/client.h>

#include "client/attachment.h"
#include "client/autostart.h"
#include "client/component_cache.h"
#include "client/connection.h"
#include "core/digest.h"
#include "core/process.h"

#define SWI_COMPONENTS_MAX 4096u       /* of one model, as in manifests */
#define SWI_FILE_MAX       (64u << 20) /* limit of sw_model_file */

/* A model's place in one session's shared memory. */
struct swi_binding {
    struct swi_attachment *attachment;
    uint64_t incarnation;
    uint32_t wire_model;
    SLIST_ENTRY(swi_binding) link; /* older ones of the same model */
    uint32_t chunk[];              /* [components], each below SWI_CHUNKS */
};

/* A component, independent of sessions: the same digest means the same bytes. */
struct swi_component_desc {
    char *name;
    uint64_t bytes;
    struct swi_digest digest;
};

struct swi_strings;

struct sw_model {
    struct sw_client *client;
    char *name;
    uint32_t count;
    struct swi_component_desc *components; /* [count], immutable */
    _Atomic(struct swi_binding *) binding; /* NULL: no session in this process, or stale */

    /* under the client's lock */
    LIST_ENTRY(sw_model) link;
    SLIST_HEAD(, swi_binding) bindings;
    uint32_t references;    /* the owner's, and one per thread that is reconnecting */
    struct swi_error stale; /* nonzero code: why this revision is gone */
    struct swi_component_cache cache;
    struct swi_strings **strings; /* [count]: names that callers' tensors point to */
    struct sw_component *idle;    /* handles to reuse */
};

struct swi_view;

struct sw_component {
    struct sw_lease lease;
    struct sw_model *model;
    struct swi_view *view;
    struct sw_component *next; /* idle */
};

struct sw_client {
    struct swi_fork_lock lock;
    pthread_cond_t changed; /* an attempt to connect ended */

    /* immutable after open */
    char *socket_path;
    char name[SWI_CLIENT_MAX + 1];
    int timeout_ms;
    bool any_server_uid;

    struct swi_autostart autostart; /* used by the connecting thread */

    /* read without the lock */
    _Atomic uint64_t glance_due_ns;
    _Atomic uint32_t glance_tick;
    _Atomic uint64_t misses, prefetches, revoked;

    /* under the lock */
    uint64_t process;
    const char *served_at; /* the socket of the current session: socket_path, or autostart's */
    struct swi_connection *connection; /* NULL only before the first session of this process */
    struct swi_attachment *current;
    SLIST_HEAD(, swi_attachment) retired; /* not parked */
    SLIST_HEAD(, swi_attachment) parked;
    bool connecting;
    uint64_t sessions;  /* begun in this process */
    uint64_t past_hits; /* of earlier attachments */
    LIST_HEAD(, sw_model) models;
    struct swi_error error; /* of the last failure */
};

static inline void swi_lock(struct sw_client *client)
{
    pthread_mutex_lock(&client->lock.mutex);
}

static inline void swi_unlock(struct sw_client *client)
{
    pthread_mutex_unlock(&client->lock.mutex);
}

/* Gives back a reference to a connection. Lock not held. */
static inline void swi_client_drop(struct sw_client *client, struct swi_connection *connection)
{
    swi_lock(client);
    swi_connection_unref(connection);
    swi_unlock(client);
}

/* ---- failure.c ------------------------------------------------------------------------------- */

/* Stores the message for sw_client_message; returns its code. Lock not held. */
int swi_client_fail(struct sw_client *client, const struct swi_error *error);
int swi_client_failf(struct sw_client *client, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
uint64_t swi_client_deadline(const struct sw_client *client);

/* ---- reach.c --------------------------------------------------------------------------------- */

/* One attempt to connect to the socket at path, up to the broker's welcome. Lock not held. */
int swi_broker_reach(struct sw_client *client, const char *path, uint64_t deadline,
                     struct swi_connection **ret_connection, struct swi_attachment **ret_attachment,
                     struct swi_error *error);

/* ---- session.c ------------------------------------------------------------------------------- */

/* Opens the first session of a client. One attempt. */
int swi_session_begin(struct sw_client *client, uint64_t deadline, struct swi_error *error);
/* Makes sure that this process has a live session, and reconnects with back-off if not. Called and
 * returns with the lock held; releases it while waiting. */
int swi_session_ensure(struct sw_client *client, uint64_t deadline, struct swi_error *error);
/* Checks now and then whether the broker has gone, and moves to its successor if there is one.
 * Cheap enough for every use of a component: no system call while the broker's tick advances. */
void swi_session_glance(struct sw_client *client);
/* Unmaps retired attachments that are no longer pinned. */
void swi_session_tidy(struct sw_client *client);
/* Records that the broker revoked this session. */
void swi_session_revoked(struct sw_client *client, struct swi_attachment *attachment);
/* In a forked child, with the lock held: drops the parent's session. */
void swi_session_disown(struct sw_client *client);

/* ---- table.c: asking the broker for a model -------------------------------------------------- */

/* The results of OPEN and TABLE. */
struct swi_opened {
    struct swi_binding *binding;
    struct swi_component_desc *components; /* [count] */
    uint32_t count;
};
int swi_table_fetch(struct swi_connection *connection, struct swi_attachment *attachment,
                    const char *name, uint64_t deadline, struct swi_opened *ret,
                    struct swi_error *error);
void swi_opened_fini(struct swi_opened *opened);
void swi_components_free(struct swi_component_desc *components, uint32_t count);

/* ---- views.c --------------------------------------------------------------------------------- */

/* With the lock held: frees a model's views, names and idle handles. */
void swi_components_fini(struct sw_model *model);

/* ---- binding.c ------------------------------------------------------------------------------- */

/* With the lock held: makes an opened binding the model's current one. */
void swi_model_bind(struct sw_model *model, struct swi_opened *opened);
/* With the lock held. The last unref frees the model. */
void swi_model_unref(struct sw_model *model);
/* With the lock held: binds the model to a new session if that has the same revision, else makes it
 * stale. result and error are those of swi_table_fetch. Takes what it uses out of opened. */
void swi_model_rebind(struct sw_model *model, int result, const struct swi_error *error,
                      struct swi_opened *opened);

/* ---- model.c --------------------------------------------------------------------------------- */

/* A binding in a live attachment of this process. */
int swi_model_ready(struct sw_model *model, uint64_t deadline, const struct swi_binding **ret,
                    struct swi_error *error);
/* Returns a reference to the connection of the binding's live session. 1: the model was bound again
 * or made stale; call swi_model_ready again. */
int swi_model_connect(struct sw_model *model, const struct swi_binding *binding, uint64_t deadline,
                      struct swi_connection **ret, struct swi_error *error);
/* Both of the above. End with swi_client_drop. */
int swi_model_session(struct sw_model *model, uint64_t deadline,
                      const struct swi_binding **ret_binding,
                      struct swi_connection **ret_connection, struct swi_error *error);
/* Returns SW_ENOCOMPONENT, with a message, unless the model has that component. */
int swi_model_check(struct sw_model *model, uint32_t component);

/* ---- acquire.c --------------------------------------------------------------------------------
 */

/* How long one public call may wait (struct sw_wait). Between begin and end, the waits of the
 * calling thread can be cancelled. Errors: those of swi_sized_in, stored as the client's message.
 */
struct swi_patience {
    const int32_t *outer; /* swi_cancelled of the enclosing call */
    uint64_t outer_ends;  /* swi_call_ends of the enclosing call */
    int timeout_ms;       /* 0: the client's */
};
int swi_wait_begin(struct sw_client *client, const struct sw_wait *wait, struct swi_patience *ret);
void swi_wait_end(const struct swi_patience *patience);
int swi_lease_acquire_patiently(struct sw_model *model, uint32_t component,
                                const struct swi_patience *patience, struct sw_lease *ret);

/* Whether everything read through the lease so far is valid. */
bool swi_lease_valid(const struct sw_lease *lease);

/* ---- requests.c ------------------------------------------------------------------------------ */

/* Sends a LOAD; the caller waits for DONE and ends the call. Errors: those of swi_call_send. */
int swi_request_send_load(struct swi_connection *connection, struct swi_call *call,
                          const struct swi_binding *binding, uint32_t component, uint64_t deadline,
                          struct swi_error *error);
/* Asks for one chunk and waits until it is resident. */
int swi_request_load(struct swi_connection *connection, const struct swi_binding *binding,
                     uint32_t component, uint64_t deadline, struct swi_error *error);

/* Tells the broker that chunks (at most SWI_WIRE_PREFETCH_MAX) are needed soon. Does not wait: a
 * busy broker gets no hint. */
void swi_request_prefetch(struct swi_connection *connection, const struct swi_binding *binding,
                          const uint32_t *chunks, uint32_t count);
/* Tells the broker that the session no longer needs the model. Waits at most one second: if the
 * broker does not take the message in time, it learns when the session ends. Lock not held. */
void swi_request_close(struct swi_connection *connection, uint32_t wire_model);

#endif
