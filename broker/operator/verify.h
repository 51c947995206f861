/* SPDX-License-Identifier: MIT */
/* swctl verify: what is resident is hashed again, in small steps between the loop's turns.
 *
 * Each resident chunk is compared with its digest, at most 1 MiB a turn; one that leaves or is
 * loaded anew while it is looked at is passed over, for a load verifies by itself. Bytes that do
 * not match are never served: whoever pins the chunk is revoked (what it computed from them is then
 * discarded, never returned), the chunk is evicted, counted among the digest errors, and read again
 * from its file.
 */
#ifndef SWB_OPERATOR_VERIFY_H
#define SWB_OPERATOR_VERIFY_H

#include "operator/control.h"

/* No target: everything. The answer goes to the call's session. On failure nothing was sent. */
int verify_start(const struct control_call *call, struct swi_error *error);

/* One step of the verification whose turn it is. True: there is more to do at once. */
bool verify_step(struct control *control);

#endif
