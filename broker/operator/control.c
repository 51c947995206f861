/* SPDX-License-Identifier: MIT */
/* The operator's verbs. */
#include "operator/control.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "core/size.h"
#include "daemon/reload.h"
#include "operator/pins.h"
#include "operator/push.h"
#include "operator/report.h"
#include "operator/verify.h"
#include "operator/warm.h"
#include "operator/where.h"

struct call {
    struct session *session;
    uint64_t tag;
    const char *model, *component; /* NULL: not given */
    bool progress;                 /* asked for, before the answer */
    json_t *request;
};

json_t *control_failure(int code, const char *message)
{
    return json_pack("{s:b, s:i, s:o}", "ok", 0, "code", code, "error", stats_text(message));
}

/* ---- reading verbs --------------------------------------------------------------------------- */

static json_t *ping(struct call *call)
{
    (void)call;
    return json_pack("{s:b, s:i}", "ok", 1, "pid", (int)getpid());
}

static json_t *stats(struct call *call)
{
    return report_stats(call->session->broker);
}

/* Answers later where there is a Redis to be asked. */
static json_t *models(struct call *call)
{
    where_start(call->session, call->tag, report_models(call->session->broker));
    return NULL;
}

static json_t *clients(struct call *call)
{
    return report_clients(call->session->broker);
}

/* The model and component that a request names; NULL, or what is wrong with them. */
static json_t *check_names(const struct call *call)
{
    if (!call->model)
        return call->component ? control_failure(-EINVAL, "a component needs its model") : NULL;
    char text[600];
    const struct catalog_model *model = catalog_find(call->session->broker->catalog, call->model);
    if (!model || !model->current) {
        (void)snprintf(text, sizeof text, "no model %.255s in the catalog; swctl models lists them",
                       call->model);
        return control_failure(SW_ENOMODEL, text);
    }
    if (call->component && revision_find(model->current, call->component) < 0) {
        (void)snprintf(text, sizeof text, "model %.255s has no component %.255s", call->model,
                       call->component);
        return control_failure(SW_ENOCOMPONENT, text);
    }
    return NULL;
}

static json_t *ls(struct call *call)
{
    json_t *wrong = check_names(call);
    return wrong ? wrong : report_chunks(call->session->broker, call->model, call->component);
}

/* ---- changing verbs -------------------------------------------------------------------------- */

static json_t *clear(struct call *call)
{
    json_t *wrong = check_names(call);
    if (wrong)
        return wrong;
    struct cache_cleared cleared =
        cache_clear(call->session->broker->cache, call->model, call->component);
    log_info("cleared %u chunks; %u are pinned and stay", cleared.chunks, cleared.pinned_chunks);
    return json_pack("{s:b, s:I, s:I, s:I, s:I, s:I}", "ok", 1, "chunks",
                     (json_int_t)cleared.chunks, "bytes", (json_int_t)cleared.bytes,
                     "pinned_chunks", (json_int_t)cleared.pinned_chunks, "pinned_bytes",
                     (json_int_t)cleared.pinned_bytes, "operator_pinned_chunks",
                     (json_int_t)cleared.held_chunks);
}

static json_t *resize(struct call *call)
{
    json_t *bytes = json_object_get(call->request, "bytes");
    if (!json_is_integer(bytes) || json_integer_value(bytes) <= 0)
        return control_failure(-EINVAL, "resize needs \"bytes\", a whole number over zero");
    struct broker *broker = call->session->broker;
    struct cache *cache = broker->cache;
    struct swi_error error = {0};
    uint64_t wanted = (uint64_t)json_integer_value(bytes);
    int result = pins_check_size(broker, wanted, &error);
    if (result == 0)
        result = cache_resize(cache, wanted, &error);
    if (result < 0 && result != SW_EARENAFULL)
        return control_failure(result, error.text);
    struct cache_stats stats;
    cache_get_stats(cache, &stats);
    log_info("resized to %llu MB%s", (unsigned long long)stats.arena_bytes >> 20,
             result ? "; pinned chunks still hold what is above it" : "");
    json_t *reply =
        json_pack("{s:b, s:I, s:b}", "ok", 1, "arena_bytes", (json_int_t)stats.arena_bytes,
                  "waiting_for_pins", result == SW_EARENAFULL);
    if (reply && result)
        (void)json_object_set_new(reply, "message", stats_text(error.text));
    return reply;
}

