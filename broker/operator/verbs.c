/* SPDX-License-Identifier: MIT */
/* The operator's verbs. */
#include "operator/verbs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/size.h"
#include "operator/pins.h"
#include "operator/push.h"
#include "operator/report.h"
#include "operator/verify.h"
#include "operator/warm.h"
#include "operator/where.h"

/* ---- reading verbs --------------------------------------------------------------------------- */

static json_t *ping(const struct control_call *call)
{
    (void)call;
    return json_pack("{s:b, s:i}", "ok", 1, "pid", (int)getpid());
}

static json_t *stats(const struct control_call *call)
{
    return report_stats(call->control);
}

/* Answers later if there is a Redis to ask. */
static json_t *models(const struct control_call *call)
{
    where_start(call, report_models(call->control));
    return NULL;
}

static json_t *clients(const struct control_call *call)
{
    return report_clients(call->control);
}

/* What is wrong with the target, as an answer. NULL: nothing, or there is no target. */
static json_t *check_target(const struct control_call *call)
{
    if (!call->model)
        return NULL;
    char text[600];
    const struct catalog_model *model = catalog_find(call->control->catalog, call->model);
    if (!model || !model->current) {
        (void)snprintf(text, sizeof text,
                       "no model %.255s in the catalog; swctl models lists the models",
                       call->model);
        return report_failure(SW_ENOMODEL, text);
    }
    if (call->component && revision_find(model->current, call->component) < 0) {
        (void)snprintf(text, sizeof text, "model %.255s has no component %.255s", call->model,
                       call->component);
        return report_failure(SW_ENOCOMPONENT, text);
    }
    return NULL;
}

static json_t *ls(const struct control_call *call)
{
    json_t *wrong = check_target(call);
    return wrong ? wrong : report_chunks(call->control, call->model, call->component);
}

static json_t *trace(const struct control_call *call)
{
    const struct trace *trace = call->control->sessions->trace;
    if (!trace)
        return json_pack("{s:b, s:b}", "ok", 1, "recording", 0);
    struct trace_status status = trace_get_status(trace);
    return json_pack("{s:b, s:b, s:o, s:I, s:I, s:I, s:f}", "ok", 1, "recording",
                     (int)status.recording, "path", stats_text(status.path), "bytes",
                     (json_int_t)status.bytes, "lost", (json_int_t)status.lost, "unknown",
                     (json_int_t)status.unknown, "seconds",
                     (double)((loop_now() - status.started_ns) / LOOP_NS_PER_MS) / 1000);
}

/* ---- changing verbs -------------------------------------------------------------------------- */

static json_t *clear(const struct control_call *call)
{
    json_t *wrong = check_target(call);
    if (wrong)
        return wrong;
    struct cache_cleared cleared = cache_clear(call->control->cache, call->model, call->component);
    log_info("cleared %u chunks; %u pinned ones stay", cleared.chunks, cleared.pinned_chunks);
    return json_pack("{s:b, s:I, s:I, s:I, s:I, s:I}", "ok", 1, "chunks",
                     (json_int_t)cleared.chunks, "bytes", (json_int_t)cleared.bytes,
                     "pinned_chunks", (json_int_t)cleared.pinned_chunks, "pinned_bytes",
                     (json_int_t)cleared.pinned_bytes, "operator_pinned_chunks",
                     (json_int_t)cleared.held_chunks);
}

static json_t *resize(const struct control_call *call)
{
    json_t *bytes = json_object_get(call->request, "bytes");
    if (!json_is_integer(bytes) || json_integer_value(bytes) <= 0)
        return report_failure(-EINVAL, "resize needs \"bytes\", a whole number above zero");
    struct cache *cache = call->control->cache;
    struct swi_error error = {0};
    uint64_t wanted = (uint64_t)json_integer_value(bytes);
    int result = pins_check_size(call->control, wanted, &error);
    if (result == 0)
        result = cache_resize(cache, wanted, &error);
    if (result < 0 && result != SW_EARENAFULL)
        return report_failure(result, error.text);
    struct cache_stats stats;
    cache_get_stats(cache, &stats);
    log_info("resized to %llu MB%s", (unsigned long long)stats.arena_bytes >> 20,
             result ? "; pinned chunks above that size stay until they are released" : "");
    json_t *reply =
        json_pack("{s:b, s:I, s:b}", "ok", 1, "arena_bytes", (json_int_t)stats.arena_bytes,
                  "waiting_for_pins", result == SW_EARENAFULL);
    if (reply && result)
        (void)json_object_set_new(reply, "message", stats_text(error.text));
    return reply;
}

