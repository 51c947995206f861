/* SPDX-License-Identifier: MIT */
/* Warm-ups and pins that an operator asked for: loads of a whole model or one component, answered
 * when all are done. A pin is there before its chunks are loaded, so that they stay; it is taken
 * back when one of them cannot be loaded, or when whoever asked has gone before the answer. */
#ifndef SWB_OPERATOR_WARM_H
#define SWB_OPERATOR_WARM_H

#include "session/session.h"

struct warm_options {
    bool pin;      /* the operator's, see pins.h */
    bool progress; /* tell the session how far it is */
};
/* component NULL: all of the model. The answer goes to the session with that tag, perhaps before
 * this returns. On failure nothing was sent. */
int warm_start(struct session *session, uint64_t tag, const char *model, const char *component,
               struct warm_options options, struct swi_error *error);
/* Nobody waits any more; what is being read becomes resident all the same, what is queued for
 * nobody else is not read. */
void warm_cancel_all(struct session *session);

#endif
