/* SPDX-License-Identifier: MIT */
/* Settings that change while the broker runs. */
#include "daemon/reload.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "operator/pins.h"
#include "operator/report.h"
#include "settings/settings.h"

int reload_value(struct broker *broker, const struct broker_options *wanted,
                 struct swi_error *error)
{
    (void)broker;
    (void)wanted;
    (void)error;
    return 0;
}

int reload_cache_size(struct broker *broker, const struct broker_options *wanted,
                      struct swi_error *error)
{
    int result = pins_check_size(broker, wanted->cache_bytes, error);
    if (result == 0)
        result = cache_resize(broker->cache, wanted->cache_bytes, error);
    if (result == SW_EARENAFULL) { /* the size it has; pinned chunks leave when they can */
        log_warning("%s", error->text);
        return 0;
    }
    return result;
}

int reload_policy(struct broker *broker, const struct broker_options *wanted,
                  struct swi_error *error)
{
    (void)error;
    cache_set_policy(broker->cache, wanted->policy);
    return 0;
}

int reload_max_pinned(struct broker *broker, const struct broker_options *wanted,
                      struct swi_error *error)
{
    (void)error;
    cache_set_session_bytes(broker->cache, wanted->max_pinned_bytes);
    return 0;
}

int reload_socket(struct broker *broker, const struct broker_options *wanted,
                  struct swi_error *error)
{
    return listener_set_access(&broker->listener, wanted->socket_mode, wanted->socket_gid, error);
}

int reload_log_level(struct broker *broker, const struct broker_options *wanted,
                     struct swi_error *error)
{
    (void)broker;
    (void)error;
    log_set_level(wanted->log_level);
    return 0;
}

static const struct log_about about = {.message_id = LOG_ID_RELOAD};

/* ---- all of them ----------------------------------------------------------------------------- */

static bool same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static const char *or_none(const char *text)
{
    return text ? text : "not given";
}

static void append(json_t *report, const char *key, json_t *item)
{
    (void)json_array_append_new(json_object_get(report, key), item);
}

/* The value changes hands, so that what the options point to lives as long as the broker. */
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
    old = setting->secret ? "another" : or_none(old);
    new = setting->secret ? "new" : or_none(new);
    if (!setting->apply) {
        log_line(LOG_LEVEL_WARNING, &about,
                 "%s is %s in the settings now; it stays %s until a restart", setting->name, new,
                 old);
        append(report, "at_restart", json_string(setting->name));
        return;
    }
    struct swi_error error = {0};
    int result = setting->apply(broker, &fresh->options, &error);
    if (result < 0) {
        const char *why = error.text[0] ? error.text : sw_strerror(result);
        log_line(LOG_LEVEL_ERROR, &about, "%s stays %s: %s", setting->name, old, why);
        append(report, "refused",
               json_pack("{s:s, s:o}", "name", setting->name, "error", stats_text(why)));
        return;
    }
    log_line(LOG_LEVEL_INFO, &about, "%s is %s now, it was %s", setting->name, new, old);
    append(report, "applied", json_string(setting->name));
    adopt(broker, fresh, index);
}

int reload_settings(struct broker *broker, json_t **ret, struct swi_error *error)
{
    struct settings fresh;
    enum settings_action action;
    const struct settings *known = broker->settings;
    int result = settings_load(known->argc, known->argv, &fresh, &action, error);
    if (result < 0) {
        const struct swi_error problem = *error;
        (void)swi_fail(error, result, "%.400s; nothing was reloaded, the old settings stay",
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
