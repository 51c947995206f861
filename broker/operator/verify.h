/* SPDX-License-Identifier: MIT */
/* swctl verify: hashes resident chunks again, in small steps between the loop's turns.
 *
 * The cache hashes one chunk after the other (cache_rehash_start) and compares it with its digest.
 * A chunk that leaves or is loaded anew in the meantime is passed over, since every load verifies.
 * Damaged bytes are never served: the sessions that pin the chunk are revoked, so that results
 * computed from them are discarded and never returned; the chunk is evicted, counted as a digest
 * error, and read again from its file.
 */
#ifndef SWB_OPERATOR_VERIFY_H
#define SWB_OPERATOR_VERIFY_H

#include "operator/control.h"

/* Starts the verification of the call's target; without a target, of everything. The answer goes to
 * the call's session later. On failure nothing is sent. */
int verify_start(const struct control_call *call, struct swi_error *error);

/* Advances the oldest verification by one step. Returns true if there is more to do at once. */
bool verify_step(struct control *control);

#endif
