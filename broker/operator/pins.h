/* SPDX-License-Identifier: MIT */
/* The operator's pins: chunks that stay resident because swctl pin said so.
 *
 * A pin is a wish by name, kept across reloads: when a model is replaced, its pins move to the new
 * revision (a model pinned as a whole with all its new components, single components where the new
 * revision has them); when it leaves the catalog, they end. A pinned chunk that is not resident,
 * because a resize pushed it out or its bytes turned out wrong, is loaded again.
 *
 * Pins may take half of the cache, so that something can always be evicted. Pinning a model makes
 * the broker a user of its revision.
 */
#ifndef SWB_OPERATOR_PINS_H
#define SWB_OPERATOR_PINS_H

#include "daemon/broker.h"

/* The most that pins may take of a cache of this size. */
uint64_t pins_limit(uint64_t cache_bytes);

/* Whether a cache of this size has room for what is pinned. Errors: SW_EQUOTA. */
int pins_check_size(const struct broker *broker, uint64_t cache_bytes, struct swi_error *error);

/* Pins one component of a model's current revision, or all when ordinal is negative.
 * fresh[ordinal], of as many flags as the revision has components, is set for each that was not
 * pinned before. Loads nothing. Errors: SW_EQUOTA over the limit, with nothing done; -ENOMEM. */
int pins_add(struct broker *broker, struct revision *revision, int ordinal, bool *fresh,
             struct swi_error *error);

struct pins_removed {
    uint32_t chunks;
    uint64_t bytes;
};
/* component NULL: all of the model. What is not pinned counts nothing. */
struct pins_removed pins_remove(struct broker *broker, const char *model, const char *component);

/* Moves pins whose revision has been superseded, by a look through the catalog or by what a Redis
 * says, and loads what is pinned and not resident; to be called after either, and now and then.
 * Returns how many have ended. */
uint32_t pins_follow(struct broker *broker);
/* Before the catalog goes. */
void pins_end(struct broker *broker);

#endif
