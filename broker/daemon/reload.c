/* SPDX-License-Identifier: MIT */
/* Reloading: settings that change while the broker runs, and the catalog. */
#include "daemon/reload.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "daemon/fit.h"
#include "operator/pins.h"
#include "operator/report.h"

static const struct log_about about = {.message_id = LOG_ID_RELOAD};

/* ---- how a setting takes effect -------------------------------------------------------------- */

/* Nothing to do: the value is read whenever it is needed. */
static int apply_nothing(struct broker *broker, const struct broker_options *wanted,
                         struct swi_error *error)
{
    (void)broker;
    (void)wanted;
    (void)error;
    return 0;
}

static int apply_cache_size(struct broker *broker, const struct broker_options *wanted,
                            struct swi_error *error)
{
    uint64_t bytes = fit_bytes(broker, wanted);
    int result = pins_check_size(&broker->control, bytes, error);
    if (result == 0)
        result = cache_resize(broker->cache, bytes, error);
    broker->fitted_bytes = cache_budget(broker->cache);
    if (result == SW_EARENAFULL) { /* resized; pinned chunks leave when they are released */
        log_warning("%s", error->text);
        return 0;
    }
    return result;
}

static int apply_policy(struct broker *broker, const struct broker_options *wanted,
                        struct swi_error *error)
{
    (void)error;
    cache_set_policy(broker->cache, wanted->policy);
    return 0;
}

static int apply_max_pinned(struct broker *broker, const struct broker_options *wanted,
                            struct swi_error *error)
{
    (void)error;
    cache_set_session_bytes(broker->cache, wanted->max_pinned_bytes);
    return 0;
}

static int apply_socket(struct broker *broker, const struct broker_options *wanted,
                        struct swi_error *error)
{
    return listener_set_access(&broker->listener, wanted->socket_mode, wanted->socket_gid, error);
}

static int apply_log_level(struct broker *broker, const struct broker_options *wanted,
                           struct swi_error *error)
{
    (void)broker;
    (void)error;
    log_set_level(wanted->log_level);
    return 0;
}

/* Makes a running broker heed a new value, which its options hold once this returns 0. */
typedef int apply_function(struct broker *broker, const struct broker_options *wanted,
                           struct swi_error *error);

/* How a setting is applied; NULL: at the next start. */
static apply_function *find_apply(const char *name)
{
    static const struct {
        const char *name;
        apply_function *apply;
    } table[] = {
        {"cache-size", apply_cache_size}, {"policy", apply_policy},
        {"socket-mode", apply_socket},    {"socket-group", apply_socket},
        {"admin-group", apply_nothing},   {"max-sessions", apply_nothing},
        {"max-pinned", apply_max_pinned}, {"exit-when-idle", apply_nothing},
        {"log-level", apply_log_level},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (strcmp(table[i].name, name) == 0)
            return table[i].apply;
    return NULL;
}

/* ---- settings -------------------------------------------------------------------------------- */

static bool same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static const char *or_none(const char *text)
{
    return text ? text : "not set";
}

static void append(json_t *report, const char *key, json_t *item)
{
    (void)json_array_append_new(json_object_get(report, key), item);
}

/* Moves the value to the broker's settings, so that the options' pointers stay valid. */
static void adopt(struct broker *broker, struct settings *fresh, size_t index)
{
    const struct setting *setting = &settings_table[index];
    struct settings_value old = broker->settings->values[index];
    broker->settings->values[index] = fresh->values[index];
    fresh->values[index] = old;
    (void)setting->parse(setting, broker->settings->values[index].text,
                         (char *)&broker->options + setting->offset);
}

static void take_change(struct broker *broker, struct settings *fresh, size_t index, json_t *report)
{
    const struct setting *setting = &settings_table[index];
    const char *old = broker->settings->values[index].text;
    const char *new = fresh->values[index].text;
    if (same(old, new))
        return;
    old = setting->secret ? "(not shown)" : or_none(old);
    new = setting->secret ? "(not shown)" : or_none(new);
    apply_function *apply = find_apply(setting->name);
    if (!apply) {
        log_line(LOG_LEVEL_WARNING, &about,
                 "the settings now say %s for %s; it stays %s until a restart", new, setting->name,
                 old);
        append(report, "at_restart", json_string(setting->name));
        return;
    }
    struct swi_error error = {0};
    int result = apply(broker, &fresh->options, &error);
    if (result < 0) {
        const char *why = error.text[0] ? error.text : sw_strerror(result);
        log_line(LOG_LEVEL_ERROR, &about, "%s stays %s: %s", setting->name, old, why);
        append(report, "refused",
               json_pack("{s:s, s:o}", "name", setting->name, "error", stats_text(why)));
        return;
    }
    log_line(LOG_LEVEL_INFO, &about, "%s is now %s, was %s", setting->name, new, old);
    append(report, "applied", json_string(setting->name));
    adopt(broker, fresh, index);
}

static int reload_settings(struct broker *broker, json_t **ret, struct swi_error *error)
{
    struct settings fresh;
    enum settings_action action;
    const struct settings *known = broker->settings;
    int result = settings_load(known->argc, known->argv, &fresh, &action, error);
    if (result < 0) {
        const struct swi_error problem = *error;
        (void)swi_fail(error, result,
                       "%.400s; nothing was reloaded, the old settings stay in force",
                       problem.text);
        log_line(LOG_LEVEL_ERROR, &about, "%s", error->text);
        return result;
    }
    json_t *report = json_pack("{s:o, s:[], s:[], s:[]}", "file",
                               fresh.file ? stats_text(fresh.file) : json_null(), "applied",
                               "at_restart", "refused");
    for (size_t i = 0; i < settings_count; i++)
        take_change(broker, &fresh, i, report);
    settings_free(&fresh);
    *ret = report;
    return 0;
}

/* ---- the catalog ----------------------------------------------------------------------------- */

int reload_catalog(struct broker *broker, struct control_reloaded *ret, struct swi_error *error)
{
    service_reloading(&broker->service);
    struct catalog_changes *changes = &ret->catalog;
    int result = catalog_scan(broker->catalog, changes, error);
    if (broker->remote_models)
        remote_models_find(broker->remote_models);
    service_reloaded(&broker->service);
    if (result < 0)
        log_error("%s", error->text);
    else
        log_info("catalog: %u models added, %u replaced, %u removed, %u unchanged, %u bad",
                 changes->added, changes->replaced, changes->removed, changes->unchanged,
                 changes->bad);
    ret->pins_ended = pins_follow(&broker->control); /* a failed scan may have replaced models */
    return result;
}

int reload(void *context, struct control_reloaded *ret, struct swi_error *error)
{
    struct broker *broker = context;
    int result = reload_settings(broker, &ret->settings, error);
    return result == 0 ? reload_catalog(broker, ret, error) : result;
}
