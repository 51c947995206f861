/* SPDX-License-Identifier: MIT */
/* From a model's files to its tokenizer: which files it is made of is decided here, for the importer
 * and the engine alike. */
#ifndef SWI_ENCODER_MODEL_TOKENIZER_H
#define SWI_ENCODER_MODEL_TOKENIZER_H

#include <sw/tokenizer.h>

#include "encoder/description.h"

/* Errors: SW_ENOCOMPONENT when the model has no tokenizer's files; those of sw_tokenizer_create and
 * of the files. */
int swi_model_tokenizer(const struct swi_files *files, const struct swi_description *description,
                        sw_tokenizer **ret, struct swi_error *error);

#endif