/* The catalog could not be read, but settings were applied before. Takes the reference. */
static json_t *half_reloaded(json_t *settings, int code, const char *why)
{
    const json_t *applied = json_object_get(settings, "applied");
    char text[SWI_ERROR_TEXT];
    size_t length = (size_t)snprintf(text, sizeof text, "%.300s", why);
    for (size_t i = 0; i < json_array_size(applied) && length < sizeof text; i++)
        length += (size_t)snprintf(text + length, sizeof text - length, "%s%s",
                                   i ? ", " : "; these settings were applied: ",
                                   json_string_value(json_array_get(applied, i)));
    json_t *reply = report_failure(code, text);
    if (reply && settings)
        (void)json_object_set(reply, "settings", settings);
    json_decref(settings);
    return reply;
}

static json_t *reload(const struct control_call *call)
{
    struct control *control = call->control;
    struct control_reloaded reloaded = {.settings = NULL};
    struct swi_error error = {0};
    int result = control->reload(control->reload_context, &reloaded, &error);
    if (result < 0)
        return half_reloaded(reloaded.settings, result, error.text);
    const struct catalog_changes *changes = &reloaded.catalog;
    return json_pack("{s:b, s:i, s:i, s:i, s:i, s:i, s:i, s:o*}", "ok", 1, "pins_ended",
                     (int)reloaded.pins_ended, "added", (int)changes->added, "replaced",
                     (int)changes->replaced, "removed", (int)changes->removed, "unchanged",
                     (int)changes->unchanged, "bad", (int)changes->bad, "settings",
                     reloaded.settings);
}

/* Also of a component that is no longer in the catalog. */
static json_t *unpin(const struct control_call *call)
{
    struct pins_removed removed = pins_remove(call->control, call->model, call->component);
    if (removed.chunks == 0) {
        char text[600];
        (void)snprintf(text, sizeof text,
                       "%.255s%s%.255s is not pinned; swctl ls shows pinned chunks", call->model,
                       call->component ? "/" : "", call->component ? call->component : "");
        return report_failure(-ENOENT, text);
    }
    return json_pack("{s:b, s:i, s:I, s:I}", "ok", 1, "chunks", (int)removed.chunks, "bytes",
                     (json_int_t)removed.bytes, "operator_pinned_bytes",
                     (json_int_t)call->control->pinned_bytes);
}

/* ---- changing verbs that answer later -------------------------------------------------------- */

/* NULL: the job has begun, and answers. */
static json_t *begun(int result, const struct swi_error *error)
{
    return result < 0 ? report_failure(result, error->text) : NULL;
}

static json_t *warm(const struct control_call *call)
{
    struct swi_error error = {0};
    return begun(warm_start(call, false, &error), &error);
}

static json_t *pin(const struct control_call *call)
{
    struct swi_error error = {0};
    return begun(warm_start(call, true, &error), &error);
}

static json_t *push(const struct control_call *call)
{
    if (call->component)
        return report_failure(-EINVAL, "push takes a whole model");
    struct swi_error error = {0};
    return begun(push_start(call, &error), &error);
}

static json_t *verify(const struct control_call *call)
{
    json_t *wrong = check_target(call);
    if (wrong)
        return wrong;
    struct swi_error error = {0};
    return begun(verify_start(call, &error), &error);
}

/* ---- dispatch -------------------------------------------------------------------------------- */

enum target { TARGET_NONE, TARGET_OPTIONAL, TARGET_NEEDED };

static const struct verb {
    const char *name;
    bool changing;
    enum target target;
    /* New reference; NULL from a deferred verb that answers later. */
    json_t *(*run)(const struct control_call *call);
    bool deferred;
} verbs[] = {
    {"ping", false, TARGET_NONE, ping, false},
    {"stats", false, TARGET_NONE, stats, false},
    {"ls", false, TARGET_OPTIONAL, ls, false},
    {"models", false, TARGET_NONE, models, true},
    {"clients", false, TARGET_NONE, clients, false},
    {"trace", false, TARGET_NONE, trace, false},
    {"clear", true, TARGET_OPTIONAL, clear, false},
    {"resize", true, TARGET_NONE, resize, false},
    {"reload", true, TARGET_NONE, reload, false},
    {"unpin", true, TARGET_NEEDED, unpin, false},
    {"warm", true, TARGET_NEEDED, warm, true},
    {"pin", true, TARGET_NEEDED, pin, true},
    {"push", true, TARGET_NEEDED, push, true},
    {"verify", true, TARGET_OPTIONAL, verify, true},
};

