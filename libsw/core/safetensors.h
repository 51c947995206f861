/* SPDX-License-Identifier: MIT */
/* Reading and writing safetensors headers. Format: https://github.com/huggingface/safetensors, a
 * little-endian u64 header length, a JSON header, and the data.
 *
 * Hugging Face's reader requires that the tensors, in order of offset, begin at 0, follow each
 * other without a gap and end with the file. Alignment therefore uses filler tensors "__pad_0__",
 * "__pad_1__" …, of dtype U8 and rank 1: this code writes one if the next tensor would not start on
 * a 64-byte boundary, and skips them when it reads.
 */
#ifndef SWI_CORE_SAFETENSORS_H
#define SWI_CORE_SAFETENSORS_H

#include <stdbool.h>
#include <sw/client.h>

#include "core/error.h"

#define SWI_HEADER_MAX    (16u << 20) /* limit of the JSON in bytes */
#define SWI_TENSORS_MAX   65536u
#define SWI_TENSOR_ALIGN  64u
#define SWI_DATA_ALIGN    4096u
#define SWI_FILLER_PREFIX "__pad_"

struct swi_tensor {
    char *name;
    enum sw_dtype dtype;
    char foreign_dtype[12]; /* only by swi_safetensors_parse_foreign; else "" */
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
    bool foreign;         /* parsed by swi_safetensors_parse_foreign */
};

/* Parses the header in the first `available` bytes of a file of file_bytes. Checks that the tensors
 * cover the data to the end of the file without gaps and overlaps, that dtype × shape equals each
 * length, that names are unique, and that rank is at most SW_RANK_MAX. Does not check alignment,
 * which other writers do not guarantee. The caller owns *ret: swi_safetensors_fini. data is
 * borrowed for the call; names are copied. Errors: SW_EFORMAT, SW_EUNSUPPORTED (dtype, rank),
 * -ENOMEM, -EAGAIN (`available` ends within the header; *ret_needed, unless NULL, is then 8 + its
 * length). */
int swi_safetensors_parse(const void *data, size_t available, uint64_t file_bytes,
                          struct swi_safetensors *ret, uint64_t *ret_needed,
                          struct swi_error *error);
/* The same for another program's file: lets a dtype through that enum sw_dtype does not have. Such a
 * tensor has the dtype I64, and its own in foreign_dtype. */
int swi_safetensors_parse_foreign(const void *data, size_t available, uint64_t file_bytes,
                                  struct swi_safetensors *ret, uint64_t *ret_needed,
                                  struct swi_error *error);
void swi_safetensors_fini(struct swi_safetensors *file);

const struct swi_tensor *swi_safetensors_find(const struct swi_safetensors *file, const char *name);
const char *swi_safetensors_metadata(const struct swi_safetensors *file, const char *key);

/* Lays out tensors in the given order and renders the length prefix and the header. Sets `bytes`
 * and `offset` of each, aligned to align_bytes (SWI_TENSOR_ALIGN in chunks; 1: no fillers), with
 * the data at a 4096-byte boundary (the header is padded with spaces). Write bytes that belong to
 * no tensor as zeros. *ret_header is allocated with malloc; its size *ret_size is a multiple of
 * 4096. *ret_file_bytes is the size of the whole file. Errors: SW_EFORMAT (a duplicate or reserved
 * name, a size overflow, a header that is too long), -ENOMEM. */
int swi_safetensors_render(struct swi_safetensors *file, uint32_t align_bytes, char **ret_header,
                           size_t *ret_size, uint64_t *ret_file_bytes, struct swi_error *error);

#endif
