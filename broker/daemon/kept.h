/* SPDX-License-Identifier: MIT */
/* Models from a Redis that a successor finds without asking it: the bundles of what is served go to
 * the service manager's store, so that a restart while the Redis is away costs nobody a model.
 *
 *   sw-model-DIGEST     a sealed memfd: the model's name [KEPT_NAME_BYTES], then its bundle
 *                       (bundle.h); DIGEST is of all of it
 *
 * One for each model of --models at most: what is superseded is dropped. A successor offers them to
 * the catalog before it takes revisions over; the Redis is asked all the same, and a newer revision
 * supersedes them as always.
 */
#ifndef SWB_DAEMON_KEPT_H
#define SWB_DAEMON_KEPT_H

#include "daemon/broker.h"

/* After the store was opened: sets descriptors aside for the models of the options. */
void kept_reserve(struct broker *broker);
/* What an earlier broker has kept, and is wanted still: to the catalog. From here on what comes
 * from the Redis is kept. After the first scan. */
void kept_begin(struct broker *broker);

#endif
