/* SPDX-License-Identifier: MIT */
/* Models that are served from the Redis alone (--models): asked for at the start and at each
 * reload, and again with growing pauses until they are there.
 *
 *   for each name:  GET PREFIX:model:NAME ─▶ "REVISION BYTES" ─▶ the one that is served? done
 *                   else GETRANGE PREFIX:model:NAME:REVISION, 1 MiB at a time ─▶ length, digest
 *                   ─▶ bundle, manifest ─▶ the catalog has a new revision
 *
 * One name at a time, one answer at a time. Until a model is there its clients hear why not. A
 * bundle that the broker cannot take though it is undamaged is not fetched again before a reload
 * asks for it; where it was for want of room, after five minutes.
 */
#ifndef SWB_REMOTE_REDIS_MODELS_H
#define SWB_REMOTE_REDIS_MODELS_H

#include "catalog/catalog.h"
#include "remote/redis/tier.h"

struct redis_models;

#define REDIS_MODELS_MAX 256u

/* Whether names is a list of model names separated by commas. */
int redis_models_check(const char *names, struct swi_error *error);
int redis_models_create(const char *names, struct redis_tier *tier, struct catalog *catalog,
                        struct loop *loop, struct redis_models **ret, struct swi_error *error);
void redis_models_destroy(struct redis_models *models);
/* Asks for all of them again. */
void redis_models_ask(struct redis_models *models);

#endif
