/* SPDX-License-Identifier: MIT */
/* Where a model's tensors come from: a Hugging Face directory, a chunk directory, the generator.
 *
 * A source lists the tensors of a Hugging Face checkpoint by name and gives any run of their
 * elements as f32. Names are brought to one spelling on the way in: no "bert." in front, weight and
 * bias instead of gamma and beta. Import and export know nothing else about their input.
 */
#ifndef SWI_PROGRAMS_CHUNK_SOURCE_SOURCE_H
#define SWI_PROGRAMS_CHUNK_SOURCE_SOURCE_H

#include "core/safetensors.h"
#include "encoder/description.h"
#include "programs/chunk/source/pickle.h"
#include "programs/chunk/write/plan.h"

struct source;

struct source_tensor {
    char *name; /* owned */
    const char *
        file; /* where it is, for messages; borrowed from the source; NULL: nowhere in particular */
    enum sw_dtype dtype;
    enum source_element element;
    const char *type; /* its name, where dtype has none for it; borrowed from the source */
    uint32_t rank;
    uint64_t shape[SW_RANK_MAX];
    uint64_t shard, offset; /* for the source's own use */
    struct source *owner;   /* who reads it; by source_add */
};

struct source_ops {
    /* Elements first … first+count-1, row-major, as f32. They are inside the tensor. */
    int (*read)(struct source *source, const struct source_tensor *tensor, uint64_t first,
                uint64_t count, float *out, struct swi_error *error);
    /* Writes what goes along with the weights (config, vocabulary …) into a directory; out is its
     * path, for messages. NULL: the files of source->directory are copied. */
    int (*copy_files)(struct source *source, int directory, const char *out,
                      struct swi_error *error);
    void (*close)(struct source *source); /* frees the source itself */
};

struct source {
    const struct source_ops *ops;
    char *path;    /* where it was opened, for messages; NULL: while it is being opened, or nowhere;
                   owned */
    int directory; /* of the model; -1: there is none; owned */
    struct swi_description description;
    struct source *parts[SWI_MODULES_MAX]; /* [part_count]: own some of the tensors; owned */
    size_t part_count;
    char note[SWI_ERROR_TEXT]; /* what the user should know about the checkpoint; "": nothing */
    struct model_features features; /* by source_settle */
    struct source_tensor *tensors;  /* [count], sorted by name after source_settle */
    size_t count, capacity;
};

/* Opens SRC, whatever kind of directory it is. */
int source_open(const char *path, struct source **ret, struct swi_error *error);
/* Opens a chunk directory and nothing else. */
int source_open_chunks(const char *path, struct source **ret, struct swi_error *error);
void source_close(struct source *source);

/* ---- for those who implement one ------------------------------------------------------------- */

/* Adds a tensor under its settled name; buffers that are not weights (position_ids) are left out.
 */
int source_add(struct source *source, const struct source_tensor *tensor, const char *name,
               struct swi_error *error);

/* After the last source_add: sorts, refuses a name given twice, finds out the features, and drops
 * what is only a second copy of a tied tensor, once it has compared them. */
int source_settle(struct source *source, struct swi_error *error);

/* Frees what the functions above have allocated, not the source. */
void source_fini(struct source *source);

/* Takes over a source and its tensors, whose names then begin with prefix. */
int source_add_part(struct source *source, struct source *part, const char *prefix,
                    struct swi_error *error);

/* Writes what goes along with the weights into a directory; out is its path, for messages. */
int source_copy_files(struct source *source, int directory, const char *out,
                      struct swi_error *error);

/* What cannot run is refused before anything is written: the tokenizer is made from the files, as a
 * worker will make it, and held against the word table. */
int source_check_text(const struct source *source, struct swi_error *error);

/* Elements of a tensor, whoever owns it: see source_ops. */
int source_read(const struct source_tensor *tensor, uint64_t first, uint64_t count, float *out,
                struct swi_error *error);

/* ---- for those who use one ------------------------------------------------------------------- */

const struct source_tensor *source_find(const struct source *source, const char *name);

/* Fails with code; the message begins with the place of the tensor: path, file and name. */
int source_fail(const struct source *source, const struct source_tensor *tensor, int code,
                struct swi_error *error, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* Every tensor of the plan is there with its shape, and (unless drop_extra) none is left over. */
int source_check(const struct source *source, const struct plan *plan, bool drop_extra,
                 struct swi_error *error);

/* Rows first … first+count-1 of a planned tensor, [count, k], whatever parts they come from. */
int source_read_rows(struct source *source, const struct plan_tensor *tensor, uint64_t first,
                     uint64_t count, float *out, struct swi_error *error);
/* The checkpoint's tensor that a row of a planned one comes from, and the row in it. */
const struct source_tensor *source_locate(const struct source *source,
                                          const struct plan_tensor *tensor, uint64_t row,
                                          uint64_t *ret_row);

#endif