/* The catalog could not be read, but settings are in force already. Takes the reference. */
static json_t *half_reloaded(json_t *settings, int code, const char *why)
{
    const json_t *applied = json_object_get(settings, "applied");
    char text[SWI_ERROR_TEXT];
    size_t length = (size_t)snprintf(text, sizeof text, "%.300s", why);
    for (size_t i = 0; i < json_array_size(applied) && length < sizeof text; i++)
        length += (size_t)snprintf(text + length, sizeof text - length, "%s%s",
                                   i ? ", " : "; of the settings these were applied: ",
                                   json_string_value(json_array_get(applied, i)));
    json_t *reply = control_failure(code, text);
    if (reply && settings)
        (void)json_object_set(reply, "settings", settings);
    json_decref(settings);
    return reply;
}

static json_t *reload(struct call *call)
{
    struct catalog_changes changes;
    struct swi_error error = {0};
    json_t *settings = NULL;
    int result = reload_settings(call->session->broker, &settings, &error);
    if (result == 0)
        result = broker_reload(call->session->broker, &changes, &error);
    if (result < 0)
        return half_reloaded(settings, result, error.text);
    return json_pack("{s:b, s:i, s:i, s:i, s:i, s:i, s:i, s:o*}", "ok", 1, "pins_ended",
                     (int)call->session->broker->pins_ended, "added", (int)changes.added,
                     "replaced", (int)changes.replaced, "removed", (int)changes.removed,
                     "unchanged", (int)changes.unchanged, "bad", (int)changes.bad, "settings",
                     settings);
}

static json_t *load(struct call *call, bool pin)
{
    if (!call->model)
        return control_failure(-EINVAL, pin ? "pin needs a model" : "warm needs a model");
    struct swi_error error = {0};
    const struct warm_options options = {.pin = pin, .progress = call->progress};
    int result =
        warm_start(call->session, call->tag, call->model, call->component, options, &error);
    return result < 0 ? control_failure(result, error.text) : NULL;
}

/* These two answer later, through the session. */
static json_t *warm(struct call *call)
{
    return load(call, false);
}

static json_t *pin(struct call *call)
{
    return load(call, true);
}

/* The same. */
static json_t *push(struct call *call)
{
    if (!call->model || call->component)
        return control_failure(-EINVAL, "push needs a model, and pushes all of it");
    struct swi_error error = {0};
    int result = push_start(call->session, call->tag, call->model, call->progress, &error);
    return result < 0 ? control_failure(result, error.text) : NULL;
}

static json_t *unpin(struct call *call)
{
    char text[600];
    if (!call->model)
        return control_failure(-EINVAL, "unpin needs a model");
    struct pins_removed removed = pins_remove(call->session->broker, call->model, call->component);
    if (removed.chunks == 0) {
        (void)snprintf(text, sizeof text,
                       "the operator has not pinned %.255s%s%.255s; swctl ls "
                       "shows what is",
                       call->model, call->component ? "/" : "",
                       call->component ? call->component : "");
        return control_failure(-ENOENT, text);
    }
    return json_pack("{s:b, s:i, s:I, s:I}", "ok", 1, "chunks", (int)removed.chunks, "bytes",
                     (json_int_t)removed.bytes, "operator_pinned_bytes",
                     (json_int_t)call->session->broker->pinned_bytes);
}

static json_t *verify(struct call *call)
{
    json_t *wrong = check_names(call);
    if (wrong)
        return wrong;
    struct swi_error error = {0};
    int result = verify_start(call->session, call->tag, call->model, call->component,
                              call->progress, &error);
    return result < 0 ? control_failure(result, error.text) : NULL;
}

static json_t *trace_report(const struct broker *broker)
{
    if (!broker->trace)
        return json_pack("{s:b, s:b}", "ok", 1, "recording", 0);
    struct trace_status status = trace_get_status(broker->trace);
    return json_pack("{s:b, s:b, s:o, s:I, s:I, s:I, s:f}", "ok", 1, "recording",
                     (int)status.recording, "path", stats_text(status.path), "bytes",
                     (json_int_t)status.bytes, "lost", (json_int_t)status.lost, "unknown",
                     (json_int_t)status.unknown, "seconds",
                     (double)((loop_now() - status.started_ns) / LOOP_NS_PER_MS) / 1000);
}

