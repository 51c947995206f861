/* SPDX-License-Identifier: MIT */
/* A WordPiece vocabulary that needs no download and cuts English text sensibly. */
#ifndef SWI_PROGRAMS_CHUNK_SOURCE_SYNTH_VOCABULARY_H
#define SWI_PROGRAMS_CHUNK_SOURCE_SYNTH_VOCABULARY_H

#include <stddef.h>
#include <stdint.h>

#define SYNTH_VOCABULARY_LEAST 5u

/* vocab.txt with exactly `tokens` different lines: [PAD] [UNK] [CLS] [SEP] [MASK], every printable
 * ASCII character alone and as a continuation, common English words, endings and syllables, and
 * [unusedN] up to the end. *ret_text is malloc'd. Returns 0 or -ENOMEM. */
int synth_vocabulary(uint32_t tokens, char **ret_text, size_t *ret_size);

#endif
