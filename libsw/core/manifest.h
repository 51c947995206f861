/* SPDX-License-Identifier: MIT */
/* chunk_info.json: the manifest of a chunk directory.
 *
 *   { "format_version": 1, "model_name": "…", "model_type": "bert", "layout": "panel", "dtype": "F16",
 *     "num_layers": 12,
 *     "chunks": { "embeddings": { "ordinal": 0, "file": "embeddings.safetensors", "bytes": 815104,
 *                                 "size_mb": 0.777, "xxh3_128": "32 hex digits" }, … },
 *     "total_bytes": 219000000, "total_size_mb": 208.9 }
 *
 * The ordinals are 0 … count-1, the order of the forward pass: JSON objects have none. The two size_mb
 * keys are there for readers of the ancestor's format and not read here; unknown keys are ignored. */
#ifndef SWI_CORE_MANIFEST_H
#define SWI_CORE_MANIFEST_H

#include <stdbool.h>

#include "core/digest.h"
#include "core/error.h"

#define SWI_MANIFEST_FILE       "chunk_info.json"
#define SWI_MANIFEST_VERSION    1
#define SWI_MANIFEST_MAX        (16u << 20) /* bytes */
#define SWI_MANIFEST_CHUNKS_MAX 4096u
#define SWI_MANIFEST_LAYERS_MAX 4096u

struct swi_manifest_chunk {
    char *name; /* "embeddings", "layer_0" … unique */
    char *file; /* base name of a file in the same directory */
    uint64_t bytes;
    struct swi_digest digest;
};

struct swi_manifest {
    char *model_name;
    char *model_type;
    char *layout; /* "rows" or "panel" */
    char *dtype;  /* "F32", "F16", "BF16" */
    uint32_t num_layers;
    struct swi_manifest_chunk *chunks; /* [count], in the order of the forward pass */
    size_t count;
    uint64_t total_bytes;
};

/* Parses and checks: version, ordinals, unique plain names of components and files (1 … 255 bytes, no '/', no
 * control characters, no dot in front), sizes over zero that add up, digests of 32 hex digits.
 * ret is owned by the caller. Errors: SW_EFORMAT, SW_EVERSION (also for the ancestor's manifest
 * without format_version: the message says to import it with swchunk), -ENOMEM. */
int swi_manifest_parse(const void *json, size_t size, struct swi_manifest *ret,
                       struct swi_error *error);
void swi_manifest_fini(struct swi_manifest *manifest);

/* True for a name that a component or a file may have. */
bool swi_manifest_name_ok(const char *name);

/* *ret_text is malloc'd, zero-terminated. Errors: -ENOMEM, SW_EFORMAT (text that is not UTF-8). */
int swi_manifest_render(const struct swi_manifest *manifest, char **ret_text);

/* Reads DIR/chunk_info.json relative to a directory descriptor. Errors also: -errno. */
int swi_manifest_read(int directory, struct swi_manifest *ret, struct swi_error *error);

#endif
