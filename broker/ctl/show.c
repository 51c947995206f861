/* SPDX-License-Identifier: MIT */
/* The broker's answers, printed for people. A key that an older or newer broker does not send shows
 * as 0 or "". */
#include "ctl/show.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/size.h"
#include "ctl/lib/table.h"

unsigned long long ctl_count_of(const json_t *object, const char *key)
{
    return (unsigned long long)json_integer_value(json_object_get(object, key));
}

const char *ctl_text_of(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));
    return value ? value : "";
}

void ctl_size_of(const json_t *object, const char *key, char *text, size_t size)
{
    swi_size_format(ctl_count_of(object, key), text, size);
}

void ctl_duration(double ms, char *text, size_t size)
{
    static const struct {
        double ms;
        const char *unit;
    } units[] = {{864e5, "d"}, {36e5, "h"}, {6e4, "min"}, {1e3, "s"}};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        double value = ms / units[i].ms;
        if (value >= 1) {
            (void)snprintf(text, size, "%.*f %s", value < 10 ? 1 : 0, value, units[i].unit);
            return;
        }
    }
    (void)snprintf(text, size, "%.0f ms", ms > 0 ? ms : 0);
}

/* "1.5 GiB"; static storage, used up by the next call but three. */
static const char *size_of(const json_t *object, const char *key)
{
    static char texts[4][32];
    static unsigned next;
    char *place = texts[next++ % 4];
    ctl_size_of(object, key, place, sizeof texts[0]);
    return place;
}

void ctl_show_ping(const struct ctl_call *call, const json_t *reply)
{
    (void)call;
    (void)printf("the broker answers (pid %llu)\n", ctl_count_of(reply, "pid"));
}

/* ---- listings -------------------------------------------------------------------------------- */

static void print_names(const json_t *models)
{
    for (size_t i = 0; i < json_array_size(models); i++) {
        const json_t *model = json_array_get(models, i);
        if (!json_is_true(json_object_get(model, "superseded")))
            (void)printf("%s\n", ctl_text_of(model, "model"));
    }
}

/* "disk", "redis", "disk, redis": where a model's chunks are. A model without files whose manifest is
 * no longer in the Redis is "redis?". */
static void show_where(struct ctl_table *table, const json_t *row)
{
    const char *origin = ctl_text_of(row, "origin");
    bool disk = strcmp(origin, "disk") == 0;
    bool pushed = json_is_true(json_object_get(json_object_get(row, "redis"), "pushed"));
    if (!*origin)
        ctl_table_cell(table, CTL_FAINT, "-");
    else if (disk)
        ctl_table_cell(table, CTL_PLAIN, pushed ? "disk, redis" : "disk");
    else
        ctl_table_cell(table, CTL_PLAIN, pushed ? "redis" : "redis?");
}

void ctl_show_models(const struct ctl_call *call, const json_t *reply)
{
    if (ctl_value(call, "names")) {
        print_names(json_object_get(reply, "models"));
        return;
    }
    struct ctl_table *table =
        ctl_table_create("MODEL|TYPE|LAYOUT|DTYPE|>CHUNKS|>SIZE|>RESIDENT|>USERS|WHERE|NOTE");
    const json_t *list = json_object_get(reply, "models");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *row = json_array_get(list, i);
        ctl_table_cell(table, CTL_PLAIN, "%s", ctl_text_of(row, "model"));
        ctl_table_cell(table, CTL_PLAIN, "%s", ctl_text_of(row, "type"));
        ctl_table_cell(table, CTL_PLAIN, "%s", ctl_text_of(row, "layout"));
        ctl_table_cell(table, CTL_PLAIN, "%s", ctl_text_of(row, "dtype"));
        ctl_table_cell(table, CTL_PLAIN, "%llu", ctl_count_of(row, "chunks"));
        ctl_table_size(table, ctl_count_of(row, "bytes"));
        ctl_table_size(table, ctl_count_of(row, "resident_bytes"));
        ctl_table_cell(table, CTL_PLAIN, "%llu", ctl_count_of(row, "users"));
        show_where(table, row);
        const char *problem = ctl_text_of(row, "error");
        bool old = json_is_true(json_object_get(row, "superseded"));
        ctl_table_cell(table, *problem ? CTL_BAD : CTL_FAINT, "%s%s%s", old ? "replaced" : "",
                       old && *problem ? "; " : "", problem);
    }
    ctl_table_print(table);
}

void ctl_show_clients(const struct ctl_call *call, const json_t *reply)
{
    (void)call;
    struct ctl_table *table =
        ctl_table_create(">SESSION|NAME|>PID|>UID|>PINS|>PINNED|>HITS|>WAITING|>AGE|MODELS");
    const json_t *list = json_object_get(reply, "clients");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *row = json_array_get(list, i);
        ctl_table_cell(table, CTL_PLAIN, "%llu", ctl_count_of(row, "session"));
        ctl_table_cell(table, CTL_PLAIN, "%s", ctl_text_of(row, "name"));
        ctl_table_cell(table, CTL_PLAIN, "%llu", ctl_count_of(row, "pid"));
        ctl_table_cell(table, CTL_PLAIN, "%llu", ctl_count_of(row, "uid"));
        ctl_table_cell(table, CTL_PLAIN, "%llu", ctl_count_of(row, "pinned_chunks"));
        ctl_table_size(table, ctl_count_of(row, "pinned_bytes"));
        ctl_table_cell(table, CTL_PLAIN, "%llu", ctl_count_of(row, "hits"));
        ctl_table_cell(table, CTL_PLAIN, "%llu", ctl_count_of(row, "waiting"));
        ctl_table_cell(table, CTL_PLAIN, "%.0f s",
                       json_number_value(json_object_get(row, "age_s")));
        const json_t *models = json_object_get(row, "models");
        char names[256] = "";
        size_t used = 0;
        for (size_t j = 0; j < json_array_size(models) && used < sizeof names - 1; j++)
            used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", j ? ", " : "",
                                     json_string_value(json_array_get(models, j)));
        ctl_table_cell(table, CTL_PLAIN, "%s", names);
    }
    ctl_table_print(table);
}

