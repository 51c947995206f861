/* Reading and writing safetensors headers.
 * Format: https://github.com/huggingface/safetensors: u64 little-endian header length, JSON header, data. */
#ifndef SWI_SAFETENSORS_H
#define SWI_SAFETENSORS_H

#include <sw/client.h>

#include "core/error.h"

#define SWI_HEADER_MAX (64u << 20) /* bytes of JSON that a header may have */
#define SWI_TENSORS_MAX 65536u

struct swi_tensor {
    char *name;
    enum sw_dtype dtype;
    uint32_t rank;
    uint64_t shape[SW_RANK_MAX];
    uint64_t offset; /* from the start of the file */
    uint64_t bytes;
};

struct swi_metadata {
    char *key, *value;
};

struct swi_safetensors {
    struct swi_tensor *tensors; /* [count], in order of offset */
    size_t count;
    struct swi_metadata *metadata; /* [metadata_count] */
    size_t metadata_count;
    uint64_t data_offset; /* from the start of the file */
};

/* Parses the header found in the first `available` bytes of a file that is file_bytes long. Checks that each
 * tensor lies inside the file, that none overlap, that there are no holes between them other than
 * alignment padding below 64 bytes, that dtype × shape equals its length, that names are unique and rank is at most SW_RANK_MAX.
 * ret is owned by the caller: swi_safetensors_fini. data is borrowed for the call; names are copied.
 * Errors: SW_EFORMAT, SW_EUNSUPPORTED (dtype), -EAGAIN when `available` ends before the header does (its
 * length is then in *ret_needed, when not NULL), -ENOMEM. */
int swi_safetensors_parse(const void *data, size_t available, uint64_t file_bytes,
                          struct swi_safetensors *ret, uint64_t *ret_needed,
                          struct swi_error *error);
void swi_safetensors_fini(struct swi_safetensors *file);

const struct swi_tensor *swi_safetensors_find(const struct swi_safetensors *file, const char *name);
const char *swi_safetensors_metadata(const struct swi_safetensors *file, const char *key);

/* Lays tensors out (sets offset of each, in the given order, 64-byte aligned, data at a 4096-byte
 * boundary) and renders length prefix + padded JSON header. *ret_header is malloc'd, *ret_size long; the file is
 * *ret_file_bytes long in all. */
int swi_safetensors_render(struct swi_safetensors *file, char **ret_header, size_t *ret_size,
                           uint64_t *ret_file_bytes, struct swi_error *error);

#endif
