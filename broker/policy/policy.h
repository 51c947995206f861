/* SPDX-License-Identifier: MIT */
/* Whom to evict: what is known about the use of each chunk, turned into a regret for the arena's
 * window search.
 *
 * Pure: memory and arithmetic; ticks and times come as arguments. It reads client pages (through
 * core/lease) and trusts nothing in them.
 *
 * lru: chunks leave in the order of their last use. A window's regret is the last use of its most
 * recently used chunk; among equals, its bytes. A stamp from the future is ignored.
 *
 * next-use: inside a pass components come in order, so a client's cursor tells when each chunk of
 * its model is needed next: steps to go × the client's step time. The chunk needed furthest in the
 * future, over all live cursors, leaves first; a window's regret is the sum of bytes / time until
 * use, plus a share for every byte that must leave. Models that no live cursor runs through are
 * idle: they leave before all others, least recently used first.
 *   - A cursor that was not seen to move for four of its passes is not live.
 *   - A chunk that passes go by without using (a block of a vocabulary, a head that this client
 * does not need) is expected to stay unused for as long again.
 *   - The cursors of one session guard at most session_bytes of resident chunks, the next ones on
 *     their way; the rest leaves like that of an idle model. Whatever a client writes, it keeps no
 *     more than that from leaving.
 */
#ifndef SWB_POLICY_POLICY_H
#define SWB_POLICY_POLICY_H

#include "cache/cache.h"
#include "memory/arena.h"

struct policy;

/* session_bytes 0: no bound. NULL: out of memory. */
struct policy *policy_create(enum cache_policy kind, uint64_t session_bytes);
/* Uses and passes are noted whatever the kind, so that a new one knows them all. */
void policy_set_kind(struct policy *policy, enum cache_policy kind);
void policy_set_session_bytes(struct policy *policy, uint64_t bytes);
void policy_destroy(struct policy *policy);
const char *policy_name(const struct policy *policy);

struct policy_chunk {
    uint64_t incarnation; /* of its model */
    uint32_t ordinal;     /* below model_size */
    uint32_t model_size;  /* the same for all chunks of one incarnation; at most SWI_CHUNKS */
    uint64_t bytes;
};
/* -EINVAL: the ordinal is taken or out of range; -ENOMEM. */
int policy_add_chunk(struct policy *policy, uint32_t id, const struct policy_chunk *chunk);
void policy_remove_chunk(struct policy *policy, uint32_t id);
void policy_set_resident(struct policy *policy, uint32_t id, bool resident);

/* When a tick began, so that stamps can be read as times. To be told of every tick. */
void policy_note_tick(struct policy *policy, uint32_t tick, uint64_t now_ns);
/* The broker itself saw a use (a request, a load). */
void policy_touch(struct policy *policy, uint32_t id, uint32_t tick);
/* Takes over the last-use stamps of these chunks from a client's page. now_tick bounds what is
 * believed. Returns how many of them were newer than what was known. */
uint32_t policy_merge_page(struct policy *policy, const struct swi_page *page, uint32_t now_tick,
                           const uint32_t *ids, uint32_t count);
uint32_t policy_last_use(const struct policy *policy, uint32_t id);
/* The same as a time (of policy_note_tick); 0: never. */
uint64_t policy_last_use_ns(const struct policy *policy, uint32_t id);

/* Looks at the cursors of a session's page. Returns true when one has moved. */
bool policy_observe(struct policy *policy, uint32_t session, const struct swi_page *page,
                    uint64_t now_ns);
void policy_forget_session(struct policy *policy, uint32_t session);

/* Works out when everything is needed next. Before a series of the calls below. */
void policy_prepare(struct policy *policy, uint32_t now_tick, uint64_t now_ns);
/* What evicting the chunk would cost. keep is never set: pins and reads are the caller's
 * knowledge. */
struct arena_regret policy_regret(const struct policy *policy, uint32_t id);
/* Nanoseconds until the chunk is expected to be used, and how many steps of a pass that is; infinite
 * when nothing leads to it, and always with lru. */
double policy_next_use(const struct policy *policy, uint32_t id, uint32_t *ret_steps);
/* Whether a use of chunk `id` is expected before one of chunk `other`, as far as the policy can
 * tell: such a chunk must not make room for a prefetch of `other`. */
bool policy_needed_before(const struct policy *policy, uint32_t id, uint32_t other);

#endif
