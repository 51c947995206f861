/* SPDX-License-Identifier: MIT */
/* Which chunk to evict: turns what is known about the use of each chunk into a regret for the
 * arena's window search.
 *
 * Pure: memory and arithmetic; ticks and times are arguments. It reads client pages through
 * core/lease and trusts nothing in them.
 *
 * lru: chunks leave in the order of their last use. A window's regret is the last use of its most
 * recently used chunk, then its bytes. A stamp from the future is ignored.
 *
 * next-use: inside a pass, components come in order, so a client's cursor tells when each chunk of
 * its model is needed next: the number of steps to go times the client's step time. The chunk
 * needed furthest in the future, over all live cursors, leaves first. A window's regret is the sum
 * of bytes / time until use, plus a share for every byte that must leave. Models without a live
 * cursor are idle and leave before all others, least recently used first.
 *
 *   - A cursor that has not moved for four of its passes is not live.
 *   - A chunk that passes skip (a block of a vocabulary, a head that this client does not need) is
 *     expected to stay unused for as long again.
 *   - The cursors of one session guard at most session_bytes of resident chunks, those needed
 *     soonest; the rest leaves like the chunks of an idle model. Whatever a client writes, it keeps
 *     no more than that resident.
 */
#ifndef SWB_POLICY_POLICY_H
#define SWB_POLICY_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#include "core/lease.h"
#include "memory/arena.h"
#include "policy/types.h"

struct policy;

/* session_bytes 0: no bound. NULL: out of memory. */
struct policy *policy_create(enum policy_kind kind, uint64_t session_bytes);
/* Uses and passes are recorded under either kind, so that a change of policy loses nothing. */
void policy_set_kind(struct policy *policy, enum policy_kind kind);
void policy_set_session_bytes(struct policy *policy, uint64_t bytes);
void policy_destroy(struct policy *policy);
const char *policy_name(const struct policy *policy);

/* -EINVAL: the ordinal is taken or out of range; -ENOMEM. */
int policy_add_chunk(struct policy *policy, uint32_t id, const struct policy_chunk *chunk);
void policy_remove_chunk(struct policy *policy, uint32_t id);
void policy_set_resident(struct policy *policy, uint32_t id, bool resident);

/* Records when a tick began, so that stamps can be read as times. Call it for every tick. */
void policy_note_tick(struct policy *policy, uint32_t tick, uint64_t now_ns);
/* Records a use that the broker itself saw: a request or a load. */
void policy_touch(struct policy *policy, uint32_t id, uint32_t tick);
/* Merges the last-use stamps of these chunks from a client's page, ignoring stamps after now_tick.
 * Returns how many were newer than the known ones. */
uint32_t policy_merge_page(struct policy *policy, const struct swi_page *page, uint32_t now_tick,
                           const uint32_t *ids, uint32_t count);
uint32_t policy_last_use(const struct policy *policy, uint32_t id);
/* The same as a time (of policy_note_tick); 0: never. */
uint64_t policy_last_use_ns(const struct policy *policy, uint32_t id);

/* Looks at the cursors in a session's page. Returns true if one has moved. */
bool policy_observe(struct policy *policy, uint32_t session, const struct swi_page *page,
                    uint64_t now_ns);
void policy_forget_session(struct policy *policy, uint32_t session);

/* Computes when each chunk is needed next. Call it before a series of the calls below. */
void policy_prepare(struct policy *policy, uint32_t now_tick, uint64_t now_ns);
/* The cost of evicting the chunk. keep is never set: the caller knows about pins and reads. */
struct arena_regret policy_regret(const struct policy *policy, uint32_t id);
/* The expected time until the next use, in nanoseconds and in steps of a pass; infinite if no
 * cursor leads to the chunk, and always with lru. */
double policy_next_use(const struct policy *policy, uint32_t id, uint32_t *ret_steps);
/* True if chunk `id` is expected to be used before chunk `other`: it must not make room for a
 * prefetch of `other`. */
bool policy_needed_before(const struct policy *policy, uint32_t id, uint32_t other);

#endif
