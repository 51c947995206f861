/* SPDX-License-Identifier: MIT */
/* Huge pages for large private memory. */
#include "core/huge_pages.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_PAGE ((size_t)2 << 20)
#define WORTH_ONE (HUGE_PAGE / 4) /* a smaller part would waste most of a huge page */
#define LINE      64

/* AddressSanitizer checks the bounds of malloc's memory, but not of mappings. */
#if defined(__SANITIZE_ADDRESS__)
#define MALLOC_ONLY 1
#elif defined(__has_feature)
#define MALLOC_ONLY __has_feature(address_sanitizer)
#else
#define MALLOC_ONLY 0
#endif

static size_t round_up(size_t bytes, size_t to)
{
    return (bytes + to - 1) / to * to;
}

/* Address space for whole huge pages, aligned to a huge page. */
static void *reserve(size_t size)
{
    char *start =
        mmap(NULL, size + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED)
        return NULL;
    size_t before = (HUGE_PAGE - (uintptr_t)start % HUGE_PAGE) % HUGE_PAGE;
    if (before > 0)
        (void)munmap(start, before);
    if (before < HUGE_PAGE)
        (void)munmap(start + before + size, HUGE_PAGE - before);
    return start + before;
}

int swi_huge_take(size_t bytes, struct swi_huge *ret_big)
{
    if (bytes > SIZE_MAX / 2)
        return -ENOMEM;
    struct swi_huge big = {.bytes = bytes};
    size_t whole = round_up(bytes, HUGE_PAGE);
    void *reserved = bytes >= WORTH_ONE && !MALLOC_ONLY ? reserve(whole) : NULL;
    if (reserved) {
        /* Both only make it quicker: a kernel that refuses gives small pages, as they are touched.
         */
        (void)madvise(reserved, whole, MADV_HUGEPAGE);
        (void)madvise(reserved, bytes, MADV_POPULATE_WRITE);
        big.start = reserved;
        big.mapped = whole;
        *ret_big = big;
        return 0;
    }
    if (posix_memalign(&big.start, LINE, bytes ? bytes : 1))
        return -ENOMEM;
    memset(big.start, 0, bytes);
    *ret_big = big;
    return 0;
}

size_t swi_huge_held(const struct swi_huge *big)
{
    return big->mapped > 0 ? big->mapped : big->bytes;
}

void swi_huge_give(struct swi_huge *big)
{
    if (big->mapped > 0)
        (void)munmap(big->start, big->mapped);
    else
        free(big->start);
    *big = (struct swi_huge){0};
}
