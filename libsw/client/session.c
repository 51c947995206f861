/* SPDX-License-Identifier: MIT */
/* Sessions: moving all models to a new one, connecting again, noticing that the broker has gone.
 *
 * A session ends when the broker goes away, violates the protocol or revokes it. Its arena keeps
 * serving hits until there is a new session, so workers keep computing while the broker is down.
 * Then every open model is reopened by name: with the same digests parsed views stay valid; with
 * different ones the model becomes stale.
 *
 * One thread connects at a time; other threads that need the session wait for it.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "client/internal.h"

#define BACKOFF_FIRST_MS   10
#define BACKOFF_MAX_MS     1000
#define GLANCE_EVERY_NS    250000000u
#define GLANCE_PATIENCE_MS 1000 /* for one attempt to reach a new broker while hits wait */
#define GLANCE_REST        7    /* pause after a glance, as a multiple of its duration */

/* ---- moving to a new session ----------------------------------------------------------------- */

/* With the lock held: retires the old session, so that no lease begins in its arena. */
static void install(struct sw_client *client, const char *path, struct swi_connection *connection,
                    struct swi_attachment *attachment)
{
    struct swi_attachment *old = client->current;
    if (old) {
        swi_attachment_retire(old);
        client->past_hits += swi_page_hits(old->page);
        SLIST_INSERT_HEAD(&client->retired, old, link);
    }
    swi_connection_unref(client->connection);
    client->connection = connection;
    client->current = attachment;
    client->served_at = path;
    client->sessions++;
}

/* The models of a client, each with a reference; NULL with *ret_count > 0: out of memory. With the
 * lock held. */
static struct sw_model **list_models(struct sw_client *client, size_t *ret_count)
{
    size_t count = 0;
    struct sw_model *model;
    LIST_FOREACH(model, &client->models, link)
    count++;
    *ret_count = count;
    struct sw_model **models = count ? malloc(count * sizeof *models) : NULL;
    if (!models)
        return NULL;
    size_t i = 0;
    LIST_FOREACH(model, &client->models, link)
    {
        model->references++;
        models[i++] = model;
    }
    return models;
}

struct reopened {
    struct swi_opened opened;
    struct swi_error error;
    int result;
};

/* Failures of the connection, not of the model. */
static bool is_transport(int code)
{
    return code == SW_EDISCONNECTED || code == -ETIMEDOUT || code == SW_EPROTOCOL ||
           code == SW_EVERSION || code == -ENOMEM;
}

/* Opens every model on the new connection, then installs the session. Lock not held. */
static int move_to(struct sw_client *client, const char *path, struct swi_connection *connection,
                   struct swi_attachment *attachment, uint64_t deadline, struct swi_error *error)
{
    swi_lock(client);
    size_t count;
    struct sw_model **models = list_models(client, &count);
    swi_unlock(client);
    struct reopened *reopened = count ? calloc(count, sizeof *reopened) : NULL;
    int result = count && (!models || !reopened) ? swi_fail(error, -ENOMEM, "out of memory") : 0;
    for (size_t i = 0; i < count && result == 0; i++) {
        struct reopened *one = &reopened[i];
        one->result = swi_table_fetch(connection, attachment, models[i]->name, deadline,
                                      &one->opened, &one->error);
        if (is_transport(one->result))
            result = swi_fail(error, one->result, "%s", one->error.text);
    }
    swi_lock(client);
    if (result == 0)
        install(client, path, connection, attachment);
    for (size_t i = 0; i < count && models; i++) {
        if (result == 0)
            swi_model_rebind(models[i], reopened[i].result, &reopened[i].error,
                             &reopened[i].opened);
        swi_model_unref(models[i]);
    }
    swi_unlock(client);
    for (size_t i = 0; i < count && reopened; i++) {
        struct swi_binding *unused = reopened[i].opened.binding; /* another revision */
        if (result == 0 && unused)
            swi_request_close(connection, unused->wire_model);
        swi_opened_fini(&reopened[i].opened);
    }
    free(reopened);
    free(models);
    return result;
}

