/* SPDX-License-Identifier: MIT */
/* A chunk directory as a reader sees it: manifest, config, the files' headers, and the plan that
 * they must follow. Verify looks at each part on its own and names every bad one; others open it
 * whole. */
#ifndef SWI_PROGRAMS_CHUNK_CHUNK_DIRECTORY_H
#define SWI_PROGRAMS_CHUNK_CHUNK_DIRECTORY_H

#include "core/manifest.h"
#include "core/safetensors.h"
#include "encoder/description.h"
#include "programs/chunk/progress.h"
#include "programs/chunk/write/plan.h"

struct chunk_file {
    int fd; /* -1: not open */
    struct swi_safetensors header;
};

struct chunk_directory {
    int directory;
    struct swi_manifest manifest;
    struct swi_description description;
    struct model_features features; /* by chunk_directory_plan */
    struct plan plan;               /* by chunk_directory_plan */
    struct chunk_file *files;       /* [manifest.count] */
};

/* Manifest and config. directory is borrowed for the call. ret is owned by the caller. */
int chunk_directory_open(int directory, struct chunk_directory *ret, struct swi_error *error);
void chunk_directory_close(struct chunk_directory *chunks);

/* Opens a chunk's file: length as the manifest says, a well-formed header. */
int chunk_directory_open_file(struct chunk_directory *chunks, size_t chunk,
                              struct swi_error *error);
/* Re-hashes an open file. -EINTR when a signal asks to stop. */
int chunk_directory_hash(struct chunk_directory *chunks, size_t chunk, struct progress *progress,
                         struct swi_error *error);

/* When every file is open: makes the plan, and holds the manifest against it. */
int chunk_directory_plan(struct chunk_directory *chunks, struct swi_error *error);
/* Holds one chunk's tensors and metadata against the plan. */
int chunk_directory_check(const struct chunk_directory *chunks, size_t chunk,
                          struct swi_error *error);

/* The tensor of a chunk's header that the plan calls for; it is there once the check has passed. */
const struct swi_tensor *chunk_directory_tensor(const struct chunk_directory *chunks, size_t chunk,
                                                size_t tensor);

#endif
