/* SPDX-License-Identifier: MIT */
/* What sentence-transformers runs around the encoder: modules.json and each module's config.json.
 *
 *   [Transformer] → Pooling → Dense | LayerNorm | Normalize …
 *
 * modules.json decides which modules there are, in which folders and in which order. Without one
 * there is mean pooling, or what 1_Pooling/config.json says. A module of another class is refused by
 * its name, as are options of a known one that would change the vectors.
 * Formats: sentence_transformers 6.2, the classes of base.modules and sentence_transformer.modules.
 */
#ifndef SWI_ENCODER_MODULES_H
#define SWI_ENCODER_MODULES_H

#include <stdbool.h>

#include <sw/encoder.h>

#include "core/error.h"
#include "encoder/config.h"
#include "encoder/files.h"

#define SWI_MODULES_MAX       16u
#define SWI_POOLING_KINDS_MAX 6u
#define SWI_MODULE_PATH       96u

#define SWI_MODULES_FILE "modules.json"

struct swi_pooling {
    enum sw_pooling kinds[SWI_POOLING_KINDS_MAX]; /* their vectors are concatenated in this order */
    uint32_t count;                               /* 0: the model has no pooling module */
    bool skip_prompt;                             /* a prompt's tokens are not pooled */
};

enum swi_module_kind { SWI_MODULE_DENSE, SWI_MODULE_LAYER_NORM, SWI_MODULE_NORMALIZE };

/* What a Dense applies to its output; the kernels have no sigmoid. */
enum swi_dense_activation {
    SWI_DENSE_IDENTITY,
    SWI_DENSE_TANH,
    SWI_DENSE_RELU,
    SWI_DENSE_GELU,
    SWI_DENSE_SIGMOID,
    SWI_DENSE_SILU
};

struct swi_module {
    enum swi_module_kind kind;
    uint32_t number;            /* place in modules.json: its component is module_NUMBER, and its
                                   tensors in a checkpoint begin with "NUMBER." */
    char path[SWI_MODULE_PATH]; /* its folder in the model's directory, with a slash at the end */
    uint32_t in, out;           /* widths; equal but for a Dense */
    /* SWI_MODULE_DENSE */
    enum swi_dense_activation activation;
    bool bias,
        residual; /* residual: in is added to the output, projected where the widths differ */
};

struct swi_modules {
    bool listed;                        /* modules.json is there */
    char folder[SWI_MODULE_PATH];       /* the Transformer's, "" or with a slash at the end */
    char pooling_path[SWI_MODULE_PATH]; /* of the Pooling, as folder; "" without one */
    struct swi_pooling pooling;
    struct swi_module after[SWI_MODULES_MAX]; /* [count], what follows the pooling */
    uint32_t count;
};

/* modules.json and which folders it names, without the modules' own files: before config.json is
 * known. Errors: SW_EFORMAT, SW_EUNSUPPORTED, -ENOMEM, those of the files. */
int swi_modules_list(const struct swi_files *files, struct swi_modules *ret,
                     struct swi_error *error);
/* The listed modules' own config.json. hidden: the encoder's width. */
int swi_modules_read(const struct swi_files *files, uint32_t hidden, struct swi_modules *modules,
                     struct swi_error *error);

/* The width of what a pooling of `kinds` kinds and the modules after it make of `hidden`. */
uint32_t swi_modules_width(const struct swi_modules *modules, uint32_t hidden);
/* Whether a module's weights are in a component of their own. */
bool swi_module_has_weights(const struct swi_module *module);

#endif
