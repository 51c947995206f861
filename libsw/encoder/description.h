/* SPDX-License-Identifier: MIT */
/* All that a model's small files say about how to run it, read in one place: swchunk import decides
 * by it what can run, and the engine runs by it.
 *
 *   modules.json ─▶ the Transformer's folder, pooling, what follows it      (modules.h)
 *   FOLDER/config.json ─▶ sizes, labels                                     (config.h, labels.h)
 *   FOLDER/sentence_bert_config.json, tokenizer_config.json ─▶ token limit, lower case
 *   config_sentence_transformers.json ─▶ prompts, similarity, truncated vectors
 *
 * The tokenizer's files are in model_tokenizer.h.
 */
#ifndef SWI_ENCODER_DESCRIPTION_H
#define SWI_ENCODER_DESCRIPTION_H

#include "encoder/config.h"
#include "encoder/files.h"
#include "encoder/labels.h"
#include "encoder/modules.h"

#define SWI_SENTENCE_FILE "config_sentence_transformers.json"

struct swi_prompt {
    char *name, *text;
};

struct swi_description {
    struct swi_modules modules;
    struct swi_encoder_config config;
    struct swi_labels labels;   /* of a classifier, whether there is one or not */
    uint32_t embedding_size;    /* of a vector by the model's own pooling and modules */
    bool truncated;             /* … which is the first part of what the modules make */
    uint32_t max_tokens;        /* of a text, special tokens included; at most config.positions */
    bool lower_case;            /* texts are lower-cased before the tokenizer's own normalizer */
    char similarity[16];        /* cosine, dot, euclidean or manhattan */
    struct swi_prompt *prompts; /* [prompt_count] */
    size_t prompt_count;
    const char *default_prompt; /* the text; "" without one */
};

/* ret is owned by the caller: swi_description_fini. Errors: SW_EFORMAT, SW_EUNSUPPORTED, -ENOMEM,
 * those of the files; the message names file and key. */
int swi_description_read(const struct swi_files *files, struct swi_description *ret,
                         struct swi_error *error);
void swi_description_fini(struct swi_description *description);

/* A prompt's text by name; NULL when there is none. */
const char *swi_description_prompt(const struct swi_description *description, const char *name);

/* The path of one of the Transformer's files: its folder in front. */
#define SWI_MODEL_PATH 160
void swi_description_path(const struct swi_description *description, const char *file, char *ret);

/* A head's rows must be config.json's labels, and its architecture one that labels whole texts.
 * Returns 0, or SW_EUNSUPPORTED with a message that names the architecture. */
int swi_description_check_classifier(const struct swi_description *description,
                                     struct swi_error *error);

#endif
