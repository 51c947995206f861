/* SPDX-License-Identifier: MIT */
/* What the broker says about itself, as JSON. */
#include "operator/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/lease.h"
#include "operator/pins.h"
#include "session/session.h"

json_t *report_text(const char *text)
{
    json_t *string = json_string(text ? text : "");
    if (string)
        return string;
    char *plain = strdup(text);
    if (!plain)
        return NULL;
    for (char *c = plain; *c; c++)
        if ((unsigned char)*c >= 0x80)
            *c = '?';
    string = json_string(plain);
    free(plain);
    return string;
}

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

/* ---- stats ----------------------------------------------------------------------------------- */

static uint64_t count_hits(const struct broker *broker)
{
    uint64_t hits = broker->counters.departed_hits;
    struct session *session;
    TAILQ_FOREACH(session, &broker->connections, link)
    {
        if (session->state == SESSION_ATTACHED)
            hits += session_hits(session);
    }
    return hits;
}

/* Clients under root or the broker's own uid can write what they map, whatever the descriptor's
 * mode says. */
static void describe_isolation(const struct broker *broker, char *text, size_t size)
{
    uint32_t shared = 0, root = 0;
    uid_t own = geteuid();
    const struct session *session;
    TAILQ_FOREACH(session, &broker->connections, link)
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

static json_t *describe_evictions(const uint64_t evicted[CACHE_EVICTION_REASONS])
{
    static const char *const names[] = {"capacity", "clear", "resize", "replaced", "damaged"};
    _Static_assert(sizeof names / sizeof names[0] == CACHE_EVICTION_REASONS, "each has a name");
    json_t *object = json_object();
    for (int i = 0; object && i < CACHE_EVICTION_REASONS; i++)
        report_put(object, names[i], evicted[i]);
    return object;
}

static void put_cache_stats(json_t *reply, const struct cache_stats *stats)
{
    report_put(reply, "arena_bytes", stats->arena_bytes);
    report_put(reply, "reserved_bytes", stats->reserved_bytes);
    report_put(reply, "resident_bytes", stats->resident_bytes);
    report_put(reply, "pinned_bytes", stats->pinned_bytes);
    report_put(reply, "huge_bytes", stats->huge_bytes);
    report_put(reply, "collapse_refused", stats->collapse_refused);
    report_put(reply, "chunks_resident", stats->chunks_resident);
    report_put(reply, "misses", stats->misses);
    report_put(reply, "coalesced", stats->coalesced);
    report_put(reply, "evictions", stats->evictions);
    (void)json_object_set_new(reply, "evictions_by_reason", describe_evictions(stats->evicted));
    report_put(reply, "loads", stats->loads);
    report_put(reply, "load_bytes", stats->load_bytes);
    report_put(reply, "load_errors", stats->load_errors);
    report_put(reply, "digest_errors", stats->digest_errors);
    report_put(reply, "prefetches", stats->prefetches);
    report_put(reply, "prefetch_used", stats->prefetch_used);
    report_put(reply, "prefetch_wasted", stats->prefetch_wasted);
    report_put(reply, "prefetch_dropped", stats->prefetch_dropped);
    report_put(reply, "loading", stats->loading);
    report_put(reply, "queued", stats->queued);
    report_put(reply, "unverified", stats->unverified);
    report_put(reply, "verified", stats->verified);
    report_put(reply, "verify_errors", stats->verify_errors);
    (void)json_object_set_new(reply, "io_engine", json_string(stats->io_engine));
    (void)json_object_set_new(reply, "policy", json_string(stats->policy));
}

static void put_counters(json_t *reply, const struct counters *counters)
{
    report_put(reply, "sessions", counters->sessions);
    report_put(reply, "revoked", counters->quota_revoked + counters->damage_revoked);
    report_put(reply, "protocol_errors", counters->protocol_errors);
    report_put(reply, "descriptors_refused", counters->descriptors_refused);
    report_put(reply, "sessions_refused", counters->sessions_refused);
    report_put(reply, "requests_refused", counters->requests_refused);
    report_put(reply, "ids_refused", counters->ids_refused);
    report_put(reply, "rate_limited", counters->rate_limited);
    report_put(reply, "slow_readers", counters->slow_readers);
    report_put(reply, "silent_closed", counters->silent_closed);
    report_put(reply, "quota_revoked", counters->quota_revoked);
    report_put(reply, "damage_revoked", counters->damage_revoked);
    report_put(reply, "page_garbage", counters->page_garbage);
}

/* {"le_us":[…],"count":[… and one more],"sum_us":N}: each bucket's own count. */
static json_t *describe_latency(const struct latency *latency)
{
    json_t *bounds = json_array(), *counts = json_array();
    for (unsigned i = 0; i <= LATENCY_BOUNDS; i++) {
        if (i < LATENCY_BOUNDS)
            (void)json_array_append_new(bounds, json_integer((json_int_t)latency_bound_us[i]));
        (void)json_array_append_new(counts, json_integer((json_int_t)latency->count[i]));
    }
    return json_pack("{s:o, s:o, s:I}", "le_us", bounds, "count", counts, "sum_us",
                     (json_int_t)latency->sum_us);
}

static json_t *describe_connection(const struct redis_connection_stats *stats)
{
    if (!stats->used)
        return json_null();
    json_t *object = json_pack("{s:b, s:s}", "up", stats->up, "breaker", stats->breaker);
    report_put(object, "breaker_opened", stats->breaker_opened);
    report_put(object, "connects", stats->connects);
    report_put(object, "connect_failures", stats->connect_failures);
    report_put(object, "refused", stats->refused);
    report_put(object, "timeouts", stats->timeouts);
    report_put(object, "closed", stats->closed);
    report_put(object, "garbage", stats->garbage);
    return object;
}

static json_t *describe_redis(struct redis_tier *tier, const struct cache_stats *cache)
{
    struct redis_tier_stats stats;
    redis_tier_get_stats(tier, &stats);
    json_t *object = json_pack("{s:o, s:s, s:s, s:s}", "url", report_text(stats.url), "mode",
                               stats.mode, "order", stats.order, "breaker", stats.reads.breaker);
    report_put(object, "hits", stats.hits);
    report_put(object, "misses", stats.misses);
    report_put(object, "wrong", stats.wrong);
    report_put(object, "failures", stats.failures);
    report_put(object, "slow", stats.slow);
    report_put(object, "hit_bytes", stats.hit_bytes);
    report_put(object, "fallbacks", cache->remote_to_file);
    report_put(object, "rescues", cache->file_to_remote);
    report_put(object, "stores", stats.stores);
    report_put(object, "store_bytes", stats.store_bytes);
    report_put(object, "store_present", stats.store_present);
    report_put(object, "store_elsewhere", stats.store_elsewhere);
    report_put(object, "store_dropped", stats.store_dropped);
    report_put(object, "store_failures", stats.store_failures);
    report_put(object, "stores_queued", stats.writes_queued);
    (void)json_object_set_new(object, "stores_paused", json_boolean(stats.writes_paused));
    report_put(object, "out_of_memory", stats.out_of_memory);
    report_put(object, "read_only", stats.read_only);
    report_put(object, "other_errors", stats.other_errors);
    (void)json_object_set_new(object, "reads", describe_connection(&stats.reads));
    (void)json_object_set_new(object, "writes", describe_connection(&stats.writes));
    (void)json_object_set_new(object, "latency", describe_latency(&cache->remote_latency));
    return object;
}

/* What each tier below the arena did. */
static void put_tiers(json_t *reply, struct broker *broker, const struct cache_stats *stats)
{
    (void)json_object_set_new(reply, "disk",
                              json_pack("{s:I, s:I, s:o}", "loads", (json_int_t)stats->file_loads,
                                        "bytes", (json_int_t)stats->file_bytes, "latency",
                                        describe_latency(&stats->file_latency)));
    if (broker->redis)
        (void)json_object_set_new(reply, "redis", describe_redis(broker->redis, stats));
}

json_t *report_stats(struct broker *broker)
{
    json_t *reply = json_pack("{s:b}", "ok", 1);
    if (!reply)
        return NULL;
    struct cache_stats stats;
    cache_get_stats(broker->cache, &stats);
    uint64_t hits = count_hits(broker);
    double asked = (double)hits + (double)stats.misses;
    put_cache_stats(reply, &stats);
    report_put(reply, "max_bytes", cache_max_bytes(broker->cache));
    report_put(reply, "hits", hits);
    (void)json_object_set_new(reply, "hit_rate", json_real(asked > 0 ? (double)hits / asked : 0));
    report_put(reply, "clients", broker->session_count);
    report_put(reply, "connections", broker->connection_count);
    report_put(reply, "sessions_max", broker->options.max_sessions);
    report_put(reply, "operator_pinned_bytes", broker->pinned_bytes);
    report_put(reply, "operator_pinned_chunks", broker->pinned_chunks);
    report_put(reply, "operator_pin_limit_bytes", pins_limit(stats.arena_bytes));
    put_counters(reply, &broker->counters);
    put_tiers(reply, broker, &stats);
    const struct log_counts lines = log_get_counts();
    report_put(reply, "log_lines_dropped", lines.dropped);
    report_put(reply, "log_lines_left_out", lines.left_out);
    report_put(reply, "restarts", broker->ledger.ledger->header.boots);
    report_put(reply, "adopted_sessions", broker->adopted_sessions);
    report_put(reply, "adopted_chunks", broker->adopted.resident);
    report_put(reply, "store_descriptors", broker->fdstore.capacity);
    uint32_t bad = 0;
    const struct catalog_model *model;
    TAILQ_FOREACH(model, &broker->catalog->models, link)
    bad += model->problem != 0;
    report_put(reply, "models", broker->catalog->count);
    report_put(reply, "models_bad", bad);
    char isolation[80];
    describe_isolation(broker, isolation, sizeof isolation);
    (void)json_object_set_new(reply, "isolation", json_string(isolation));
    (void)json_object_set_new(
        reply, "uptime_s",
        json_real((double)((loop_now() - broker->started_ns) / LOOP_NS_PER_MS) / 1000));
    report_put(reply, "pid", (uint64_t)getpid());
    report_put(reply, "uid", (uint64_t)geteuid());
    report_put(reply, "layout_version", SWI_LAYOUT_VERSION);
    report_put(reply, "layout_hash", SWI_LAYOUT_HASH);
    (void)json_object_set_new(reply, "chunks_dir", report_text(broker->catalog->path));
    (void)json_object_set_new(reply, "tracing",
                              json_boolean(broker->trace && trace_alive(broker->trace)));
    (void)json_object_set_new(reply, "version", json_string(sw_version()));
    return reply;
}

/* ---- models ---------------------------------------------------------------------------------- */

static json_t *describe_revision(struct broker *broker, const struct revision *revision)
{
    const struct swi_manifest *manifest = &revision->manifest;
    uint64_t resident_bytes = 0;
    uint32_t resident = 0;
    for (uint32_t i = 0; i < revision->registered; i++) {
        struct cache_chunk_view view;
        if (cache_view(broker->cache, revision->ids[i], &view) &&
            view.entry.state == SWI_RESIDENT) {
            resident++;
            resident_bytes += view.entry.bytes;
        }
    }
    return json_pack("{s:o, s:o, s:s, s:s, s:i, s:I, s:I, s:I, s:I, s:I, s:i, s:b}", "model",
                     report_text(revision->name), "type", report_text(manifest->model_type),
                     "layout", manifest->layout, "dtype", manifest->dtype, "layers",
                     (int)manifest->num_layers, "chunks", (json_int_t)manifest->count, "bytes",
                     (json_int_t)manifest->total_bytes, "chunks_resident", (json_int_t)resident,
                     "resident_bytes", (json_int_t)resident_bytes, "revision",
                     (json_int_t)revision->incarnation, "users", (int)revision->users, "superseded",
                     (int)revision->superseded);
}

json_t *report_models(struct broker *broker)
{
    json_t *list = json_array();
    if (!list)
        return NULL;
    const struct catalog_model *model;
    TAILQ_FOREACH(model, &broker->catalog->models, link)
    {
        json_t *row = model->current ? describe_revision(broker, model->current)
                                     : json_pack("{s:o}", "model", report_text(model->name));
        if (row && model->current)
            (void)json_object_set_new(row, "origin",
                                      json_string(model->current->stored ? "redis" : "disk"));
        if (row && model->problem) {
            (void)json_object_set_new(row, "code", json_integer(model->problem));
            (void)json_object_set_new(row, "error", report_text(model->problem_text));
        }
        (void)json_array_append_new(list, row);
    }
    const struct revision *revision;
    TAILQ_FOREACH(revision, &broker->catalog->superseded, link)
    (void)json_array_append_new(list, describe_revision(broker, revision));
    return report_list("models", list);
}

/* ---- clients --------------------------------------------------------------------------------- */

/* Where the client's passes are, as it says: what is written in its page is shown, not believed. */
static json_t *describe_cursors(const struct session *session)
{
    const struct swi_index *index = cache_index(session->broker->cache);
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
                            report_text(revision->name), "component",
                            report_text(revision->manifest.chunks[cursor.component].name), "at",
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
            (void)json_array_append_new(names, report_text(session->models[i]->name));
    return json_pack("{s:i, s:o, s:i, s:i, s:o, s:i, s:I, s:I, s:i, s:f, s:b, s:o}", "session",
                     (int)session->number, "name", report_text(session->name), "pid",
                     (int)session->peer.pid, "uid", (int)session->peer.uid, "models", names,
                     "pinned_chunks", (int)pins.chunks, "pinned_bytes", (json_int_t)pins.bytes,
                     "hits", (json_int_t)(session_hits(session) + session->hits_before), "waiting",
                     (int)session->request_count, "age_s",
                     (double)((now_ns - session->since_ns) / LOOP_NS_PER_MS) / 1000, "rate_limited",
                     session->resume.armed ? 1 : 0, "cursors", describe_cursors(session));
}

json_t *report_clients(struct broker *broker)
{
    json_t *list = json_array();
    if (!list)
        return NULL;
    uint64_t now_ns = loop_now();
    struct session *session;
    TAILQ_FOREACH(session, &broker->connections, link)
    {
        if (session->state == SESSION_ATTACHED)
            (void)json_array_append_new(list, describe_client(session, now_ns));
    }
    return report_list("clients", list);
}
