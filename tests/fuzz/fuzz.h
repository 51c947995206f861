/* SPDX-License-Identifier: MIT */
/* A fuzz target: what libFuzzer, and the replay of the seeds, call with each input. It aborts when
 * something is wrong. */
#ifndef SWT_FUZZ_FUZZ_H
#define SWT_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_CHECK(condition)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            (void)fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);          \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#endif
