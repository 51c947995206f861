/* SPDX-License-Identifier: MIT */
/* Writing planned tensors into safetensors files, a block of rows at a time. */
#ifndef SWI_PROGRAMS_CHUNK_WRITE_WRITER_H
#define SWI_PROGRAMS_CHUNK_WRITE_WRITER_H

#include "core/digest.h"
#include "core/safetensors.h"
#include "programs/chunk/progress.h"
#include "programs/chunk/source/source.h"
#include "programs/chunk/write/plan.h"
#include "programs/chunk/write/staging.h"

struct writer {
    struct source *source;     /* borrowed */
    struct progress *progress; /* borrowed */
    const char *out;           /* path of what is being written, for messages; borrowed */
    uint32_t align_bytes;      /* of tensors: SWI_TENSOR_ALIGN in chunks, 1 for none */
};

struct written {
    uint64_t bytes;
    struct swi_digest digest;
};

/* Writes one file (called `name` in out, for messages; NULL: out itself) into an open descriptor
 * and syncs it: tensors in the given order, read from the source, narrowed to their dtype (refusing
 * what is not finite then) and brought into their layout. Memory stays bounded by a block of rows,
 * whatever the tensor's size. -EINTR when a signal asks to stop. */
int writer_file(const struct writer *writer, int fd, const char *name,
                const struct plan_tensor *tensors, size_t count,
                const struct swi_metadata *metadata, size_t metadata_count, struct written *ret,
                struct swi_error *error);

/* Writes every chunk of the plan, the files that go along, and last the manifest. */
int writer_directory(const struct writer *writer, const struct staging *staging,
                     const struct plan *plan, struct swi_error *error);

#endif
