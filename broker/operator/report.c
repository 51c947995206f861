/* SPDX-License-Identifier: MIT */
/* Answers of the reading verbs, as JSON. */
#include "operator/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/lease.h"
#include "operator/pins.h"
#include "remote/remote.h"
#include "session/attach.h"
#include "session/quota.h"
#include "stats/stats.h"

void report_put(json_t *object, const char *key, uint64_t value)
{
    (void)json_object_set_new(object, key, json_integer((json_int_t)value));
}

/* {"ok":true,KEY:list}; takes the list. */
json_t *report_list(const char *key, json_t *list)
{
    json_t *reply = list ? json_pack("{s:b}", "ok", 1) : NULL;
    if (reply)
        (void)json_object_set_new(reply, key, list);
    else
        json_decref(list);
    return reply;
}

json_t *report_failure(int code, const char *message)
{
    return json_pack("{s:b, s:i, s:o}", "ok", 0, "code", code, "error", stats_text(message));
}

/* ---- stats ----------------------------------------------------------------------------------- */

static uint64_t count_hits(const struct control *control)
{
    uint64_t hits = control->sessions->counters->departed_hits;
    struct session *session;
    TAILQ_FOREACH(session, &control->sessions->connections, link)
    {
        if (session->state == SESSION_ATTACHED)
            hits += session_hits(session);
    }
    return hits;
}

/* Clients that run as root or as the broker's user can write what they map, whatever the
 * descriptor's mode. */
static void describe_isolation(const struct control *control, char *text, size_t size)
{
    uint32_t shared = 0, root = 0;
    uid_t own = geteuid();
    const struct session *session;
    TAILQ_FOREACH(session, &control->sessions->connections, link)
    {
        if (session->state == SESSION_ATTACHED) {
            shared += session->peer.uid == own;
            root += session->peer.uid == 0 && own != 0;
        }
    }
    if (shared)
        (void)snprintf(text, size, "none: broker shares its uid with %u client%s", shared,
                       shared == 1 ? "" : "s");
    else if (root)
        (void)snprintf(text, size, "none: %u client%s as root", root,
                       root == 1 ? " runs" : "s run");
    else
        (void)snprintf(text, size, "uid");
}

static uint64_t count_bad_models(const struct catalog *catalog)
{
    uint64_t bad = 0;
    const struct catalog_model *model;
    TAILQ_FOREACH(model, &catalog->models, link)
    bad += model->problem != 0;
    return bad;
}

json_t *report_stats(struct control *control)
{
    const struct broker_options *options = control->sessions->options;
    struct stats stats = {.counters = *control->sessions->counters,
                          .has_redis = control->remote != NULL};
    cache_get_stats(control->cache, &stats.cache);
    if (control->remote)
        control->remote->ops->get_stats(control->remote, &stats.redis);
    stats.redis.mode = redis_mode_names[options->redis.mode];
    stats.redis.order = redis_order_names[options->redis.order];
    const struct log_counts lines = log_get_counts();
    char isolation[80];
    describe_isolation(control, isolation, sizeof isolation);
    stats.max_bytes = cache_max_bytes(control->cache);
    stats.hits = count_hits(control);
    double asked = (double)stats.hits + (double)stats.cache.misses;
    stats.hit_rate = asked > 0 ? (double)stats.hits / asked : 0;
    stats.clients = control->sessions->attached_count;
    stats.connections = control->sessions->connection_count;
    stats.sessions_max = options->max_sessions;
    stats.operator_pinned_bytes = control->pinned_bytes;
    stats.operator_pinned_chunks = control->pinned_chunks;
    stats.operator_pin_limit_bytes = pins_limit(stats.cache.arena_bytes);
    stats.revoked = stats.counters.quota_revoked + stats.counters.damage_revoked;
    stats.log_lines_dropped = lines.dropped;
    stats.log_lines_left_out = lines.left_out;
    stats.restarts = control->sessions->ledger->header.boots;
    stats.adopted_sessions = control->sessions->adopted_count;
    stats.adopted_chunks = control->adopted_chunks;
    stats.store_descriptors = control->sessions->fdstore->capacity;
    stats.models = control->catalog->count;
    stats.models_bad = count_bad_models(control->catalog);
    stats.isolation = isolation;
    stats.chunks_dir = control->catalog->path;
    stats.version = sw_version();
    stats.uptime_s = (double)((loop_now() - control->started_ns) / LOOP_NS_PER_MS) / 1000;
    stats.pid = (uint64_t)getpid();
    stats.uid = geteuid();
    stats.layout_version = SWI_LAYOUT_VERSION;
    stats.layout_hash = SWI_LAYOUT_HASH;
    stats.tracing = control->sessions->trace && trace_alive(control->sessions->trace);
    return stats_report(&stats);
}

/* ---- models ---------------------------------------------------------------------------------- */

