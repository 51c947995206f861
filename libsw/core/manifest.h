/* chunk_info.json: the manifest of a chunk directory. */
#ifndef SWI_MANIFEST_H
#define SWI_MANIFEST_H

#include "core/digest.h"
#include "core/error.h"

#define SWI_MANIFEST_FILE "chunk_info.json"
#define SWI_MANIFEST_VERSION 1
#define SWI_MANIFEST_MAX (16u << 20) /* bytes */
#define SWI_MANIFEST_CHUNKS_MAX 4096u

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

/* Parses and checks: version, unique names, plain file names (no '/', not "." or ".."), sizes over zero, digests of 32
 * hex digits. ret is owned by the caller. Errors: SW_EFORMAT, SW_EVERSION (also for the ancestor's manifest
 * without format_version: the message says to import it with swchunk). */
int swi_manifest_parse(const void *json, size_t size, struct swi_manifest *ret,
                       struct swi_error *error);
void swi_manifest_fini(struct swi_manifest *manifest);

/* *ret_text is malloc'd, zero-terminated. */
int swi_manifest_render(const struct swi_manifest *manifest, char **ret_text);

/* Reads DIR/chunk_info.json relative to a directory descriptor. Errors also: -errno. */
int swi_manifest_read(int directory, struct swi_manifest *ret, struct swi_error *error);

#endif
