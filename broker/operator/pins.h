/* SPDX-License-Identifier: MIT */
/* The operator's pins: chunks that stay resident because of swctl pin.
 *
 * A pin goes by name and survives reloads. When a model is replaced, its pins move to the new
 * revision: a model pinned as a whole takes all new components along, single components move if the
 * new revision has them. When a model leaves the catalog, its pins end. A pinned chunk that is not
 * resident, because a resize evicted it or its bytes proved damaged, is loaded again.
 *
 * Pins may take half of the cache, so that something can always be evicted. Pinning a model makes
 * the operator a user of its revision.
 */
#ifndef SWB_OPERATOR_PINS_H
#define SWB_OPERATOR_PINS_H

#include "operator/control.h"

/* How much of a cache of this size pins may take. */
uint64_t pins_limit(uint64_t cache_bytes);

/* Whether a cache of this size has room for the pins. Errors: SW_EQUOTA. */
int pins_check_size(const struct control *control, uint64_t cache_bytes, struct swi_error *error);

/* Pins one component of a model's current revision, or all of them if ordinal is negative. Sets
 * fresh[i], of one flag per component, for each component that was not pinned before. Loads nothing.
 * Errors: SW_EQUOTA over the limit, with nothing done; -ENOMEM. */
int pins_add(struct control *control, struct revision *revision, int ordinal, bool *fresh,
             struct swi_error *error);

struct pins_removed {
    uint32_t chunks;
    uint64_t bytes;
};
/* component NULL: the whole model. Counts only what was pinned. */
struct pins_removed pins_remove(struct control *control, const char *model, const char *component);

/* Moves pins whose revision was superseded, and loads pinned chunks that are not resident. Call it
 * after each scan of the catalog, and now and then: a remote may supersede a revision at any time.
 * Returns how many pins have ended. */
uint32_t pins_follow(struct control *control);
/* Removes all pins, before the catalog is destroyed. */
void pins_end(struct control *control);

#endif
