/* SPDX-License-Identifier: MIT */
/* Blocking work in a separate thread, with completion on the loop.
 *
 * For the few calls that have no non-blocking form (resolving a host name, reading a model's small
 * files). work runs in the thread and touches nothing but its data; over runs on the loop. An
 * abandoned task continues in its thread and is disposed of there; nothing waits for it.
 */
#ifndef SWB_BASE_OFFLOAD_H
#define SWB_BASE_OFFLOAD_H

#include "base/loop.h"

struct offload;

struct offload_task {
    void (*work)(void *data);              /* in the thread */
    void (*over)(void *owner, void *data); /* on the loop; data is the owner's from then on */
    void (*dispose)(void *data);           /* in either, if it was abandoned */
    void *owner;
    void *data;
};

/* On failure, the caller keeps the data. */
int offload_start(struct loop *loop, const struct offload_task *task, struct offload **ret);
/* over is not called any more. Must not be used after over was called. */
void offload_abandon(struct offload *offload);

#endif
