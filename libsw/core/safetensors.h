/* SPDX-License-Identifier: MIT */
/* Reading and writing safetensors headers.
 * Format: https://github.com/huggingface/safetensors: u64 little-endian header length, JSON header,
 * data.
 *
 * Hugging Face's own reader demands that the tensors, in order of offset, begin at 0, follow each
 * other without a hole and end with the file. Alignment therefore comes from filler tensors:
 * "__pad_0__",
 * "__pad_1__" …, of dtype U8 and rank 1, that this code writes where the next tensor would not
 * start on a 64-byte boundary, and leaves out of what it returns when it reads.
 */
#ifndef SWI_CORE_SAFETENSORS_H
#define SWI_CORE_SAFETENSORS_H

#include <sw/client.h>

#include "core/error.h"

#define SWI_HEADER_MAX    (16u << 20) /* bytes of JSON that a header may have */
#define SWI_TENSORS_MAX   65536u
#define SWI_TENSOR_ALIGN  64u
#define SWI_DATA_ALIGN    4096u
#define SWI_FILLER_PREFIX "__pad_"

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
    struct swi_tensor *tensors; /* [count], in order of offset, fillers left out */
    size_t count;
    struct swi_metadata *metadata; /* [metadata_count] */
    size_t metadata_count;
    uint64_t data_offset; /* from the start of the file */
};

/* Parses the header found in the first `available` bytes of a file that is file_bytes long. Checks
 * that the tensors cover the data from its start to the end of the file without a hole and without
 * an overlap, that dtype × shape equals each length, that names are unique and rank is at most
 * SW_RANK_MAX. Alignment is not checked: files of others need not have any. ret is owned by the
 * caller: swi_safetensors_fini. data is borrowed for the call; names are copied. Errors:
 * SW_EFORMAT, SW_EUNSUPPORTED (dtype, rank), -EAGAIN when `available` ends before the header does
 * (8 + its length is then in *ret_needed, when not NULL), -ENOMEM. */
int swi_safetensors_parse(const void *data, size_t available, uint64_t file_bytes,
                          struct swi_safetensors *ret, uint64_t *ret_needed,
                          struct swi_error *error);
void swi_safetensors_fini(struct swi_safetensors *file);

const struct swi_tensor *swi_safetensors_find(const struct swi_safetensors *file, const char *name);
const char *swi_safetensors_metadata(const struct swi_safetensors *file, const char *key);

/* Lays tensors out in the given order and renders the length prefix and the header: sets `bytes`
 * and `offset` of each, aligned to align_bytes (SWI_TENSOR_ALIGN in chunks; 1: no fillers), data at
 * a 4096-byte boundary (the header is padded with spaces). Bytes of the file that belong to no
 * tensor are fillers and to be written as zeros. *ret_header is malloc'd, *ret_size long, a
 * multiple of 4096; the file is *ret_file_bytes long in all. Errors: SW_EFORMAT (a name given twice
 * or reserved, a size that overflows, too long a header), -ENOMEM. */
int swi_safetensors_render(struct swi_safetensors *file, uint32_t align_bytes, char **ret_header,
                           size_t *ret_size, uint64_t *ret_file_bytes, struct swi_error *error);

#endif
