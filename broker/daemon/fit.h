/* SPDX-License-Identifier: MIT */
/* The size of a cache that the settings leave open: what the catalog needs.
 *
 * Twice the size of the models: a client may pin half of the cache, hence every model, and there is
 * room for a model's next revision beside the one in use. The cache grows with the catalog, until an
 * operator sets its size; it does not shrink. */
#ifndef SWB_DAEMON_FIT_H
#define SWB_DAEMON_FIT_H

#include "daemon/broker.h"

/* The cache size that the options ask for. Reads the manifests in the chunks directory if they leave
 * it open. */
uint64_t fit_bytes(const struct broker *broker, const struct broker_options *options);

/* Of struct catalog: grows the cache if need be. context: struct broker. */
void fit_grow(void *context);

#endif
