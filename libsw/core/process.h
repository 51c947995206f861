/* SPDX-License-Identifier: MIT */
/* Detects that a process is a forked child, and keeps the library's locks consistent across fork.
 *
 * A private anonymous page with MADV_WIPEONFORK holds the generation number of this process. A
 * child finds zero there and takes the next number. Objects created under another number (sessions,
 * attachments, leases) belong to an ancestor.
 *
 * pthread_atfork handlers take the lock of every client before a fork, so a child inherits no
 * half-finished change. Only the wiped page tells whether a process is a child, so this also works
 * for a bare clone().
 */
#ifndef SWI_CORE_PROCESS_H
#define SWI_CORE_PROCESS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/queue.h>

/* A lock that is held across fork. Embedded in its owner. */
struct swi_fork_lock {
    pthread_mutex_t mutex;
    LIST_ENTRY(swi_fork_lock) link;
};

/* Initialises and lists the lock. Errors: -ENOMEM, -ENOSYS (no MADV_WIPEONFORK). */
int swi_fork_lock_init(struct swi_fork_lock *lock);
void swi_fork_lock_fini(struct swi_fork_lock *lock);

/* The generation of this process; never 0. Only after the first swi_fork_lock_init. */
uint64_t swi_process(void);
/* The address of the generation: swi_process(), or 0 in a child that has not called it yet. */
const _Atomic uint64_t *swi_process_word(void);

#endif
