/* SPDX-License-Identifier: MIT */
/* swctl push: fills the Redis with a model from its local files, chunks first, then manifest and
 * small files, and last the name of the revision, so that a broker without the files finds all of
 * it or the revision before.
 *
 *   each chunk:  resident? from the arena; else read and verified beside the arena, behind every
 *                other load ─▶ SET stripe by stripe, whatever is there
 *   then:        small files (read by a thread) ─▶ SETRANGE in pieces ─▶ SET PREFIX:model:NAME
 *
 * Whoever wants progress is told after each chunk.
 *
 * One push at a time in a broker; it ends with the connection that asked for it. Memory: one chunk,
 * or the small files.
 */
#ifndef SWB_OPERATOR_PUSH_H
#define SWB_OPERATOR_PUSH_H

#include "operator/control.h"

/* The answer goes to the call's session, perhaps before this returns. On failure nothing was sent. */
int push_start(const struct control_call *call, struct swi_error *error);

#endif
