/* SPDX-License-Identifier: MIT */
/* The shared memory: the arena object and the index object, their read-only descriptors for
 * clients, and the memory that backs the arena.
 *
 * The arena is created by shm_open with a random name and mode 0600 and unlinked at once, so that a
 * crash leaves nothing behind. Its length is max_bytes from the start. Memory is reserved block by
 * block (2 MiB) from the front, always *before* use: a full /dev/shm is an error here, never a
 * SIGBUS later. A reserved block stays reserved until segment_trim: populating costs as much as
 * reading a disk, so ranges are recycled, and eviction frees no pages.
 *
 * Touching a block's first page and then calling MADV_COLLAPSE makes the block one huge page. Where
 * the kernel refuses (a pinned page, no free huge page, an old kernel), the refusal is counted and
 * the block is populated with small pages.
 *
 * The descriptors for clients are opened O_RDONLY through /proc. Clients of other users cannot
 * reopen them for writing; root and the broker's own user can.
 */
#ifndef SWB_MEMORY_SEGMENT_H
#define SWB_MEMORY_SEGMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/error.h"
#include "core/layout.h"

struct segment {
    int fd;        /* read-write, for the broker */
    int client_fd; /* read-only */
    uint8_t *base; /* [max_bytes], 2 MiB-aligned, read-write */
    uint64_t max_bytes;
    uint64_t reserved_bytes; /* from the front; a multiple of SWI_PAGE_BYTES */
    uint64_t huge_blocks;
    uint64_t collapse_refused;
    int refused_errno;       /* of the last refusal; 0: none */
    uint8_t *is_huge;        /* [max_bytes / SWI_BLOCK_BYTES] */
    uint64_t *kept_reserved; /* NULL: reserved_bytes is not kept beyond this process */
};

/* max_bytes is rounded up to whole blocks. Reserves nothing. */
int segment_create(struct segment *segment, uint64_t max_bytes, struct swi_error *error);
void segment_destroy(struct segment *segment);

/* Keeps the reserved size and the huge blocks in memory that outlives this process (borrowed) from
 * now on. *reserved never exceeds the memory that exists. */
void segment_keep(struct segment *segment, uint8_t *is_huge, uint64_t *reserved);

/* Takes over the arena object of a process that has ended, with what segment_keep had kept.
 * SW_EVERSION: it is not such an object. On success the segment owns the descriptor. The reserved
 * part may have holes: blocks that were being renewed when the process died, or that could not be
 * renewed. */
int segment_adopt(struct segment *segment, int fd, uint64_t max_bytes, uint8_t *is_huge,
                  uint64_t *reserved, struct swi_error *error);

/* True if part of the reserved size has no memory. */
bool segment_has_holes(const struct segment *segment);
/* Fills the holes of a reserved block with memory. */
int segment_back(struct segment *segment, uint64_t block, struct swi_error *error);

/* Replaces the memory of one whole block. A device that still writes to the old memory, for a read
 * that was cut off, does no harm then. (The kernel frees huge pages only as a whole.) */
int segment_renew(struct segment *segment, uint64_t block, struct swi_error *error);

/* Checks that goal_bytes can be reserved: against the space left in the segment's file system
 * (-ENOSPC) and the memory limit of this process's cgroups (-ENOMEM). The message names the limit
 * and the remedy. */
int segment_check_space(const struct segment *segment, uint64_t goal_bytes,
                        struct swi_error *error);

/* True if goal_bytes would fit into the segment's file system were it empty. */
bool segment_fits(const struct segment *segment, uint64_t goal_bytes);

/* Reserves the next `blocks` blocks, up to goal_bytes (a multiple of SWI_PAGE_BYTES). On error,
 * what was reserved stays reserved. */
int segment_reserve(struct segment *segment, uint64_t goal_bytes, unsigned blocks,
                    struct swi_error *error);

/* Returns the memory of whole blocks beyond keep_bytes to the system. */
void segment_trim(struct segment *segment, uint64_t keep_bytes);

struct index_segment {
    int fd;
    int client_fd;
    struct swi_index *index;
};
/* A memfd of sizeof(struct swi_index), mode 0600, sealed against resizing, zero-filled. */
int index_segment_create(struct index_segment *segment, struct swi_error *error);
/* Takes over an object that index_segment_create made. SW_EVERSION: it is not such an object. On
 * success the segment owns the descriptor. */
int index_segment_adopt(struct index_segment *segment, int fd, struct swi_error *error);
void index_segment_destroy(struct index_segment *segment);

#endif
