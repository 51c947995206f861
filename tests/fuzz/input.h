/* SPDX-License-Identifier: MIT */
/* Taking a fuzzer's input apart. Every function gives something whatever is left: zeros and empty
 * pieces at the end, so that no input is refused and each cut of one is an input too. */
#ifndef SWT_FUZZ_INPUT_H
#define SWT_FUZZ_INPUT_H

#include <stdbool.h>
#include <string.h>

#include "fuzz.h"

struct fuzz_input {
    const uint8_t *at, *end;
};

static inline struct fuzz_input fuzz_input_of(const uint8_t *data, size_t size)
{
    return (struct fuzz_input){data, data + size};
}

static inline bool fuzz_left(const struct fuzz_input *input)
{
    return input->at < input->end;
}

/* An integer of up to 8 bytes, little-endian. */
static inline uint64_t fuzz_number(struct fuzz_input *input, unsigned bytes)
{
    uint64_t number = 0;
    for (unsigned i = 0; i < bytes && input->at < input->end; i++)
        number |= (uint64_t)*input->at++ << (8 * i);
    return number;
}

static inline uint8_t fuzz_byte(struct fuzz_input *input)
{
    return (uint8_t)fuzz_number(input, 1);
}

/* At most `most` bytes; *ret_size of them are there. */
static inline const uint8_t *fuzz_bytes(struct fuzz_input *input, size_t most, size_t *ret_size)
{
    const uint8_t *bytes = input->at;
    size_t left = (size_t)(input->end - input->at);
    *ret_size = most < left ? most : left;
    input->at += *ret_size;
    return bytes;
}

/* A piece up to the record separator (byte 1E) or the end. NULL: it is empty. */
static inline const char *fuzz_section(struct fuzz_input *input, size_t *ret_size)
{
    size_t left = (size_t)(input->end - input->at);
    const uint8_t *start = input->at, *stop = left ? memchr(start, 0x1E, left) : NULL;
    *ret_size = stop ? (size_t)(stop - start) : left;
    input->at += *ret_size + (stop != NULL);
    return *ret_size ? (const char *)start : NULL;
}

#endif
