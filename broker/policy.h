/* Whom to evict: what is known about the use of each chunk, turned into a regret for the arena's window search.
 *
 * Pure: memory and arithmetic; ticks and times come as arguments. It reads client pages (through core/lease) and trusts
 * nothing in them: a stamp from the future is ignored.
 *
 * lru: chunks leave in the order of their last use. A window's regret is the last use of its most recently used chunk;
 * among equals, its bytes.
 */
#ifndef SWB_POLICY_H
#define SWB_POLICY_H

#include "arena.h"
#include "cache.h"

struct policy;

struct policy *policy_create(enum cache_policy kind); /* NULL: out of memory */
void policy_destroy(struct policy *policy);
const char *policy_name(const struct policy *policy);

void policy_add_chunk(struct policy *policy, uint32_t id, uint64_t bytes);
void policy_remove_chunk(struct policy *policy, uint32_t id);

/* The broker itself saw a use (a request, a load). */
void policy_touch(struct policy *policy, uint32_t id, uint32_t tick);
/* Takes over the last-use stamps of these chunks from a client's page. now_tick bounds what is believed. Returns how
 * many of them were newer than what was known. */
uint32_t policy_merge_page(struct policy *policy, const struct swi_page *page, uint32_t now_tick,
                           const uint32_t *ids, uint32_t count);
uint32_t policy_last_use(const struct policy *policy, uint32_t id);

/* What evicting the chunk would cost at this tick. keep is never set: pins and reads are the caller's knowledge. */
struct arena_regret policy_regret(const struct policy *policy, uint32_t id, uint32_t now_tick);

#endif
