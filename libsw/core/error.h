/* SPDX-License-Identifier: MIT */
/* Error messages that travel up the stack: a code and one sentence that says what failed, where,
 * and what to do. The function that detects a failure writes the sentence; its callers may add a
 * prefix. Nothing in core prints.
 */
#ifndef SWI_CORE_ERROR_H
#define SWI_CORE_ERROR_H

#include <sw/base.h>

#define SWI_ERROR_TEXT 512

struct swi_error {
    int code;
    char text[SWI_ERROR_TEXT];
};

/* Fills *error (may be NULL) and returns code, so that a function can end in `return swi_fail(…)`.
 */
int swi_fail(struct swi_error *error, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts a prefix before the existing message ("layer_3.safetensors: "). Returns the code. */
int swi_fail_within(struct swi_error *error, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
