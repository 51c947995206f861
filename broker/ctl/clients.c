/* SPDX-License-Identifier: MIT */
/* swctl clients. */
#include <stdio.h>

#include "ctl/lib/answer.h"
#include "ctl/lib/table.h"
#include "ctl/verbs.h"

static void add_models(struct ctl_table *table, const json_t *models)
{
    char names[256] = "";
    size_t used = 0;
    for (size_t i = 0; i < json_array_size(models) && used < sizeof names - 1; i++)
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "",
                                 json_string_value(json_array_get(models, i)));
    ctl_table_cell(table, CTL_PLAIN, "%s", names);
}

static void show(const struct ctl_call *call, const json_t *reply)
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
        add_models(table, json_object_get(row, "models"));
    }
    ctl_table_print(table);
}

const struct ctl_verb ctl_verb_clients = {
    .name = "clients", .help = "list connected clients and what they pin", .show = show};
