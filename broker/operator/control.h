/* SPDX-License-Identifier: MIT */
/* The operator's verbs: a JSON request, a JSON answer.
 *
 *   anyone who may connect:
 *   {"verb":"ping"} {"verb":"stats"} {"verb":"models"} {"verb":"clients"}
 *   {"verb":"ls","model":"m","component":"c"}            both optional
 *
 *   root, the broker's own user and the admin group:
 *   {"verb":"clear","model":"m","component":"c"}         both optional
 *   {"verb":"warm","model":"m","component":"c"}          component optional; answered when loaded
 *   {"verb":"pin","model":"m","component":"c"}           the same, and it stays
 *   {"verb":"unpin","model":"m","component":"c"}         component optional
 *   {"verb":"verify","model":"m","component":"c"}        both optional; answered when done
 *   {"verb":"resize","bytes":N}
 *   {"verb":"reload"}
 *
 *   root and the broker's own user only, for the broker writes a file:
 *   {"verb":"trace","action":"start|stop|status","path":"/…","force":true}
 *
 * An answer is {"ok":true,…} or {"ok":false,"code":…,"error":"…"}. Before the answer of warm, pin,
 * push and verify, a request with "progress":true gets
 * {"progress":{"chunks":N,"of_chunks":N,"bytes":N, "of_bytes":N}} now and then.
 */
#ifndef SWB_OPERATOR_CONTROL_H
#define SWB_OPERATOR_CONTROL_H

#include "session/session.h"

/* Answers now or, for warm, later. text is not zero-terminated. */
void control_handle(struct session *session, uint64_t tag, const char *text, size_t size);

/* {"ok":false,…}; new reference. */
json_t *control_failure(int code, const char *message);

#endif
