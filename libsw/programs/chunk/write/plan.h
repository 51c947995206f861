/* SPDX-License-Identifier: MIT */
/* The plan of a chunk directory: which chunks a model is cut into, which tensors each holds, and
 * which tensors of Hugging Face's checkpoint each of those is made of. Pure: config in, plan out.
 * Import writes by it, verify and export read by it, so that names and shapes are written down
 * once.
 *
 *   in rows:   one tensor of the checkpoint, one tensor of the chunk
 *   in panel:  query, key and value are stacked by rows into attention.qkv.*; every linear weight
 *              [N, K] becomes [ceil(N/16), K, 16]
 *   a word table of more than 16 MiB is cut by rows into blocks of about equal size, each its own
 * chunk
 *   a module of sentence-transformers that has weights is a chunk of its own, module_N
 */
#ifndef SWI_PROGRAMS_CHUNK_WRITE_PLAN_H
#define SWI_PROGRAMS_CHUNK_WRITE_PLAN_H

#include <stdbool.h>

#include <sw/client.h>

#include "core/error.h"
#include "encoder/description.h"

#define PLAN_NAME      80u
#define PLAN_PARTS     3u
#define PLAN_BLOCK_MAX (16u << 20) /* bytes of a file of the word table */

/* What a checkpoint holds beside embeddings and layers. */
struct model_features {
    bool pooler;
    bool mlm;           /* cls.predictions.* */
    bool mlm_decoder;   /* … with a decoder of its own, not tied to the word table */
    bool next_sentence; /* cls.seq_relationship.* */
    uint32_t labels;    /* rows of classifier.weight; 0: none */
    uint32_t spans;     /* rows of qa_outputs.weight; 0: none */
    const struct swi_modules *modules; /* borrowed; NULL: none */
};

struct chunk_format {
    enum sw_layout layout;
    enum sw_dtype dtype; /* of matrices; vectors are always F32 */
    bool whole;          /* the word table in one piece, whatever its size */
};

struct plan_part {
    char name[PLAN_NAME]; /* in the checkpoint, without a "bert." in front */
    uint64_t first;       /* row of that tensor to begin at */
    uint64_t rows;
};

struct plan_tensor {
    char name[PLAN_NAME]; /* in the chunk */
    struct plan_part parts[PLAN_PARTS];
    uint32_t part_count;
    uint64_t n, k; /* a matrix [n, k]; a vector [n] with k = 1 */
    bool vector;
    bool linear; /* becomes panels in layout panel */
    /* as stored */
    enum sw_dtype dtype;
    uint32_t rank;
    uint64_t shape[SW_RANK_MAX];
};

struct plan_chunk {
    char name[PLAN_NAME];
    char file[PLAN_NAME];
    struct plan_tensor *tensors; /* [count] */
    size_t count;
    bool block;               /* of the word table */
    uint64_t first_row, rows; /* of a block */
};

struct plan {
    struct plan_chunk *chunks; /* [count], in the order of the forward pass */
    size_t count;
    struct chunk_format format;
};

/* ret is owned by the caller: plan_fini. Errors: SW_EUNSUPPORTED (too many chunks), -ENOMEM. */
int plan_make(const struct swi_encoder_config *config, const struct model_features *features,
              struct chunk_format format, struct plan *ret, struct swi_error *error);
void plan_fini(struct plan *plan);

/* Bytes of all tensors as stored. */
uint64_t plan_bytes(const struct plan *plan);

/* Whether there is a head chunk; with one, Hugging Face puts "bert." in front of all other tensors.
 */
bool plan_has_head(const struct model_features *features);

#endif
