/* SPDX-License-Identifier: MIT */
/* Checkpoints to be taken apart: a small Hugging Face directory, its tensors in memory, and a way
 * to put them back changed. Everything lives until the test's process ends. */
#ifndef SWT_CHUNK_FIXTURE_H
#define SWT_CHUNK_FIXTURE_H

#include <stddef.h>
#include <stdint.h>

#include <jansson.h>
#include <sw/base.h>

struct checkpoint_tensor {
    char *name;
    enum sw_dtype dtype;
    uint32_t rank;
    uint64_t shape[4];
    char *data;
    uint64_t bytes;
};

struct checkpoint {
    struct checkpoint_tensor *tensors;
    size_t count;
};

struct checkpoint checkpoint_load(const char *path);
/* Written plainly, in the order of the list and without alignment, as many tools do. */
void checkpoint_save(const struct checkpoint *checkpoint, const char *path);

/* The test fails when there is none of that name. */
struct checkpoint_tensor *checkpoint_find(struct checkpoint *checkpoint, const char *name);
void checkpoint_remove(struct checkpoint *checkpoint, const char *name);
/* data is copied. */
struct checkpoint_tensor *checkpoint_add(struct checkpoint *checkpoint, const char *name,
                                         uint64_t n, uint64_t k, const float *data);
/* Same names, types, shapes and bytes, in any order; says what differs. */
void checkpoint_expect_equal(struct checkpoint *left, struct checkpoint *right);

/* A Hugging Face directory made by swchunk synth and export: 2 layers, hidden 40 (no multiple of
 * 16), 4 heads, 500 tokens. options: more for synth, or NULL. */
const char *fixture_model(const char *name, const char *const options[]);
/* Changes one key of DIR/config.json; value NULL removes it. */
void fixture_config(const char *directory, const char *key, json_t *value);

/* swchunk with these words. */
#define SWCHUNK(...) sup_run(SUP_ARGS("swchunk", __VA_ARGS__))
/* The command fails with this status and one line on stderr that holds all of these texts, and
 * prints nothing. */
void fixture_expect_refusal(int exit_code, const char *const words[], const char *const texts[]);
/* What `import` of a directory into a new OUT must say; OUT and anything beside it must not be
 * there afterwards. */
void fixture_expect_import_refused(const char *source, const char *const options[],
                                   const char *const texts[]);
#define TEXTS(...) ((const char *const[]){__VA_ARGS__, NULL})

#endif
