/* SPDX-License-Identifier: MIT */
/* The threads of one engine, which work in step on one pass.
 *
 * swi_thread_pool_run calls a function on every member; the caller is member 0. Inside, members
 * divide the work by their number and meet at swi_thread_pool_wait. A waiting member spins for a
 * fraction of a millisecond before it sleeps, because the next step, or the next run of the pass,
 * follows within microseconds.
 *
 * Not for use by two threads at once. After fork, the pool starts new members at its first run in
 * the child.
 */
#ifndef SWI_KERNELS_THREAD_POOL_H
#define SWI_KERNELS_THREAD_POOL_H

#include <stdint.h>

#define SWI_THREAD_POOL_MAX 64u

typedef struct swi_thread_pool swi_thread_pool;

/* threads: 1 … SWI_THREAD_POOL_MAX, including the caller. Errors: -ENOMEM, -EAGAIN (no more
 * threads). */
int swi_thread_pool_create(unsigned threads, swi_thread_pool **ret_team);
void swi_thread_pool_destroy(swi_thread_pool *team); /* NULL is allowed */

unsigned swi_thread_pool_size(const swi_thread_pool *team);

/* Returns when every member has returned. Errors: -EAGAIN, only in a child after fork. */
int swi_thread_pool_run(swi_thread_pool *team, void (*function)(void *context, unsigned member),
                        void *context);

/* Inside a run: a barrier for all members. */
void swi_thread_pool_wait(swi_thread_pool *team);

/* Inside a run: a counter shared by all members: returns 0, 1, 2 … and starts again from 0 at every
 * swi_thread_pool_wait. */
uint32_t swi_thread_pool_next(swi_thread_pool *team);

/* The member's part of [0, count): [*first, *end). */
void swi_thread_pool_share(const swi_thread_pool *team, unsigned member, uint32_t count,
                           uint32_t *first, uint32_t *end);

#endif
