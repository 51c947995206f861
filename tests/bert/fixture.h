/* SPDX-License-Identifier: MIT */
/* What swbert's tests share: a broker with random models behind it, and JSON taken apart. */
#ifndef SWT_BERT_FIXTURE_H
#define SWT_BERT_FIXTURE_H

#include <jansson.h>
#include <sw/sw.h>

#include "support/support.h"

/* Starts a broker on a catalog with the models "tiny" and "bare" (no pooler, 16 positions). The
 * test's end stops it, see swbert_stop. */
void swbert_start(void);
void swbert_stop(void);

/* Runs swbert with words and an input. */
struct sup_result swbert_run(const char *input, size_t input_size, const char *const words[]);
#define SWBERT(input, ...) swbert_run(input, strlen(input), SUP_ARGS("swbert", __VA_ARGS__))

/* The same, expecting success and silence on stderr: its output as an array of one object a line.
 */
json_t *swbert_lines(const char *input, size_t input_size, const char *const words[]);
#define SWBERT_LINES(input, ...) swbert_lines(input, strlen(input), SUP_ARGS("swbert", __VA_ARGS__))

/* The numbers of a JSON array as float32; the test's own memory. */
const float *swbert_floats(json_t *array);

/* A handle on a model of the broker, for comparing. */
sw_encoder *swbert_open(const char *model);

#endif