static json_t *describe_revision(struct control *control, const struct revision *revision)
{
    const struct swi_manifest *manifest = &revision->manifest;
    uint64_t resident_bytes = 0;
    uint32_t resident = 0;
    for (uint32_t i = 0; i < revision->registered; i++) {
        struct cache_chunk_view view;
        if (cache_view(control->cache, revision->ids[i], &view) &&
            view.entry.state == SWI_RESIDENT) {
            resident++;
            resident_bytes += view.entry.bytes;
        }
    }
    return json_pack("{s:o, s:o, s:s, s:s, s:i, s:I, s:I, s:I, s:I, s:I, s:i, s:b}", "model",
                     stats_text(revision->name), "type", stats_text(manifest->model_type), "layout",
                     manifest->layout, "dtype", manifest->dtype, "layers",
                     (int)manifest->num_layers, "chunks", (json_int_t)manifest->count, "bytes",
                     (json_int_t)manifest->total_bytes, "chunks_resident", (json_int_t)resident,
                     "resident_bytes", (json_int_t)resident_bytes, "revision",
                     (json_int_t)revision->incarnation, "users", (int)revision->users, "superseded",
                     (int)revision->superseded);
}

json_t *report_models(struct control *control)
{
    json_t *list = json_array();
    if (!list)
        return NULL;
    const struct catalog_model *model;
    TAILQ_FOREACH(model, &control->catalog->models, link)
    {
        json_t *row = model->current ? describe_revision(control, model->current)
                                     : json_pack("{s:o}", "model", stats_text(model->name));
        if (row && model->current)
            (void)json_object_set_new(row, "origin",
                                      json_string(model->current->remote ? "redis" : "disk"));
        if (row && model->problem) {
            (void)json_object_set_new(row, "code", json_integer(model->problem));
            (void)json_object_set_new(row, "error", stats_text(model->problem_text));
        }
        (void)json_array_append_new(list, row);
    }
    const struct revision *revision;
    TAILQ_FOREACH(revision, &control->catalog->superseded, link)
    (void)json_array_append_new(list, describe_revision(control, revision));
    return report_list("models", list);
}

/* ---- clients --------------------------------------------------------------------------------- */

/* Where the client's passes are, according to its page, which is not trusted. */
static json_t *describe_cursors(const struct session *session)
{
    const struct swi_index *index = cache_index(session->sessions->cache);
    json_t *list = json_array();
    for (unsigned lane = 0; list && lane < SW_CURSOR_LANES; lane++) {
        struct swi_cursor_value cursor = swi_cursor_get(session->page, lane);
        const struct revision *revision = NULL;
        for (uint32_t i = 0; i < SESSION_MODELS && !revision; i++)
            if (session->models[i] && session->models[i]->incarnation == cursor.incarnation)
                revision = session->models[i];
        if (!revision || cursor.component >= revision->manifest.count)
            continue;
        (void)json_array_append_new(
            list, json_pack("{s:i, s:o, s:o, s:I, s:I, s:I, s:f, s:I}", "lane", (int)lane, "model",
                            stats_text(revision->name), "component",
                            stats_text(revision->manifest.chunks[cursor.component].name), "at",
                            (json_int_t)cursor.component, "components",
                            (json_int_t)revision->manifest.count, "pass",
                            (json_int_t)(cursor.pass & INT64_MAX), "step_ms",
                            (double)cursor.step_ns / 1e6, "ticks_ago",
                            (json_int_t)(uint32_t)(swi_tick(index) - cursor.tick)));
    }
    return list;
}

static json_t *describe_client(struct session *session, uint64_t now_ns)
{
    struct session_pins pins = session_count_pins(session);
    json_t *names = json_array();
    for (uint32_t i = 0; names && i < SESSION_MODELS; i++)
        if (session->models[i])
            (void)json_array_append_new(names, stats_text(session->models[i]->name));
    return json_pack("{s:i, s:o, s:i, s:i, s:o, s:i, s:I, s:I, s:i, s:f, s:b, s:o}", "session",
                     (int)session->number, "name", stats_text(session->name), "pid",
                     (int)session->peer.pid, "uid", (int)session->peer.uid, "models", names,
                     "pinned_chunks", (int)pins.chunks, "pinned_bytes", (json_int_t)pins.bytes,
                     "hits", (json_int_t)(session_hits(session) + session->hits_before), "waiting",
                     (int)session->job_count[SESSION_LOAD], "age_s",
                     (double)((now_ns - session->since_ns) / LOOP_NS_PER_MS) / 1000, "rate_limited",
                     session->resume.armed ? 1 : 0, "cursors", describe_cursors(session));
}

json_t *report_clients(struct control *control)
{
    json_t *list = json_array();
    if (!list)
        return NULL;
    uint64_t now_ns = loop_now();
    struct session *session;
    TAILQ_FOREACH(session, &control->sessions->connections, link)
    {
        if (session->state == SESSION_ATTACHED)
            (void)json_array_append_new(list, describe_client(session, now_ns));
    }
    return report_list("clients", list);
}
