/* SPDX-License-Identifier: MIT */
/* Large private memory that will be written completely.
 *
 * The first touch of a page costs a fault, which on a virtual machine is expensive. Therefore
 * allocations that fill a good part of a huge page use whole huge pages, if the machine offers them
 * with madvise (/sys/kernel/mm/transparent_hugepage/enabled), and are faulted in at once.
 */
#ifndef SWI_CORE_HUGE_PAGES_H
#define SWI_CORE_HUGE_PAGES_H

#include <stddef.h>

struct swi_huge {
    void *start; /* zeroed, aligned at least to a cache line; NULL: none */
    size_t bytes;
    size_t mapped; /* bytes to unmap; 0: from malloc */
};

/* Errors: -ENOMEM. Thread-safe. */
int swi_huge_take(size_t bytes, struct swi_huge *ret_big);

/* The memory it takes in bytes: whole huge pages. */
size_t swi_huge_held(const struct swi_huge *big);

/* Frees it and leaves it empty; does nothing if it is empty. */
void swi_huge_give(struct swi_huge *big);

#endif
