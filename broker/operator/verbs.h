/* SPDX-License-Identifier: MIT */
/* The operator's verbs: a JSON request, a JSON answer.
 *
 *   anyone who may connect:
 *   {"verb":"ping"} {"verb":"stats"} {"verb":"models"} {"verb":"clients"} {"verb":"trace"}
 *   {"verb":"ls","model":"m","component":"c"}            both optional
 *
 *   root, the broker's own user and the admin group:
 *   {"verb":"clear","model":"m","component":"c"}         both optional
 *   {"verb":"warm","model":"m","component":"c"}          component optional; answered when loaded
 *   {"verb":"pin","model":"m","component":"c"}           the same, and the chunks stay
 *   {"verb":"unpin","model":"m","component":"c"}         component optional
 *   {"verb":"verify","model":"m","component":"c"}        both optional; answered when done
 *   {"verb":"push","model":"m"}                          answered when done
 *   {"verb":"resize","bytes":N}
 *   {"verb":"reload"}
 *
 * A request has one target. A client with several sends a request for each, on one connection.
 *
 * An answer is {"ok":true,…} or {"ok":false,"code":…,"error":"…"}. Before the answer of warm, pin,
 * push and verify, a request with "progress":true gets
 * {"progress":{"chunks":N,"of_chunks":N,"bytes":N,"of_bytes":N}} now and then.
 */
#ifndef SWB_OPERATOR_VERBS_H
#define SWB_OPERATOR_VERBS_H

#include "operator/control.h"

/* The sessions' control function; context is the struct control. text is not zero-terminated. */
void verbs_handle(void *context, struct session *session, uint64_t tag, const char *text,
                  size_t size);

#endif
