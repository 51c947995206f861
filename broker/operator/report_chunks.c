/* SPDX-License-Identifier: MIT */
/* The answer to ls: where chunks are, which clients pin them, when they are needed. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/lease.h"
#include "operator/report.h"
#include "session/session.h"

#define HOLDERS_NAMED 8u

/* One session's pin of one chunk. */
struct hold {
    uint32_t id, session;
};

struct holds {
    struct hold *list; /* by id, then session */
    size_t count;
};

static int compare(const void *a, const void *b)
{
    const struct hold *left = a, *right = b;
    if (left->id != right->id)
        return left->id < right->id ? -1 : 1;
    return left->session < right->session ? -1 : left->session > right->session;
}

/* Every pin of every client. Out of memory: none. */
static struct holds collect(const struct control *control)
{
    struct holds holds = {0};
    holds.list =
        calloc((size_t)control->sessions->attached_count * SWI_SLOTS + 1, sizeof *holds.list);
    const struct session *session;
    TAILQ_FOREACH(session, &control->sessions->connections, link)
    {
        if (!holds.list || session->state != SESSION_ATTACHED)
            continue;
        uint32_t ids[SWI_SLOTS], bad;
        uint32_t count = swi_page_list_pins(session->page, ids, &bad);
        for (uint32_t i = 0; i < count; i++)
            holds.list[holds.count++] = (struct hold){ids[i], session->number};
    }
    if (holds.count)
        qsort(holds.list, holds.count, sizeof *holds.list, compare);
    return holds;
}

/* The index of the first hold of this chunk, or where it would be. */
static size_t find(const struct holds *holds, uint32_t id)
{
    size_t low = 0, high = holds->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (holds->list[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void put_holders(json_t *row, const struct control *control, const struct holds *holds,
                        uint32_t id)
{
    size_t at = find(holds, id);
    if (at == holds->count || holds->list[at].id != id)
        return;
    json_t *list = json_array();
    uint32_t named = 0;
    while (at < holds->count && holds->list[at].id == id && named < HOLDERS_NAMED) {
        const struct session *session = control->sessions->by_number[holds->list[at].session];
        int pins = 0;
        for (uint32_t number = holds->list[at].session;
             at < holds->count && holds->list[at].id == id && holds->list[at].session == number;
             at++)
            pins++;
        (void)json_array_append_new(list,
                                    json_pack("{s:i, s:i, s:o, s:i}", "session",
                                              (int)session->number, "pid", (int)session->peer.pid,
                                              "name", stats_text(session->name), "pins", pins));
        named++;
    }
    (void)json_object_set_new(row, "holders", list);
}

static const char *state_name(enum swi_state state)
{
    static const char *const names[] = {"absent", "loading", "resident", "evicting"};
    return names[state];
}

static void put_ms(json_t *row, const char *key, double ns)
{
    (void)json_object_set_new(row, key, json_real(floor(ns / 1e5) / 10));
}

static void put_state(json_t *row, const struct control *control,
                      const struct cache_chunk_view *view, uint64_t now_ns)
{
    (void)json_object_set_new(row, "state",
                              json_string(view->queued ? "queued" : state_name(view->entry.state)));
    if (view->entry.state != SWI_ABSENT)
        report_put(row, "offset", view->entry.offset);
    report_put(row, "pins", view->pins);
    (void)json_object_set_new(row, "pinned_by_operator", json_boolean(view->held));
    report_put(row, "hits", view->hits);
    report_put(row, "uses", view->uses);
    if (view->last_use_tick)
        report_put(row, "last_use_ticks_ago",
                   swi_tick(cache_index(control->cache)) - view->last_use_tick);
    if (view->last_use_ns)
        put_ms(row, "last_use_ms_ago",
               now_ns > view->last_use_ns ? (double)(now_ns - view->last_use_ns) : 0);
    if (isfinite(view->next_use_ns)) {
        put_ms(row, "next_use_ms", view->next_use_ns);
        report_put(row, "next_use_steps", view->next_use_steps);
    }
    if (view->last_error)
        (void)json_object_set_new(row, "error", json_string(sw_strerror(view->last_error)));
}

static void append(json_t *list, struct control *control, const struct revision *revision,
                   const char *component, const struct holds *holds)
{
    const struct swi_manifest *manifest = &revision->manifest;
    for (uint32_t i = 0; i < manifest->count; i++) {
        const struct swi_manifest_chunk *chunk = &manifest->chunks[i];
        if (component && strcmp(component, chunk->name) != 0)
            continue;
        json_t *row =
            json_pack("{s:o, s:o, s:I, s:s, s:s, s:I, s:b}", "model", stats_text(revision->name),
                      "component", stats_text(chunk->name), "bytes", (json_int_t)chunk->bytes,
                      "layout", manifest->layout, "dtype", manifest->dtype, "revision",
                      (json_int_t)revision->incarnation, "superseded", (int)revision->superseded);
        if (!row)
            return;
        struct cache_chunk_view view;
        if (revision->registered && cache_view(control->cache, revision->ids[i], &view)) {
            report_put(row, "id", revision->ids[i]);
            put_state(row, control, &view, loop_now());
            put_holders(row, control, holds, revision->ids[i]);
        } else {
            (void)json_object_set_new(row, "state", json_string("unused"));
        }
        (void)json_array_append_new(list, row);
    }
}

json_t *report_chunks(struct control *control, const char *model, const char *component)
{
    json_t *list = json_array();
    if (!list)
        return NULL;
    struct holds holds = collect(control);
    cache_look_ahead(control->cache, loop_now());
    const struct catalog_model *known;
    TAILQ_FOREACH(known, &control->catalog->models, link)
    {
        if (known->current && (!model || strcmp(known->name, model) == 0))
            append(list, control, known->current, component, &holds);
    }
    const struct revision *revision;
    TAILQ_FOREACH(revision, &control->catalog->superseded, link)
    {
        if (!model || strcmp(revision->name, model) == 0)
            append(list, control, revision, component, &holds);
    }
    free(holds.list);
    return report_list("chunks", list);
}
