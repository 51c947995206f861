/* SPDX-License-Identifier: MIT */
/* A frame of swctl watch. */
#include "ctl/watch/frame.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/size.h"
#include "ctl/lib/text.h"

#define MODELS_MAX   26u /* with a letter */
#define COLOURS      6u
#define BAR_COLUMNS  16
#define LEGEND_WIDTH 26u

/* A hit rate below the first warns if there are more uses per second than the second, as the alert
 * rule SwbrokerHitRateLow does: few uses say nothing about a rate. */
#define LOW_HIT_RATE      0.5
#define LOW_HIT_RATE_USES 1.0

static uint64_t count(const json_t *object, const char *key)
{
    json_int_t value = json_integer_value(json_object_get(object, key));
    return value > 0 ? (uint64_t)value : 0;
}

static double real(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static const char *text(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));
    return value ? value : "";
}

/* In static storage that is reused after seven more calls. */
static const char *size_text(uint64_t bytes)
{
    static char texts[8][32];
    static unsigned next;
    char *place = texts[next++ % 8];
    swi_size_format(bytes, place, sizeof texts[0]);
    return place;
}

/* ---- models ---------------------------------------------------------------------------------- */

struct model {
    const char *name;
    uint64_t resident_bytes;
    unsigned chunks, resident;
};

struct models {
    struct model list[MODELS_MAX];
    unsigned count;
};

static struct model *find(struct models *models, const char *name)
{
    for (unsigned i = 0; i < models->count; i++)
        if (strcmp(models->list[i].name, name) == 0)
            return &models->list[i];
    return NULL;
}

static bool holds_memory(const json_t *chunk)
{
    return json_object_get(chunk, "offset") != NULL;
}

/* Gives letters to models in their order, first to those in memory. */
static void list_models(struct models *models, const json_t *chunks)
{
    size_t i;
    json_t *chunk;
    for (int in_memory = 1; in_memory >= 0; in_memory--) {
        json_array_foreach(chunks, i, chunk)
        {
            if (holds_memory(chunk) != in_memory || find(models, text(chunk, "model")))
                continue;
            if (models->count < MODELS_MAX)
                models->list[models->count++].name = text(chunk, "model");
        }
    }
    json_array_foreach(chunks, i, chunk)
    {
        struct model *model = find(models, text(chunk, "model"));
        if (!model)
            continue;
        model->chunks++;
        if (strcmp(text(chunk, "state"), "resident") == 0) {
            model->resident++;
            model->resident_bytes += count(chunk, "bytes");
        }
    }
}

static char letter_of(const struct models *models, const struct model *model)
{
    return model ? (char)('A' + (model - models->list)) : '+';
}

static unsigned tone_of(const struct models *models, const struct model *model)
{
    return model ? 1 + (unsigned)(model - models->list) % COLOURS : 0;
}

/* ---- the arena ------------------------------------------------------------------------------- */

struct map {
    unsigned row, rows, columns;
    uint64_t cell_bytes;
};

static void put_cell(struct ctl_screen *screen, const struct map *map, uint64_t cell, unsigned tone,
                     char character)
{
    if (cell < (uint64_t)map->rows * map->columns)
        (void)ctl_screen_put(screen, map->row + (unsigned)(cell / map->columns),
                             (unsigned)(cell % map->columns), tone, "%c", character);
}

static void draw_chunk(struct ctl_screen *screen, const struct map *map, struct models *models,
                       const json_t *chunk)
{
    const struct model *model = find(models, text(chunk, "model"));
    bool loading = strcmp(text(chunk, "state"), "loading") == 0;
    bool held = json_is_true(json_object_get(chunk, "pinned_by_operator"));
    uint64_t pins = count(chunk, "pins");
    unsigned tone = tone_of(models, model);
    char letter = letter_of(models, model);
    char rest = loading ? '-' : held ? '@' : pins ? '#' : '=';
    if (loading) {
        tone |= CTL_TONE_FAINT;
        letter = (char)(letter >= 'A' ? letter - 'A' + 'a' : letter);
    } else if (held || pins) {
        tone |= CTL_TONE_REVERSE;
    }
    uint64_t first = count(chunk, "offset") / map->cell_bytes;
    uint64_t bytes = count(chunk, "bytes");
    uint64_t last = (count(chunk, "offset") + (bytes ? bytes - 1 : 0)) / map->cell_bytes;
    uint64_t cells = (uint64_t)map->rows * map->columns;
    for (uint64_t cell = first; cell <= last && cell < cells; cell++)
        put_cell(screen, map, cell, tone, cell == first ? letter : rest);
}

