/* SPDX-License-Identifier: MIT */
/* swctl models. */
#include <stdio.h>
#include <string.h>

#include "ctl/lib/answer.h"
#include "ctl/lib/table.h"
#include "ctl/verbs.h"

static void print_names(const json_t *models)
{
    for (size_t i = 0; i < json_array_size(models); i++) {
        const json_t *model = json_array_get(models, i);
        if (!json_is_true(json_object_get(model, "superseded")))
            (void)printf("%s\n", ctl_text_of(model, "model"));
    }
}

static bool names_only;

/* Where a model's chunks are: "disk", "redis", "disk, redis". A model without files whose manifest
 * is no longer in the Redis is "redis?". */
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

static void show(const struct ctl_call *call, const json_t *reply)
{
    (void)call;
    if (names_only) {
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

static const struct cli_option options[] = {
    {"names", NULL, "print only the names, one per line", .flag = &names_only},
    {0},
};

const struct ctl_verb ctl_verb_models = {.name = "models",
                                         .help =
                                             "list the models of the catalog, and their problems",
                                         .options = options,
                                         .show = show};