static json_t *trace(struct call *call)
{
    struct broker *broker = call->session->broker;
    const char *action = json_string_value(json_object_get(call->request, "action"));
    const char *path = json_string_value(json_object_get(call->request, "path"));
    struct swi_error error = {0};
    if (action && strcmp(action, "status") == 0)
        return trace_report(broker);
    /* it makes the broker write a file: not for everybody who may change things */
    uid_t uid = call->session->peer.uid;
    if (uid != 0 && uid != geteuid())
        return control_failure(-EPERM, "trace start and stop are for root and the broker's own "
                                       "user");
    if (action && strcmp(action, "start") == 0 && path) {
        bool overwrite = json_is_true(json_object_get(call->request, "force"));
        int result = broker_trace_start(broker, path, overwrite, &error);
        return result < 0 ? control_failure(result, error.text) : trace_report(broker);
    }
    if (!action || strcmp(action, "stop") != 0)
        return control_failure(-EINVAL, "trace needs an \"action\": start (with a \"path\"), stop "
                                        "or status");
    if (!broker->trace)
        return control_failure(-ENOENT, "no trace is being recorded");
    json_t *reply = trace_report(broker);
    broker_trace_stop(broker);
    (void)json_object_set_new(reply, "recording", json_false());
    return reply;
}

/* ---- all of them ----------------------------------------------------------------------------- */

static const struct verb {
    const char *name;
    bool changing;
    /* New reference; NULL for a deferred verb that answers later. */
    json_t *(*run)(struct call *call);
    bool deferred;
} verbs[] = {
    {"ping", false, ping, false},
    {"stats", false, stats, false},
    {"ls", false, ls, false},
    {"models", false, models, true},
    {"clients", false, clients, false},
    {"clear", true, clear, false},
    {"resize", true, resize, false},
    {"reload", true, reload, false},
    {"warm", true, warm, true},
    {"pin", true, pin, true},
    {"push", true, push, true},
    {"unpin", true, unpin, false},
    {"verify", true, verify, true},
    {"trace", false, trace, false}, /* start and stop look for themselves */
};

static bool may_change(const struct session *session)
{
    const struct peer *peer = &session->peer;
    gid_t admins = session->broker->options.admin_gid;
    return peer->uid == 0 || peer->uid == geteuid() ||
           (admins != BROKER_NO_GROUP && peer_in_group(session->socket.fd, peer, admins));
}

static void run_verb(struct call *call, const struct verb *verb)
{
    json_t *reply;
    if (verb->changing && !may_change(call->session)) {
        gid_t admins = call->session->broker->options.admin_gid;
        char group[40] = "there is none: --admin-group";
        char text[200];
        if (admins != BROKER_NO_GROUP)
            (void)snprintf(group, sizeof group, "gid %u", admins);
        (void)snprintf(text, sizeof text,
                       "%s is for root, the broker's own user (uid %u) and the admin group (%s); "
                       "you are uid %u",
                       verb->name, geteuid(), group, call->session->peer.uid);
        reply = control_failure(-EPERM, text);
    } else {
        reply = verb->run(call);
        if (!reply && verb->deferred)
            return;
    }
    session_reply(call->session, call->tag, reply);
}

void control_handle(struct session *session, uint64_t tag, const char *text, size_t size)
{
    json_error_t problem;
    json_t *request = json_loadb(text, size, JSON_REJECT_DUPLICATES, &problem);
    json_t *name = json_object_get(request, "verb");
    if (!json_is_string(name)) {
        session->broker->counters.protocol_errors++;
        session_reply(
            session, tag,
            control_failure(SW_EPROTOCOL, "the request is no JSON object with a \"verb\""));
        json_decref(request);
        return;
    }
    struct call call = {.session = session,
                        .tag = tag,
                        .model = json_string_value(json_object_get(request, "model")),
                        .component = json_string_value(json_object_get(request, "component")),
                        .progress = json_is_true(json_object_get(request, "progress")),
                        .request = request};
    const struct verb *verb = NULL;
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
        if (strcmp(verbs[i].name, json_string_value(name)) == 0)
            verb = &verbs[i];
    if (verb) {
        run_verb(&call, verb);
    } else {
        char message[120];
        (void)snprintf(message, sizeof message, "this broker has no verb %.60s",
                       json_string_value(name));
        session_reply(session, tag, control_failure(SW_EUNSUPPORTED, message));
    }
    json_decref(request);
}
