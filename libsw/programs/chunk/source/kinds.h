/* SPDX-License-Identifier: MIT */
/* The kinds of source there are, and what those that read a directory share. */
#ifndef SWI_PROGRAMS_CHUNK_SOURCE_KINDS_H
#define SWI_PROGRAMS_CHUNK_SOURCE_KINDS_H

#include "programs/chunk/source/source.h"

#define HF_WEIGHTS_FILE    "model.safetensors"
#define HF_INDEX_FILE      "model.safetensors.index.json"
#define TORCH_WEIGHTS_FILE "pytorch_model.bin"
#define TORCH_INDEX_FILE   "pytorch_model.bin.index.json"

/* The weights of a directory, model.safetensors or shards with an index; without description and
 * unsettled. The descriptor is borrowed for the call. */
int source_hf_open(int directory, struct source **ret, struct swi_error *error);

/* The same of pytorch_model.bin, or shards with an index; or a chunk directory of the older
 * program. */
int source_torch_open(int directory, bool older_chunks, struct source **ret,
                      struct swi_error *error);

/* A chunk directory of this format: panels and fused tensors undone; with its description. */
int source_chunks_open(int directory, struct source **ret, struct swi_error *error);
/* The element type of its matrices. */
enum sw_dtype source_chunks_dtype(const struct source *source);

/* The generator: see synth_random.h. */
struct synth_options {
    struct swi_encoder_config config;
    struct model_features features;
    uint64_t seed;
    bool mean_pooling; /* with a 1_Pooling/config.json that says so */
};
int source_synth_open(const struct synth_options *options, struct source **ret,
                      struct swi_error *error);

/* The small files of a directory for the readers of encoder/description.h; directory is borrowed
 * until they have read. */
struct swi_files source_files(const int *directory);
int source_read_description(int directory, struct swi_description *ret, struct swi_error *error);

/* The header of a safetensors file, however long it is. */
int source_read_header(int fd, uint64_t file_bytes, struct swi_safetensors *ret,
                       struct swi_error *error);

/* Elements of a tensor's own type as f32. */
void source_convert(float *out, const void *raw, uint64_t count,
                    const struct source_tensor *tensor);

/* Widens count elements of a dtype that lie at the end of out's count × 4 bytes, in place. */
void source_widen(float *out, uint64_t count, enum sw_dtype dtype);
/* Where such elements must lie for source_widen. */
void *source_narrow_part(float *out, uint64_t count, enum sw_dtype dtype);

#endif
