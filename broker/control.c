/* The operator's verbs. */
#include "control.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "push.h"
#include "reload.h"
#include "report.h"
#include "warm.h"
#include "where.h"

struct call {
    struct session *session;
    uint64_t tag;
    const char *model, *component; /* NULL: not given */
    json_t *request;
};

json_t *control_failure(int code, const char *message)
{
    return json_pack("{s:b, s:i, s:o}", "ok", 0, "code", code, "error", report_text(message));
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

static json_t *ls(struct call *call)
{
    return report_chunks(call->session->broker);
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

/* ---- changing verbs -------------------------------------------------------------------------- */

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

static json_t *clear(struct call *call)
{
    json_t *wrong = check_names(call);
    if (wrong)
        return wrong;
    struct cache_cleared cleared =
        cache_clear(call->session->broker->cache, call->model, call->component);
    log_info("cleared %u chunks; %u are pinned and stay", cleared.chunks, cleared.pinned_chunks);
    return json_pack("{s:b, s:I, s:I, s:I, s:I}", "ok", 1, "chunks", (json_int_t)cleared.chunks,
                     "bytes", (json_int_t)cleared.bytes, "pinned_chunks",
                     (json_int_t)cleared.pinned_chunks, "pinned_bytes",
                     (json_int_t)cleared.pinned_bytes);
}

static json_t *resize(struct call *call)
{
    json_t *bytes = json_object_get(call->request, "bytes");
    if (!json_is_integer(bytes) || json_integer_value(bytes) <= 0)
        return control_failure(-EINVAL, "resize needs \"bytes\", a whole number over zero");
    struct cache *cache = call->session->broker->cache;
    struct swi_error error = {0};
    int result = cache_resize(cache, (uint64_t)json_integer_value(bytes), &error);
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
        (void)json_object_set_new(reply, "message", report_text(error.text));
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
    if (result < 0) {
        json_decref(settings);
        return control_failure(result, error.text);
    }
    return json_pack("{s:b, s:i, s:i, s:i, s:i, s:i, s:o*}", "ok", 1, "added", (int)changes.added,
                     "replaced", (int)changes.replaced, "removed", (int)changes.removed,
                     "unchanged", (int)changes.unchanged, "bad", (int)changes.bad, "settings",
                     settings);
}

/* Answers later, through the session. */
static json_t *warm(struct call *call)
{
    if (!call->model)
        return control_failure(-EINVAL, "warm needs a model");
    struct swi_error error = {0};
    int result = warm_start(call->session, call->tag, call->model, call->component, &error);
    return result < 0 ? control_failure(result, error.text) : NULL;
}

/* The same. */
static json_t *push(struct call *call)
{
    if (!call->model || call->component)
        return control_failure(-EINVAL, "push needs a model, and pushes all of it");
    struct swi_error error = {0};
    int result = push_start(call->session, call->tag, call->model, &error);
    return result < 0 ? control_failure(result, error.text) : NULL;
}

/* ---- all of them ----------------------------------------------------------------------------- */

static const struct verb {
    const char *name;
    bool changing;
    json_t *(*run)(
        struct call *call); /* new reference; NULL for a deferred verb that answers later */
    bool deferred;
} verbs[] = {
    {"ping", false, ping, false},       {"stats", false, stats, false},
    {"ls", false, ls, false},           {"models", false, models, true},
    {"clients", false, clients, false}, {"clear", true, clear, false},
    {"resize", true, resize, false},    {"reload", true, reload, false},
    {"warm", true, warm, true},         {"push", true, push, true},
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
