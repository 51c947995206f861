/* SPDX-License-Identifier: MIT */
/* swctl push: writes a model from its local files to the remote: chunks first, then manifest and
 * small files, and last the name of the revision. A broker without the files therefore finds all of
 * it, or the revision before.
 *
 *   each chunk:  from the arena if it is resident; else read and verified beside the arena, behind
 *                every other load ─▶ written, even if it is there: its keys may hold other bytes
 *   then:        small files (read by a thread) ─▶ bundle ─▶ name
 *
 * One push at a time in a broker; it ends with the connection that asked for it. Memory: one chunk,
 * or the small files. Progress is sent after each chunk.
 */
#ifndef SWB_OPERATOR_PUSH_H
#define SWB_OPERATOR_PUSH_H

#include "operator/control.h"

/* The answer goes to the call's session, perhaps before this returns. On failure nothing was sent. */
int push_start(const struct control_call *call, struct swi_error *error);

#endif