/* If no broker answers at the given path, a client with autostart starts a private one. */
static int attempt_at(struct sw_client *client, bool start, uint64_t deadline,
                      struct swi_error *error)
{
    struct swi_connection *connection = NULL;
    struct swi_attachment *attachment = NULL;
    const char *path = client->socket_path;
    int result = swi_broker_reach(client, path, deadline, &connection, &attachment, error);
    if ((result == -ENOENT || result == -ECONNREFUSED) && client->autostart.enabled) {
        result = swi_autostart_reach(client, start, deadline, &connection, &attachment, error);
        path = client->autostart.socket;
    }
    if (result < 0)
        return result;
    result = move_to(client, path, connection, attachment, deadline, error);
    if (result < 0) {
        swi_attachment_destroy(attachment); /* not visible to anyone yet */
        swi_client_drop(client, connection);
        return result;
    }
    swi_session_tidy(client);
    return 0;
}

static int attempt(struct sw_client *client, uint64_t deadline, struct swi_error *error)
{
    return attempt_at(client, true, deadline, error);
}

static int attempt_without_starting(struct sw_client *client, uint64_t deadline,
                                    struct swi_error *error)
{
    return attempt_at(client, false, deadline, error);
}

int swi_session_begin(struct sw_client *client, uint64_t deadline, struct swi_error *error)
{
    return attempt(client, deadline, error);
}

/* ---- connecting again ------------------------------------------------------------------------ */

/* Failures that may be temporary: the broker is not up yet, or has not noticed that the old session
 * ended. */
static bool may_pass(int code)
{
    return code == -ENOENT || code == -ECONNREFUSED || code == -ECONNRESET || code == -EPIPE ||
           code == -ETIMEDOUT || code == -EAGAIN || code == SW_EDISCONNECTED || code == SW_EQUOTA;
}

/* Half fixed, half random: workers that lost the same broker must not reconnect in step. */
static int jittered(int backoff_ms)
{
    uint32_t random = 0;
    if (getrandom(&random, sizeof random, GRND_NONBLOCK) != sizeof random)
        random = (uint32_t)swi_now();
    return backoff_ms / 2 + (int)(random % (uint32_t)(backoff_ms / 2 + 1));
}

static void sleep_ms(int ms, uint64_t deadline)
{
    uint64_t until = swi_deadline_in(ms);
    if (until > deadline)
        until = deadline;
    while (!swi_over(until)) {
        struct timespec time = swi_deadline_time(until);
        (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL);
    }
}

static int connect_again(struct sw_client *client, uint64_t deadline, struct swi_error *error)
{
    for (int backoff_ms = BACKOFF_FIRST_MS;;) {
        int result = attempt(client, deadline, error);
        if (result == 0 || !may_pass(result))
            return result;
        if (swi_over(deadline)) {
            (void)swi_fail_within(error, SW_EDISCONNECTED,
                                  "the broker did not come back in time: ");
            return SW_EDISCONNECTED;
        }
        sleep_ms(jittered(backoff_ms), deadline);
        backoff_ms = backoff_ms * 2 < BACKOFF_MAX_MS ? backoff_ms * 2 : BACKOFF_MAX_MS;
    }
}

static bool alive(const struct sw_client *client)
{
    return client->connection && swi_connection_usable(client->connection);
}

/* Called and returns with the lock held. how: connect_again, or one attempt. */
static int connect_as_the_one(struct sw_client *client, uint64_t deadline, struct swi_error *error,
                              int (*how)(struct sw_client *, uint64_t, struct swi_error *))
{
    client->connecting = true;
    swi_unlock(client);
    int result = how(client, deadline, error);
    swi_lock(client);
    client->connecting = false;
    pthread_cond_broadcast(&client->changed);
    return result;
}

int swi_session_ensure(struct sw_client *client, uint64_t deadline, struct swi_error *error)
{
    if (client->process != swi_process())
        swi_session_disown(client);
    for (;;) {
        if (alive(client) && !client->connecting)
            return 0;
        if (!client->connecting)
            return connect_as_the_one(client, deadline, error, connect_again);
        if (swi_over(deadline))
            return swi_fail(error, SW_EDISCONNECTED, "the broker did not come back in time");
        struct timespec until = swi_deadline_time(deadline);
        (void)pthread_cond_timedwait(&client->changed, &client->lock.mutex, &until);
    }
}

void swi_session_revoked(struct sw_client *client, struct swi_attachment *attachment)
{
    swi_lock(client);
    swi_attachment_retire(attachment); /* no more hits: the next use reconnects */
    if (client->current == attachment && client->connection)
        swi_connection_break(client->connection, SW_EDISCONNECTED,
                             "the broker revoked the session");
    swi_unlock(client);
}

