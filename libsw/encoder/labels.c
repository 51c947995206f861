/* SPDX-License-Identifier: MIT */
/* The labels of a classifier, and how its logits become scores: as transformers' text-classification
 * pipeline has it, but that one label goes by the activation that a CrossEncoder stored. */
#include "encoder/labels.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "encoder/config.h"

void swi_labels_fini(struct swi_labels *labels)
{
    for (uint32_t i = 0; labels->names && i < labels->count; i++)
        free(labels->names[i]);
    free(labels->names);
    *labels = (struct swi_labels){0};
}

/* {"sentence_transformers": {"activation_fn": …}}, or the key of releases before 4.0. */
static const json_t *stored_activation(const json_t *root)
{
    const json_t *value =
        json_object_get(json_object_get(root, "sentence_transformers"), "activation_fn");
    if (!value)
        value = json_object_get(root, "sbert_ce_default_activation_function");
    return json_is_null(value) ? NULL : value;
}

/* A single label's score is the sigmoid of its logit, unless the activation is stored. */
static int read_one_label(const json_t *root, struct swi_labels *labels, struct swi_error *error)
{
    const json_t *value = stored_activation(root);
    const char *name = json_string_value(value);
    const char *class = name ? strrchr(name, '.') : NULL;
    if (!value)
        return 0;
    if (class && strncmp(name, "torch.nn.", 9) == 0 && strcmp(class, ".Sigmoid") == 0)
        return 0;
    if (class && strncmp(name, "torch.nn.", 9) == 0 && strcmp(class, ".Identity") == 0) {
        labels->problem = SW_PROBLEM_REGRESSION;
        return 0;
    }
    return swi_fail(error, SW_EUNSUPPORTED,
                    SWI_CONFIG_FILE
                    ": the stored activation \"%.60s\" is not supported; torch.nn's "
                    "Sigmoid and Identity are",
                    name ? name : "(not a string)");
}

static int read_problem(const json_t *root, struct swi_labels *labels, struct swi_error *error)
{
    static const char *const names[] = {
        [SW_PROBLEM_SINGLE_LABEL] = "single_label_classification",
        [SW_PROBLEM_MULTI_LABEL] = "multi_label_classification",
        [SW_PROBLEM_REGRESSION] = "regression",
    };
    const json_t *value = json_object_get(root, "problem_type");
    const char *name = json_string_value(value);
    bool known = !value || json_is_null(value);
    labels->problem = SW_PROBLEM_SINGLE_LABEL;
    for (unsigned i = 0; name && i < sizeof names / sizeof names[0]; i++) {
        if (!strcmp(name, names[i])) {
            labels->problem = (enum sw_problem)i;
            known = true;
        }
    }
    if (!known)
        return swi_fail(error, SW_EUNSUPPORTED,
                        SWI_CONFIG_FILE
                        ": problem_type \"%.40s\" is not supported; %s, %s and %s are",
                        name ? name : "(not a string)", names[0], names[1], names[2]);
    if (labels->count == 1 && labels->problem != SW_PROBLEM_REGRESSION)
        return read_one_label(root, labels, error);
    return 0;
}

/* id2label's keys are numbers as text; a label without a name gets transformers' default one. */
static int read_names(const json_t *root, struct swi_labels *labels, struct swi_error *error)
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
            return swi_fail(error, -ENOMEM, "out of memory");
    }
    return labels->names ? 0 : swi_fail(error, -ENOMEM, "out of memory");
}

int swi_labels_parse(const json_t *root, uint32_t count, struct swi_labels *ret,
                     struct swi_error *error)
{
    struct swi_labels labels = {.count = count ? count : 2};
    int r = read_problem(root, &labels, error);
    if (r == 0)
        r = read_names(root, &labels, error);
    if (r < 0)
        swi_labels_fini(&labels);
    else
        *ret = labels;
    return r;
}