/* Bytes per cell: whole pages, as few as show the whole arena. */
static uint64_t cell_bytes(uint64_t bytes, uint64_t cells)
{
    uint64_t pages = bytes / cells / 4096 + 1;
    return (pages - 1) * cells * 4096 >= bytes ? (pages - 1 ? pages - 1 : 1) * 4096 : pages * 4096;
}

static void draw_arena(struct ctl_screen *screen, const struct ctl_snapshot *now, unsigned row,
                       unsigned rows, struct models *models)
{
    uint64_t arena = count(now->stats, "arena_bytes");
    uint64_t reserved = count(now->stats, "reserved_bytes");
    struct map map = {.row = row + 1, .rows = rows, .columns = ctl_screen_columns(screen)};
    if (rows == 0)
        return;
    uint64_t cells = (uint64_t)rows * map.columns;
    map.cell_bytes = cell_bytes(arena, cells);
    unsigned column = ctl_screen_put(screen, row, 0, CTL_TONE_BOLD, "arena");
    (void)ctl_screen_put(screen, row, column, CTL_TONE_FAINT,
                         "  one cell is %s; = resident # pinned @ by operator - loading . free",
                         size_text(map.cell_bytes));
    for (uint64_t cell = 0; cell < cells && cell * map.cell_bytes < arena; cell++)
        if (cell * map.cell_bytes < reserved)
            put_cell(screen, &map, cell, CTL_TONE_FAINT, '.');
    size_t i;
    json_t *chunk;
    json_array_foreach(now->chunks, i, chunk)
    {
        if (holds_memory(chunk))
            draw_chunk(screen, &map, models, chunk);
    }
}

static void draw_legend(struct ctl_screen *screen, unsigned row, unsigned rows,
                        const struct models *models)
{
    unsigned a_row = ctl_screen_columns(screen) / LEGEND_WIDTH;
    unsigned room = rows * (a_row ? a_row : 1);
    for (unsigned i = 0; i < models->count && i < room; i++) {
        const struct model *model = &models->list[i];
        unsigned at = row + i / (a_row ? a_row : 1),
                 column = i % (a_row ? a_row : 1) * LEGEND_WIDTH;
        if (i + 1 == room && models->count > room) {
            (void)ctl_screen_put(screen, at, column, CTL_TONE_FAINT, "and %u more models",
                                 models->count - i);
            return;
        }
        char name[64];
        (void)snprintf(name, sizeof name, "%s", model->name);
        name[ctl_text_fit(name, LEGEND_WIDTH - 10, NULL)] = 0;
        column = ctl_screen_put(screen, at, column, tone_of(models, model) | CTL_TONE_BOLD, "%c",
                                letter_of(models, model));
        (void)ctl_screen_put(screen, at, column, 0, " %s %u/%u", name, model->resident,
                             model->chunks);
    }
}

/* ---- figures --------------------------------------------------------------------------------- */

/* Per second since the earlier snapshot of the same broker; negative: unknown. */
static double rate(const struct ctl_snapshot *now, const struct ctl_snapshot *before,
                   const char *key)
{
    if (!before || count(now->stats, "pid") != count(before->stats, "pid") ||
        now->at_s <= before->at_s)
        return -1;
    uint64_t a = count(before->stats, key), b = count(now->stats, key);
    return b >= a ? (double)(b - a) / (now->at_s - before->at_s) : -1;
}

static const char *rate_text(double rate_a_second)
{
    static char texts[8][32];
    static unsigned next;
    char *place = texts[next++ % 8];
    if (rate_a_second < 0)
        (void)snprintf(place, sizeof texts[0], "-");
    else if (rate_a_second >= 1e6)
        (void)snprintf(place, sizeof texts[0], "%.1fM", rate_a_second / 1e6);
    else if (rate_a_second >= 1e4)
        (void)snprintf(place, sizeof texts[0], "%.0fk", rate_a_second / 1e3);
    else
        (void)snprintf(place, sizeof texts[0], "%.*f", rate_a_second < 10 ? 1 : 0, rate_a_second);
    return place;
}

