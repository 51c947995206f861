/* Warm-ups that an operator asked for: loads of a whole model or one component, answered when all
 * are done. */
#ifndef SWB_WARM_H
#define SWB_WARM_H

#include "session.h"

/* The answer goes to the session with that tag, perhaps before this returns. On failure nothing was
 * sent. */
int warm_start(struct session *session, uint64_t tag, const char *model, const char *component,
               struct swi_error *error);
/* Nobody waits any more; what is being read becomes resident all the same. */
void warm_cancel_all(struct session *session);

#endif
