/* SPDX-License-Identifier: MIT */
/* Reading the pickle inside a torch archive, without executing anything.
 *
 * A pickle is a program for a small stack machine that may call any function of Python. This reader
 * knows only what torch.save writes for a dictionary of tensors: strings, numbers, tuples,
 * dictionaries, storages, tensors and parameters. Any other opcode, and any global outside the
 * short list in pickle.c, is an error that names it. Nothing is looked up, imported or called; a
 * call in the pickle becomes a description.
 *
 * Pure: bytes in, descriptions out. Every count is limited, and values refer to each other by
 * number, so that a pickle which contains itself is as harmless as any.
 */
#ifndef SWI_PROGRAMS_CHUNK_SOURCE_PICKLE_H
#define SWI_PROGRAMS_CHUNK_SOURCE_PICKLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sw/client.h>

#include "core/error.h"

#define PICKLE_BYTES_MAX (16u << 20)

/* What sw_dtype has no name for. */
enum source_element {
    ELEMENT_DTYPE = 0, /* dtype says it */
    ELEMENT_F64,
    ELEMENT_F8_E4M3,
    ELEMENT_F8_E5M2,
    ELEMENT_OTHER /* booleans, integers and what else is never a weight */
};

/* A tensor of the dictionary. Texts are borrowed from the pickle's
 * bytes, without a terminating zero and without one inside. */
struct pickle_tensor {
    const char *name, *storage;
    size_t name_length, storage_length;
    enum sw_dtype dtype;
    enum source_element element;
    uint32_t element_bytes;
    uint64_t storage_elements; /* that the storage is said to have */
    uint64_t offset; /* of the first element in the storage, in elements; all lie inside */
    uint32_t rank;
    uint64_t shape[SW_RANK_MAX];
    uint64_t stride[SW_RANK_MAX]; /* in elements */
    bool strided;                 /* not row by row without gaps */
    uint64_t extent;              /* elements from the first to the last, both included */
};

struct pickle {
    struct pickle_tensor *tensors; /* [count], in the order of the dictionary */
    size_t count;
};

/* ret is owned by the caller: pickle_fini. Errors: SW_EFORMAT, SW_EUNSUPPORTED (an opcode, a global
 * or a kind of value that is not on the list), -ENOMEM. */
int pickle_parse(const void *data, size_t size, struct pickle *ret, struct swi_error *error);
void pickle_fini(struct pickle *pickle);

#endif