static const struct verb *find_verb(const char *name)
{
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    return NULL;
}

static json_t *check_permission(const struct control_call *call, const struct verb *verb)
{
    const struct peer *peer = &call->session->peer;
    gid_t admins = call->control->sessions->options->admin_gid;
    if (!verb->changing || peer->uid == 0 || peer->uid == geteuid() ||
        (admins != OPTIONS_NO_GROUP && peer_in_group(call->session->socket.fd, peer, admins)))
        return NULL;
    char group[40] = "not set: --admin-group";
    char text[200];
    if (admins != OPTIONS_NO_GROUP)
        (void)snprintf(group, sizeof group, "gid %u", admins);
    (void)snprintf(text, sizeof text,
                   "%s is for root, the broker's own user (uid %u) and the admin group (%s); you "
                   "are uid %u",
                   verb->name, geteuid(), group, peer->uid);
    return report_failure(-EPERM, text);
}

/* The text of a key; NULL: not given. Sets *ret_wrong if the key holds anything else. */
static const char *text_of(const json_t *request, const char *key, bool *ret_wrong)
{
    const json_t *value = json_object_get(request, key);
    const char *text = json_string_value(value);
    if (value && (!text || !*text))
        *ret_wrong = true;
    return text;
}

/* Reads the target into the call. Returns an answer if it is not what the verb takes. */
static json_t *parse_target(struct control_call *call, const struct verb *verb)
{
    char text[80];
    bool wrong = false;
    if (verb->target == TARGET_NONE)
        return NULL;
    call->model = text_of(call->request, "model", &wrong);
    call->component = text_of(call->request, "component", &wrong);
    if (wrong)
        return report_failure(-EINVAL, "\"model\" and \"component\" must be names");
    if (call->component && !call->model)
        return report_failure(-EINVAL, "a component needs its model");
    if (call->model || verb->target == TARGET_OPTIONAL)
        return NULL;
    (void)snprintf(text, sizeof text, "%s needs a model", verb->name);
    return report_failure(-EINVAL, text);
}

/* A session may wait for a bounded number of answers. */
static json_t *check_room(const struct control_call *call, const struct verb *verb)
{
    if (!verb->deferred || session_may_wait(call->session, SESSION_VERB))
        return NULL;
    char text[100];
    (void)snprintf(text, sizeof text,
                   "this connection already waits for %u answers, the maximum; wait for one",
                   SESSION_VERBS);
    return report_failure(SW_EQUOTA, text);
}

static void run_verb(struct control_call *call, const struct verb *verb)
{
    json_t *reply = check_permission(call, verb);
    if (!reply)
        reply = parse_target(call, verb);
    if (!reply)
        reply = check_room(call, verb);
    if (!reply) {
        reply = verb->run(call);
        if (!reply && verb->deferred)
            return;
    }
    session_reply(call->session, call->tag, reply);
}

void verbs_handle(void *context, struct session *session, uint64_t tag, const char *text,
                  size_t size)
{
    json_error_t problem;
    json_t *request = json_loadb(text, size, JSON_REJECT_DUPLICATES, &problem);
    const char *name = json_string_value(json_object_get(request, "verb"));
    const struct verb *verb = name ? find_verb(name) : NULL;
    struct control_call call = {.control = context,
                                .session = session,
                                .tag = tag,
                                .progress = json_is_true(json_object_get(request, "progress")),
                                .request = request};
    if (verb) {
        run_verb(&call, verb);
    } else if (name) {
        char message[120];
        (void)snprintf(message, sizeof message, "unknown verb %.60s", name);
        session_reply(session, tag, report_failure(SW_EUNSUPPORTED, message));
    } else {
        session->sessions->counters->protocol_errors++;
        session_reply(
            session, tag,
            report_failure(SW_EPROTOCOL, "the request is not a JSON object with a \"verb\""));
    }
    json_decref(request);
}
