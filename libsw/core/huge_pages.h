/* SPDX-License-Identifier: MIT */
/* Large private memory that is about to be written from end to end.
 *
 * The first touch of a fresh page costs a fault, and on a virtual machine many times the page's
 * worth of work. So what fills a good part of a huge page takes whole ones, where the machine has
 * them for those who ask (/sys/kernel/mm/transparent_hugepage/enabled), and everything is faulted
 * in at once.
 */
#ifndef SWI_CORE_HUGE_PAGES_H
#define SWI_CORE_HUGE_PAGES_H

#include <stddef.h>

struct swi_huge {
    void *start; /* zeroed, on a cache line's boundary at least; NULL: none */
    size_t bytes;
    size_t mapped; /* what of it is this module's to give back: 0 where malloc has it */
};

/* -ENOMEM. Safe from every thread. */
int swi_huge_take(size_t bytes, struct swi_huge *ret_big);

/* What it takes of the machine's memory, in bytes: whole huge pages. */
size_t swi_huge_held(const struct swi_huge *big);

/* Gives it back and leaves it empty; nothing to do for an empty one. */
void swi_huge_give(struct swi_huge *big);

#endif