static void draw_head(struct ctl_screen *screen, const struct ctl_snapshot *now, const char *notice)
{
    if (notice) {
        (void)ctl_screen_put(screen, 0, 0, CTL_TONE_BAD | CTL_TONE_BOLD, "%s", notice);
        return;
    }
    unsigned column =
        ctl_screen_put(screen, 0, 0, CTL_TONE_BOLD, "swbrokerd %s", text(now->stats, "version"));
    uint64_t up_s = (uint64_t)real(now->stats, "uptime_s");
    column = ctl_screen_put(screen, 0, column, 0, "  pid %llu  up %llu:%02llu:%02llu  %s  %s",
                            (unsigned long long)count(now->stats, "pid"),
                            (unsigned long long)up_s / 3600, (unsigned long long)up_s / 60 % 60,
                            (unsigned long long)up_s % 60, text(now->stats, "io_engine"),
                            text(now->stats, "policy"));
    bool isolated = strcmp(text(now->stats, "isolation"), "uid") == 0;
    (void)ctl_screen_put(screen, 0, column, isolated ? 0 : CTL_TONE_BAD, "  isolation %.4s",
                         text(now->stats, "isolation"));
}

static void draw_numbers(struct ctl_screen *screen, const struct ctl_snapshot *now,
                         const struct ctl_snapshot *before)
{
    const json_t *stats = now->stats;
    uint64_t arena = count(stats, "arena_bytes"), resident = count(stats, "resident_bytes");
    double part = arena ? (double)resident / (double)arena : 0;
    char bar[BAR_COLUMNS + 1] = "";
    for (int i = 0; i < BAR_COLUMNS; i++)
        bar[i] = (i + 0.5) / BAR_COLUMNS < part ? '|' : ' ';
    (void)ctl_screen_put(screen, 1, 0, 0, "cache %s [%s] %.0f %%, %llu chunks; pinned %s",
                         size_text(arena), bar, part * 100,
                         (unsigned long long)count(stats, "chunks_resident"),
                         size_text(count(stats, "pinned_bytes")));
    double hits = rate(now, before, "hits"), misses = rate(now, before, "misses");
    unsigned column = ctl_screen_put(screen, 2, 0, CTL_TONE_BOLD, "hit rate %.2f %%",
                                     real(stats, "hit_rate") * 100);
    if (hits >= 0 && misses >= 0 && hits + misses > 0) {
        double now_rate = hits / (hits + misses);
        bool low = now_rate < LOW_HIT_RATE && hits + misses > LOW_HIT_RATE_USES;
        column = ctl_screen_put(screen, 2, column, low ? CTL_TONE_BAD : 0, " (now %.2f %%%s)",
                                100 * now_rate, low ? ", low" : "");
    }
    double loaded = rate(now, before, "load_bytes");
    column = ctl_screen_put(screen, 2, column, 0, "  hits/s %s  loads/s %s (%s/s)  evictions/s %s",
                            rate_text(hits), rate_text(rate(now, before, "loads")),
                            loaded < 0 ? "-" : size_text((uint64_t)loaded),
                            rate_text(rate(now, before, "evictions")));
    uint64_t errors = count(stats, "load_errors") + count(stats, "digest_errors");
    if (errors)
        (void)ctl_screen_put(screen, 2, column, CTL_TONE_BAD, "  errors %llu",
                             (unsigned long long)errors);
}

/* ---- clients --------------------------------------------------------------------------------- */

static const json_t *same_client(const struct ctl_snapshot *before, const json_t *client)
{
    size_t i;
    json_t *other;
    json_array_foreach(before ? before->clients : NULL, i, other)
    {
        if (count(other, "session") == count(client, "session") &&
            count(other, "pid") == count(client, "pid"))
            return other;
    }
    return NULL;
}

/* The cursor that moved most recently. */
static const json_t *latest(const json_t *client)
{
    const json_t *best = NULL;
    size_t i;
    json_t *cursor;
    json_array_foreach(json_object_get(client, "cursors"), i, cursor)
    {
        if (!best || count(cursor, "ticks_ago") < count(best, "ticks_ago"))
            best = cursor;
    }
    return best;
}

/* "[....>.....]" */
static void cursor_bar(const json_t *cursor, char bar[BAR_COLUMNS + 1])
{
    uint64_t at = count(cursor, "at"), of = count(cursor, "components");
    uint64_t place = of > 1 ? at * (BAR_COLUMNS - 1) / (of - 1) : 0;
    for (uint64_t i = 0; i < BAR_COLUMNS; i++)
        bar[i] = i < place ? '=' : i == place ? '>' : '.';
    bar[BAR_COLUMNS] = 0;
}

