/* SPDX-License-Identifier: MIT */
/* Work that may block, done by a thread of its own, whose end is told on the loop.
 *
 * For the few calls that know no other way (resolving a host's name, reading a model's small
 * files). work runs in the thread and touches nothing but its data; over runs on the loop. One that
 * is abandoned goes on in its thread and is disposed of there: nobody waits for it.
 */
#ifndef SWB_BASE_OFFLOAD_H
#define SWB_BASE_OFFLOAD_H

#include "base/loop.h"

struct offload;

struct offload_task {
    void (*work)(void *data);              /* in the thread */
    void (*over)(void *owner, void *data); /* on the loop; data is the owner's from then on */
    void (*dispose)(void *data);           /* in either, when it was abandoned */
    void *owner;
    void *data;
};

/* On failure the data stays the caller's. */
int offload_start(struct loop *loop, const struct offload_task *task, struct offload **ret);
/* over will not be called any more. Not after it was. */
void offload_abandon(struct offload *offload);

#endif
