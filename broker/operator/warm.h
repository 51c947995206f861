/* SPDX-License-Identifier: MIT */
/* swctl warm and pin: loads a whole model or one component, and answers when all chunks are loaded.
 *
 * A pin is in force before its chunks are loaded, so that they stay. It is undone if one of them
 * cannot be loaded, or if the session ends before the answer. */
#ifndef SWB_OPERATOR_WARM_H
#define SWB_OPERATOR_WARM_H

#include "operator/control.h"

/* The call names a model; no component: all of it. pin: the operator's, see pins.h. The answer goes
 * to the session, perhaps before this returns. On failure nothing was sent.
 *
 * If the session ends first, a chunk that is being read still becomes resident; a chunk that is
 * only queued, and that nobody else waits for, is not read. */
int warm_start(const struct control_call *call, bool pin, struct swi_error *error);

#endif