static void fit(const char *from, size_t columns, char *to, size_t size)
{
    (void)snprintf(to, size, "%s", from);
    ctl_text_clean(to);
    to[ctl_text_fit(to, columns, NULL)] = 0;
}

/* Columns have fixed places, so that they stay aligned whatever the names' width. */
static void draw_client(struct ctl_screen *screen, unsigned row, const struct ctl_snapshot *now,
                        const struct ctl_snapshot *before, const json_t *client,
                        struct models *models)
{
    char name[64], component[64], bar[BAR_COLUMNS + 1];
    const json_t *earlier = same_client(before, client);
    double hits = -1;
    if (earlier && now->at_s > before->at_s && count(client, "hits") >= count(earlier, "hits"))
        hits =
            (double)(count(client, "hits") - count(earlier, "hits")) / (now->at_s - before->at_s);
    fit(text(client, "name"), 12, name, sizeof name);
    (void)ctl_screen_put(screen, row, 0, 0, "%4llu %s",
                         (unsigned long long)count(client, "session"), name);
    (void)ctl_screen_put(screen, row, 18, 0, "%7llu %8s %3llu%5llu",
                         (unsigned long long)count(client, "pid"), rate_text(hits),
                         (unsigned long long)count(client, "pinned_chunks"),
                         (unsigned long long)count(client, "waiting"));
    const json_t *cursor = latest(client);
    if (!cursor)
        return;
    const struct model *model = find(models, text(cursor, "model"));
    fit(text(cursor, "component"), 14, component, sizeof component);
    cursor_bar(cursor, bar);
    unsigned column = ctl_screen_put(screen, row, 44, tone_of(models, model) | CTL_TONE_BOLD, "%c",
                                     letter_of(models, model));
    column = ctl_screen_put(screen, row, column, 0, " [%s] ", bar);
    (void)ctl_screen_put(screen, row, column, 0, "%s", component);
}

static void draw_clients(struct ctl_screen *screen, unsigned row, unsigned rows,
                         const struct ctl_snapshot *now, const struct ctl_snapshot *before,
                         struct models *models)
{
    size_t all = json_array_size(now->clients);
    (void)ctl_screen_put(screen, row, 0, CTL_TONE_BOLD,
                         "   # CLIENT           PID   HITS/S PIN WAIT   PASS");
    for (size_t i = 0; i < all && i < rows; i++) {
        if (i + 1 == rows && all > rows) {
            (void)ctl_screen_put(screen, row + 1 + (unsigned)i, 0, CTL_TONE_FAINT,
                                 "     and %zu more clients", all - i);
            return;
        }
        draw_client(screen, row + 1 + (unsigned)i, now, before, json_array_get(now->clients, i),
                    models);
    }
    if (all == 0 && rows > 0)
        (void)ctl_screen_put(screen, row + 1, 0, CTL_TONE_FAINT, "     no clients");
}

/* ---- the frame ------------------------------------------------------------------------------- */

void ctl_frame_draw(struct ctl_screen *screen, const struct ctl_snapshot *now,
                    const struct ctl_snapshot *before, const char *notice)
{
    unsigned rows = ctl_screen_rows(screen), columns = ctl_screen_columns(screen);
    struct models models = {.count = 0};
    list_models(&models, now->chunks);
    draw_head(screen, now, notice);
    if (!now->stats)
        return;
    draw_numbers(screen, now, before);
    /* the remaining rows go to the clients first, then to the map */
    unsigned a_row = columns / LEGEND_WIDTH ? columns / LEGEND_WIDTH : 1;
    unsigned legend = (models.count + a_row - 1) / a_row;
    unsigned most = rows > 40 ? rows / 6 : 3;
    legend = legend < 1 ? 1 : legend > most ? most : legend;
    size_t all = json_array_size(now->clients);
    unsigned clients = all < 1 ? 1 : all > rows ? rows : (unsigned)all;
    unsigned fixed = 4 + 1 + legend + 1 + 1 + 1; /* head; arena's title; …; blank; header; keys */
    unsigned room = rows > fixed ? rows - fixed : 0;
    unsigned map = room > clients + 3 ? room - clients : 3;
    if (map > room)
        map = room;
    clients = room - map;
    draw_arena(screen, now, 4, map, &models);
    draw_legend(screen, 5 + map, legend, &models);
    draw_clients(screen, 6 + map + legend, clients, now, before, &models);
    (void)ctl_screen_put(screen, rows - 1, 0, CTL_TONE_FAINT, "q quits");
}
