/* SPDX-License-Identifier: MIT */
/* What a classifier's outputs are called and what they mean.
 * Keys: https://huggingface.co/docs/transformers/main_classes/configuration (id2label, problem_type);
 * sentence-transformers' CrossEncoder stores its activation beside them. */
#ifndef SWI_ENCODER_LABELS_H
#define SWI_ENCODER_LABELS_H

#include <jansson.h>

#include <sw/encoder.h>

#include "core/error.h"

struct swi_labels {
    uint32_t count;
    enum sw_problem problem;
    char **names; /* [count] */
};

/* root: config.json, parsed (core/json.h). count: its labels; 0: it does not say, which means 2.
 * ret is owned by the caller: swi_labels_fini. Errors: SW_EUNSUPPORTED, -ENOMEM. */
int swi_labels_parse(const json_t *root, uint32_t count, struct swi_labels *ret,
                     struct swi_error *error);
void swi_labels_fini(struct swi_labels *labels);

#endif
