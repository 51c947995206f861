/* SPDX-License-Identifier: MIT */
/* chunk_info.json: the manifest of a chunk directory.
 *
 *   { "format_version": 1, "model_name": "…", "model_type": "bert", "layout": "panel", "dtype": "F16",
 *     "num_layers": 12,
 *     "chunks": { "embeddings": { "ordinal": 0, "file": "embeddings.safetensors", "bytes": 815104,
 *                                 "size_mb": 0.777, "xxh3_128": "32 hex digits" }, … },
 *     "total_bytes": 219000000, "total_size_mb": 208.9 }
 *
 * The ordinals 0 … count-1 give the order of the forward pass, since JSON objects are unordered.
 * The two size_mb keys are for readers of the ancestor's format; they and unknown keys are ignored.
 */
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

/* Parses and checks the version, the ordinals, that names of components and files are unique and
 * plain (1 … 255 bytes, no '/', no control characters, no leading dot), that sizes are positive and
 * add up, and that digests have 32 hex digits. The caller owns *ret. Errors: SW_EFORMAT,
 * SW_EVERSION (also for the ancestor's manifest without format_version: the message says to import
 * it with swchunk), -ENOMEM. */
int swi_manifest_parse(const void *json, size_t size, struct swi_manifest *ret,
                       struct swi_error *error);
void swi_manifest_fini(struct swi_manifest *manifest);

/* Whether a component or a file may have this name. */
bool swi_manifest_name_ok(const char *name);

/* *ret_text is allocated with malloc and zero-terminated. Errors: -ENOMEM, SW_EFORMAT (text that is
 * not UTF-8). */
int swi_manifest_render(const struct swi_manifest *manifest, char **ret_text);

/* Reads chunk_info.json in a directory given by descriptor. Errors also: -errno. */
int swi_manifest_read(int directory, struct swi_manifest *ret, struct swi_error *error);

#endif
