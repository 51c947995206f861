/* SPDX-License-Identifier: MIT */
/* A broker that lies: it serves one small BERT model over the real wire format and real shared
 * memory, and answers each request with the next lie of a list. When the list has ended it is
 * honest. One thread of its own; while it waits for a request its memory may be changed. */
#ifndef SWT_FUZZ_LIAR_H
#define SWT_FUZZ_LIAR_H

#include "core/layout.h"
#include "input.h"

#define LIAR_MODEL  "model"
#define LIAR_CHUNKS 3u

struct liar;

/* lies is the liar's until liar_stop. */
struct liar *liar_start(struct fuzz_input lies);
void liar_stop(struct liar *liar);
const char *liar_socket(const struct liar *liar);

/* A change to index or arena: what it is comes from the input. */
void liar_poke(struct liar *liar, struct fuzz_input *input);

#endif
