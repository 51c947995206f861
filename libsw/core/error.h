/* SPDX-License-Identifier: MIT */
/* Error messages that travel up the stack: a code and one sentence saying what failed, where, and what
 * to do. Whoever detects a failure writes the sentence; whoever passes it on may put a prefix before
 * it. Nothing in core prints.
 */
#ifndef SWI_CORE_ERROR_H
#define SWI_CORE_ERROR_H

#include <sw/base.h>

#define SWI_ERROR_TEXT 512

struct swi_error {
    int code;
    char text[SWI_ERROR_TEXT];
};

/* Fills *error (may be NULL) and returns code, so that a function can end in `return swi_fail(…)`. */
int swi_fail(struct swi_error *error, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts a prefix before the message that is already there ("layer_3.safetensors: "). Returns the code. */
int swi_fail_within(struct swi_error *error, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