/* ---- what was done --------------------------------------------------------------------------- */

static const char *plural(unsigned long long n)
{
    return n == 1 ? "" : "s";
}

void ctl_show_clear(const struct ctl_call *call, const json_t *reply)
{
    (void)call;
    unsigned long long chunks = ctl_count_of(reply, "chunks"),
                       pinned = ctl_count_of(reply, "pinned_chunks");
    (void)printf("cleared %llu chunk%s (%s)", chunks, plural(chunks), size_of(reply, "bytes"));
    if (pinned)
        (void)printf("; left %llu (%s) that are pinned", pinned, size_of(reply, "pinned_bytes"));
    if (ctl_count_of(reply, "operator_pinned_chunks"))
        (void)printf(", %llu of them by the operator (swctl unpin)",
                     ctl_count_of(reply, "operator_pinned_chunks"));
    (void)printf("\n");
}

void ctl_show_resize(const struct ctl_call *call, const json_t *reply)
{
    (void)call;
    const char *message = ctl_text_of(reply, "message");
    (void)printf("the cache is %s now%s%s\n", size_of(reply, "arena_bytes"), *message ? "; " : "",
                 message);
}

void ctl_show_warm(const struct ctl_call *call, const json_t *reply)
{
    (void)call;
    unsigned long long chunks = ctl_count_of(reply, "chunks");
    (void)printf("%s: %llu chunk%s (%s) loaded\n", ctl_text_of(reply, "model"), chunks,
                 plural(chunks), size_of(reply, "bytes"));
}

/* "LABEL: a, b", or nothing when there are none. */
static void show_names(const json_t *names, const char *label)
{
    for (size_t i = 0; i < json_array_size(names); i++)
        (void)printf("%s%s%s", i ? ", " : label, i ? "" : ": ",
                     json_string_value(json_array_get(names, i)));
    if (json_array_size(names))
        (void)printf("\n");
}

void ctl_show_pin(const struct ctl_call *call, const json_t *reply)
{
    (void)call;
    unsigned long long chunks = ctl_count_of(reply, "chunks");
    (void)printf("%s: %llu chunk%s (%s) loaded and pinned\n", ctl_text_of(reply, "model"), chunks,
                 plural(chunks), size_of(reply, "bytes"));
}

void ctl_show_unpin(const struct ctl_call *call, const json_t *reply)
{
    (void)call;
    unsigned long long chunks = ctl_count_of(reply, "chunks");
    (void)printf("unpinned %llu chunk%s (%s); %s are pinned still\n", chunks, plural(chunks),
                 size_of(reply, "bytes"), size_of(reply, "operator_pinned_bytes"));
}

void ctl_show_trace(const struct ctl_call *call, const json_t *reply)
{
    (void)call;
    const char *path = ctl_text_of(reply, "path");
    bool recording = json_is_true(json_object_get(reply, "recording"));
    if (!*path) {
        (void)printf("no trace is being recorded\n");
        return;
    }
    char time[32];
    ctl_duration(json_number_value(json_object_get(reply, "seconds")) * 1000, time, sizeof time);
    (void)printf("%s %s: %s in %s", recording ? "recording to" : "recorded", path,
                 size_of(reply, "bytes"), time);
    if (ctl_count_of(reply, "lost"))
        (void)printf("; %llu uses were lost", ctl_count_of(reply, "lost"));
    if (access(path, F_OK) < 0 && errno == ENOENT)
        (void)printf(
            "; the file is not to be seen from here: as a service the broker has a /tmp of "
            "its own (PrivateTmp=)");
    (void)printf("\n");
}

void ctl_show_reload(const struct ctl_call *call, const json_t *reply)
{
    (void)call;
    unsigned long long ended = ctl_count_of(reply, "pins_ended");
    (void)printf("%llu added, %llu replaced, %llu removed, %llu unchanged, %llu bad%s",
                 ctl_count_of(reply, "added"), ctl_count_of(reply, "replaced"),
                 ctl_count_of(reply, "removed"), ctl_count_of(reply, "unchanged"),
                 ctl_count_of(reply, "bad"),
                 ctl_count_of(reply, "bad") ? " (swctl models says why)" : "");
    if (ended)
        (void)printf("; %llu of the operator's pins ended", ended);
    (void)printf("\n");
    const json_t *settings = json_object_get(reply, "settings");
    show_names(json_object_get(settings, "applied"), "settings applied");
    show_names(json_object_get(settings, "at_restart"), "settings that wait for a restart");
    const json_t *refused = json_object_get(settings, "refused");
    for (size_t i = 0; i < json_array_size(refused); i++)
        (void)printf("%s keeps its value: %s\n", ctl_text_of(json_array_get(refused, i), "name"),
                     ctl_text_of(json_array_get(refused, i), "error"));
}

void ctl_show_push(const struct ctl_call *call, const json_t *reply)
{
    (void)call;
    unsigned long long written = ctl_count_of(reply, "chunks_written");
    (void)printf("%s: %llu chunk%s (%s) written; revision %s\n", ctl_text_of(reply, "model"),
                 written, plural(written), size_of(reply, "bytes_written"),
                 ctl_text_of(reply, "revision"));
}
