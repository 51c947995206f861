/* SPDX-License-Identifier: MIT */
/* swctl ls. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/lib/answer.h"
#include "ctl/lib/table.h"
#include "ctl/verbs.h"

/* ---- sorting --------------------------------------------------------------------------------- */

static bool names_only;
static unsigned sort; /* index into sort_names and keys */

static const char *const sort_names[] = {"name", "state", "size",  "hits", "pins",
                                         "last", "next",  "place", NULL};

static const struct key {
    const char *field; /* of a chunk; NULL: the broker's order */
    bool descending;
} keys[] = {
    {NULL, false},  {"state", false},           {"bytes", true},        {"hits", true},
    {"pins", true}, {"last_use_ms_ago", false}, {"next_use_ms", false}, {"offset", false},
};
_Static_assert(sizeof keys / sizeof keys[0] + 1 == sizeof sort_names / sizeof sort_names[0],
               "each has a name");

struct row {
    const json_t *chunk;
    size_t place; /* in the broker's order, which equal rows keep */
};

/* Rows without the field come last. */
static int compare(const void *a, const void *b, void *context)
{
    const struct row *left = a, *right = b;
    const struct key *key = context;
    int order = 0;
    if (key->field) {
        const json_t *x = json_object_get(left->chunk, key->field);
        const json_t *y = json_object_get(right->chunk, key->field);
        if (!x != !y)
            return x ? -1 : 1;
        if (json_is_string(x) && json_is_string(y)) {
            order = strcmp(json_string_value(x), json_string_value(y));
        } else {
            double p = json_number_value(x), q = json_number_value(y);
            order = p < q ? -1 : p > q;
        }
        if (key->descending)
            order = -order;
    }
    if (order == 0)
        order = left->place < right->place ? -1 : 1;
    return order;
}

/* ---- the table ------------------------------------------------------------------------------- */

static enum ctl_tone tone_of(const char *state)
{
    if (strcmp(state, "resident") == 0)
        return CTL_GOOD;
    return strcmp(state, "absent") == 0 || strcmp(state, "unused") == 0 ? CTL_FAINT : CTL_BUSY;
}

static void add_holders(struct ctl_table *table, const json_t *chunk)
{
    char text[128] = "";
    size_t used = 0, i;
    const json_t *holder;
    bool operator= json_is_true(json_object_get(chunk, "pinned_by_operator"));
    if (operator)
        used = (size_t)snprintf(text, sizeof text, "operator");
    json_array_foreach(json_object_get(chunk, "holders"), i, holder)
    {
        if (used >= sizeof text - 1)
            break;
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s/%llu", used ? ", " : "",
                                 ctl_text_of(holder, "name"), ctl_count_of(holder, "pid"));
    }
    ctl_table_cell(table, operator? CTL_GOOD : CTL_PLAIN, "%s", text);
}

static void add_next(struct ctl_table *table, const json_t *chunk)
{
    const json_t *next = json_object_get(chunk, "next_use_ms");
    char text[32];
    if (!next) {
        ctl_table_cell(table, CTL_FAINT, "-");
        return;
    }
    ctl_duration(json_number_value(next), text, sizeof text);
    ctl_table_cell(table, CTL_PLAIN, "%s (+%llu)", text, ctl_count_of(chunk, "next_use_steps"));
}

static void add_chunk(struct ctl_table *table, const json_t *chunk)
{
    const char *state = ctl_text_of(chunk, "state");
    ctl_table_cell(table, CTL_PLAIN, "%s", ctl_text_of(chunk, "model"));
    ctl_table_cell(table, CTL_PLAIN, "%s", ctl_text_of(chunk, "component"));
    ctl_table_cell(table, tone_of(state), "%s", state);
    ctl_table_size(table, ctl_count_of(chunk, "bytes"));
    ctl_table_cell(table, CTL_PLAIN, "%s", ctl_text_of(chunk, "layout"));
    ctl_table_cell(table, CTL_PLAIN, "%s", ctl_text_of(chunk, "dtype"));
    /* the low half tells revisions apart; the high half is this run of the broker */
    ctl_table_cell(table, CTL_PLAIN, "%llu", ctl_count_of(chunk, "revision") & UINT32_MAX);
    ctl_table_cell(table, CTL_PLAIN, "%llu", ctl_count_of(chunk, "hits"));
    ctl_table_cell(table, CTL_PLAIN, "%llu", ctl_count_of(chunk, "pins"));
    add_holders(table, chunk);
    const json_t *last = json_object_get(chunk, "last_use_ms_ago");
    char text[32] = "-";
    if (last)
        ctl_duration(json_number_value(last), text, sizeof text);
    ctl_table_cell(table, last ? CTL_PLAIN : CTL_FAINT, "%s", text);
    add_next(table, chunk);
    const char *problem = ctl_text_of(chunk, "error");
    bool old = json_is_true(json_object_get(chunk, "superseded"));
    ctl_table_cell(table, *problem ? CTL_BAD : CTL_FAINT, "%s%s%s", old ? "replaced" : "",
                   old && *problem ? "; " : "", problem);
}

static void show(const struct ctl_call *call, const json_t *reply)
{
    const json_t *list = json_object_get(reply, "chunks");
    size_t count = json_array_size(list);
    struct row *rows = calloc(count + 1, sizeof *rows);
    (void)call;
    if (!rows) {
        (void)fprintf(stderr, "swctl: out of memory\n");
        return;
    }
    for (size_t i = 0; i < count; i++)
        rows[i] = (struct row){json_array_get(list, i), i};
    union {
        const struct key *given;
        void *wanted;
    } context = {.given = &keys[sort]};
    qsort_r(rows, count, sizeof *rows, compare, context.wanted);
    struct ctl_table *table =
        ctl_table_create("MODEL|COMPONENT|STATE|>SIZE|LAYOUT|DTYPE|>REV|>HITS|>PINS|PINNED BY|"
                         ">LAST USE|>NEXT USE|NOTE");
    for (size_t i = 0; i < count; i++) {
        if (!names_only)
            add_chunk(table, rows[i].chunk);
        else if (!json_is_true(json_object_get(rows[i].chunk, "superseded")))
            (void)printf("%s/%s\n", ctl_text_of(rows[i].chunk, "model"),
                         ctl_text_of(rows[i].chunk, "component"));
    }
    free(rows);
    if (names_only)
        ctl_table_free(table);
    else
        ctl_table_print(table);
}

static const struct cli_option options[] = {
    {"sort", "KEY",
     "name (default, components in the order of a pass), state, size,\n"
     "hits, pins, last, next or place",
     .choice = &sort, .choices = sort_names},
    {"names", NULL, "print only MODEL/COMPONENT, one per line", .flag = &names_only},
    {0},
};

const struct ctl_verb ctl_verb_ls = {
    .name = "ls",
    .operands = "[" CTL_TARGET "]",
    .most = 1,
    .help = "list chunks: state, size, hits, pins, last and next use",
    .more =
        "States: resident; loading; queued; absent (known, not in memory); unused (no client\n"
        "has opened its model). NEXT USE is what the policy expects from the clients' passes: the\n"
        "time until then, and how many steps that is.",
    .options = options,
    .prepare = ctl_prepare_target,
    .show = show};
