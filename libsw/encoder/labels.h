/* SPDX-License-Identifier: MIT */
/* What a classifier's outputs are called and what they mean.
 * Keys: https://huggingface.co/docs/transformers/main_classes/configuration (id2label, problem_type). */
#ifndef SWI_ENCODER_LABELS_H
#define SWI_ENCODER_LABELS_H

#include <sw/encoder.h>

#include "core/error.h"

struct swi_labels {
    uint32_t count;
    enum sw_problem problem;
    char **names; /* [count] */
};

/* json: config.json, borrowed for the call. *ret is freed with swi_labels_destroy (NULL allowed).
 * Errors: SW_EFORMAT, SW_EUNSUPPORTED, -ENOMEM. */
int swi_labels_parse(const void *json, size_t size, uint32_t count, struct swi_labels **ret,
                     struct swi_error *error);
void swi_labels_destroy(struct swi_labels *labels);

#endif
