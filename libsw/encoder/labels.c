/* SPDX-License-Identifier: MIT */
/* What a classifier's outputs are called and what they mean: read from config.json when first asked for. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "encoder/labels.h"

void swi_labels_destroy(struct swi_labels *labels)
{
    if (!labels)
        return;
    for (uint32_t i = 0; labels->names && i < labels->count; i++)
        free(labels->names[i]);
    free(labels->names);
    free(labels);
}

static int read_problem(const json_t *root, struct swi_labels *labels, struct swi_error *error)
{
    static const char *const names[] = {
        [SW_PROBLEM_SINGLE_LABEL] = "single_label_classification",
        [SW_PROBLEM_MULTI_LABEL] = "multi_label_classification",
        [SW_PROBLEM_REGRESSION] = "regression",
    };
    const json_t *value = json_object_get(root, "problem_type");
    if (!value || json_is_null(value)) {
        labels->problem = labels->count == 1 ? SW_PROBLEM_REGRESSION : SW_PROBLEM_SINGLE_LABEL;
        return 0;
    }
    const char *name = json_string_value(value);
    for (unsigned i = 0; name && i < sizeof names / sizeof names[0]; i++) {
        if (!strcmp(name, names[i])) {
            labels->problem = (enum sw_problem)i;
            return 0;
        }
    }
    return swi_fail(error, SW_EUNSUPPORTED,
                    "config.json: problem_type \"%.40s\" is not supported; %s, %s and %s are",
                    name ? name : "(no string)", names[0], names[1], names[2]);
}

/* id2label's keys are numbers as text; a label without a name gets transformers' default one. */
static int read_names(const json_t *root, struct swi_labels *labels)
{
    const json_t *map = json_object_get(root, "id2label");
    labels->names = calloc(labels->count, sizeof *labels->names);
    for (uint32_t i = 0; labels->names && i < labels->count; i++) {
        char key[16], fallback[32];
        (void)snprintf(key, sizeof key, "%u", i);
        (void)snprintf(fallback, sizeof fallback, "LABEL_%u", i);
        const char *name = json_string_value(json_object_get(map, key));
        labels->names[i] = strdup(name ? name : fallback);
        if (!labels->names[i])
            return -ENOMEM;
    }
    return labels->names ? 0 : -ENOMEM;
}

int swi_labels_parse(const void *json, size_t size, uint32_t count, struct swi_labels **ret,
                     struct swi_error *error)
{
    json_error_t where;
    json_t *root = json_loadb(json, size, JSON_REJECT_DUPLICATES, &where);
    if (!root)
        return swi_fail(error, SW_EFORMAT, "config.json: line %d: %s", where.line, where.text);
    struct swi_labels *labels = calloc(1, sizeof *labels);
    int r = labels ? 0 : -ENOMEM;
    if (r == 0) {
        labels->count = count;
        r = read_problem(root, labels, error);
    }
    if (r == 0)
        r = read_names(root, labels);
    json_decref(root);
    if (r == -ENOMEM)
        (void)swi_fail(error, r, "out of memory for the labels' names");
    if (r < 0)
        swi_labels_destroy(labels);
    else
        *ret = labels;
    return r;
}
