/* SPDX-License-Identifier: MIT */
/* Knowing that a process is a forked child, and keeping the library's locks whole across fork.
 *
 * One private anonymous page under MADV_WIPEONFORK holds the number of this process's generation. A
 * child finds zero there and gives itself the next number. Whatever was made under another number
 * (sessions, attachments, leases) belongs to an ancestor.
 *
 * pthread_atfork takes every client's lock before a fork, so that a child inherits no half-made
 * change; the wiped page alone decides who is a child, also where a child came from a bare clone().
 */
#ifndef SWI_CORE_PROCESS_H
#define SWI_CORE_PROCESS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/queue.h>

/* A lock to be held across fork. Embedded in its owner. */
struct swi_fork_lock {
    pthread_mutex_t mutex;
    LIST_ENTRY(swi_fork_lock) link;
};

/* Initialises the lock and lists it. Errors: -ENOMEM, -ENOSYS (the kernel has no MADV_WIPEONFORK).
 */
int swi_fork_lock_init(struct swi_fork_lock *lock);
void swi_fork_lock_fini(struct swi_fork_lock *lock);

/* This process's generation; never 0. After the first swi_fork_lock_init only. */
uint64_t swi_process(void);
/* Where the generation is kept: equal to swi_process(), or 0 in a child that has not asked yet. */
const _Atomic uint64_t *swi_process_word(void);

#endif
