/* SPDX-License-Identifier: MIT */
/* What encoder/model.c and encoder/reference.c share. */
#ifndef SWT_ENCODER_MODEL_PARTS_H
#define SWT_ENCODER_MODEL_PARTS_H

#include "encoder/model.h"

enum { PARTS_MAX = 400 };

struct part {
    char name[96];
    uint32_t n, k; /* k 0: a vector */
    float *values; /* [n, k], rounded to what is stored */
    void *stored;
    enum sw_dtype dtype;
    enum sw_layout layout;
};

struct bert_model {
    struct swi_encoder_config config;
    bool pooler;
    enum sw_layout layout;
    struct part parts[PARTS_MAX];
    size_t count;
};

const struct part *bert_model_part(const struct bert_model *model, const char *name);
/* Ends the test when there is none of that name. */
const float *bert_model_values(const struct bert_model *model, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