/* ---- noticing -------------------------------------------------------------------------------- */

static uint64_t coarse_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* How long a hit may be delayed to look for a new broker: at most as long as its call may wait for
 * a miss. */
static uint64_t glance_deadline(const struct sw_client *client)
{
    uint64_t until = swi_deadline_in(GLANCE_PATIENCE_MS);
    uint64_t call = swi_call_ends ? swi_call_ends : swi_client_deadline(client);
    return call < until ? call : until;
}

/* The tick stands still: checks the socket, and if the broker has gone, tries once to reach a new
 * one. */
static void look_closer(struct sw_client *client)
{
    swi_lock(client);
    if (client->process == swi_process() && client->connection && !client->connecting) {
        if (alive(client))
            swi_connection_look(client->connection);
        if (!alive(client)) {
            struct swi_error unreported; /* the old arena still serves hits: nothing has failed */
            (void)connect_as_the_one(client, glance_deadline(client), &unreported,
                                     attempt_without_starting);
        }
    }
    swi_unlock(client);
    swi_session_tidy(client);
}

void swi_session_glance(struct sw_client *client)
{
    uint64_t now = coarse_now();
    uint64_t due = atomic_load_explicit(&client->glance_due_ns, memory_order_relaxed);
    if (now < due || !atomic_compare_exchange_strong_explicit(
                         &client->glance_due_ns, &due, now + GLANCE_EVERY_NS, memory_order_relaxed,
                         memory_order_relaxed))
        return;
    swi_lock(client);
    bool ours = client->current && swi_attachment_ours(client->current);
    uint32_t tick = ours ? swi_tick(client->current->index) : 0;
    bool quiet =
        ours && tick == atomic_exchange_explicit(&client->glance_tick, tick, memory_order_relaxed);
    bool retired = !SLIST_EMPTY(&client->retired);
    swi_unlock(client);
    if (quiet) {
        look_closer(client);
        /* a successor that accepts connections but does not answer must not slow down hits */
        uint64_t ended = coarse_now(), rest = (ended - now) * GLANCE_REST;
        if (rest > GLANCE_EVERY_NS)
            atomic_store_explicit(&client->glance_due_ns, ended + rest, memory_order_relaxed);
    } else if (retired) {
        swi_session_tidy(client);
    }
}

void swi_session_tidy(struct sw_client *client)
{
    swi_lock(client);
    struct swi_attachment *attachment, *next;
    for (attachment = SLIST_FIRST(&client->retired); attachment; attachment = next) {
        next = SLIST_NEXT(attachment, link);
        if (!swi_attachment_ours(attachment) || !swi_attachment_park(attachment))
            continue;
        SLIST_REMOVE(&client->retired, attachment, swi_attachment, link);
        SLIST_INSERT_HEAD(&client->parked, attachment, link);
    }
    swi_unlock(client);
}

/* ---- fork ------------------------------------------------------------------------------------ */

void swi_session_disown(struct sw_client *client)
{
    struct sw_model *model;
    LIST_FOREACH(model, &client->models, link)
    {
        model->references = 1; /* reconnecting threads are not in this process */
        atomic_store_explicit(&model->binding, NULL, memory_order_release);
    }
    if (client->connection) {
        swi_connection_disown(client->connection);
        swi_connection_unref(client->connection);
        client->connection = NULL;
    }
    if (client->current)
        SLIST_INSERT_HEAD(&client->retired, client->current, link);
    client->current = NULL;
    struct swi_attachment *attachment;
    while ((attachment = SLIST_FIRST(&client->retired))) {
        SLIST_REMOVE_HEAD(&client->retired, link);
        swi_attachment_disown(attachment);
        SLIST_INSERT_HEAD(&client->parked, attachment, link);
    }
    (void)swi_condition_init(&client->changed); /* again: nobody waits on it in this process */
    client->connecting = false;
    client->sessions = 0;
    client->past_hits = 0;
    atomic_store_explicit(&client->misses, 0, memory_order_relaxed);
    atomic_store_explicit(&client->prefetches, 0, memory_order_relaxed);
    atomic_store_explicit(&client->revoked, 0, memory_order_relaxed);
    client->process = swi_process();
}
