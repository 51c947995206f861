/* The operator's verbs: a JSON request, a JSON answer.
 *
 *   {"verb":"ping"}                                      anyone who may connect
 *   {"verb":"stats"} {"verb":"ls"} {"verb":"models"} {"verb":"clients"}
 *   {"verb":"clear","model":"m","component":"c"}         root, the broker's own user and the admin group;
 *                                                      both keys optional
 *   {"verb":"warm","model":"m","component":"c"}          component optional; answered when all is
 * loaded
 *   {"verb":"resize","bytes":N}
 *   {"verb":"reload"}
 *
 * An answer is {"ok":true,…} or {"ok":false,"code":…,"error":"…"}.
 */
#ifndef SWB_CONTROL_H
#define SWB_CONTROL_H

#include "session.h"

/* Answers now or, for warm, later. text is not zero-terminated. */
void control_handle(struct session *session, uint64_t tag, const char *text, size_t size);

/* {"ok":false,…}; new reference. */
json_t *control_failure(int code, const char *message);

#endif
