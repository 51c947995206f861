/* SPDX-License-Identifier: MIT */
/* The threads of one engine, working in step on one pass.
 *
 * swi_thread_pool_run calls one function on every member, the caller being member 0; inside, members share out
 * work by their number and meet at swi_thread_pool_wait. Whoever waits spins for a fraction of a millisecond before it
 * sleeps, since the next step, or the next run of the same pass, is microseconds away.
 *
 * Not for use by two threads at once. A child after fork has no members but itself: the team notices and
 * starts new ones at its first run there.
 */
#ifndef SWI_KERNELS_THREAD_POOL_H
#define SWI_KERNELS_THREAD_POOL_H

#include <stdint.h>

#define SWI_THREAD_POOL_MAX 64u

typedef struct swi_thread_pool swi_thread_pool;

/* threads: 1 … SWI_THREAD_POOL_MAX, the caller's own included. Errors: -ENOMEM, -EAGAIN (no more threads). */
int swi_thread_pool_create(unsigned threads, swi_thread_pool **ret_team);
void swi_thread_pool_destroy(swi_thread_pool *team); /* NULL is allowed */

unsigned swi_thread_pool_size(const swi_thread_pool *team);

/* Returns when every member has. Errors: -EAGAIN, only in a child after fork. */
int swi_thread_pool_run(swi_thread_pool *team, void (*function)(void *context, unsigned member),
                        void *context);

/* Inside a run: returns when every member has called it as often. */
void swi_thread_pool_wait(swi_thread_pool *team);

/* Inside a run: 0, 1, 2 … to whoever asks next, from all members together; starts again from 0 at every
 * swi_thread_pool_wait. */
uint32_t swi_thread_pool_next(swi_thread_pool *team);

/* The member's part of [0, count): [*first, *end). */
void swi_thread_pool_share(const swi_thread_pool *team, unsigned member, uint32_t count,
                           uint32_t *first, uint32_t *end);

#endif
