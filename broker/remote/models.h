/* SPDX-License-Identifier: MIT */
/* Models that come from a remote alone (--models): looked for at the start and at each reload, and
 * again with growing pauses until they are there.
 *
 *   for each name:  find it ─▶ its revision is served already? done
 *                   else its bundle ─▶ length, digest ─▶ manifest ─▶ the catalog has a new revision
 *
 * One model at a time. Until a model is there, its clients are told why not. A bundle that is intact
 * but useless is not read again before the next reload; one that found no room, after five minutes.
 */
#ifndef SWB_REMOTE_MODELS_H
#define SWB_REMOTE_MODELS_H

#include "base/loop.h"
#include "catalog/catalog.h"
#include "remote/remote.h"

struct remote_models;

#define REMOTE_MODELS_MAX 256u

/* Whether names is a list of model names separated by commas. */
int remote_models_check(const char *names, struct swi_error *error);
/* Listens to remote->up. */
int remote_models_create(const char *names, struct remote *remote, struct catalog *catalog,
                         struct loop *loop, struct remote_models **ret, struct swi_error *error);
/* Before the remote is destroyed. */
void remote_models_destroy(struct remote_models *models);
/* Looks for all of them again. */
void remote_models_find(struct remote_models *models);

#endif
