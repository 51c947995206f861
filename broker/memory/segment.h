/* SPDX-License-Identifier: MIT */
/* The shared memory: the arena object and the index object, their read-only descriptors for
 * clients, and how much of the arena is backed by memory.
 *
 * Arena: shm_open with a random name, mode 0600, unlinked at once, so that no crash leaves it
 * behind. Its length is max_bytes from the start; memory is reserved block by block (2 MiB) from
 * the front, and always *before* use: a full /dev/shm is an error here and never a SIGBUS later. A
 * reserved block stays reserved until segment_trim: populating costs as much as reading a disk, so
 * ranges are recycled and eviction frees no pages.
 *
 * A block becomes one huge page by touching its first page and MADV_COLLAPSE. Where the kernel
 * refuses (a page somebody pins, no free huge page, an old kernel) the refusal is counted and the
 * block is populated with small pages.
 *
 * The descriptors for clients are opened O_RDONLY through /proc. That binds clients of other users,
 * who cannot reopen them for writing; it does not bind root or the broker's own user.
 */
#ifndef SWB_MEMORY_SEGMENT_H
#define SWB_MEMORY_SEGMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/error.h"
#include "core/layout.h"

struct segment {
    int fd;        /* read-write, the broker's own */
    int client_fd; /* read-only */
    uint8_t *base; /* [max_bytes], 2 MiB-aligned, read-write */
    uint64_t max_bytes;
    uint64_t reserved_bytes; /* from the front; a multiple of SWI_PAGE_BYTES */
    uint64_t huge_blocks;
    uint64_t collapse_refused;
    int refused_errno;       /* of the last refusal; 0: none */
    uint8_t *is_huge;        /* [max_bytes / SWI_BLOCK_BYTES] */
    uint64_t *kept_reserved; /* NULL: nobody asks for reserved_bytes after this process */
};

/* max_bytes is rounded up to whole blocks. Reserves nothing. */
int segment_create(struct segment *segment, uint64_t max_bytes, struct swi_error *error);
void segment_destroy(struct segment *segment);

/* From now on what is reserved and which blocks are huge is noted where it outlives this process
 * (borrowed): *reserved never says more than there is. */
void segment_keep(struct segment *segment, uint8_t *is_huge, uint64_t *reserved);

/* Takes over the arena object of a process that has ended, with what it had noted. SW_EVERSION: it
 * is not what it should be. The descriptor is the segment's on success. There may be holes in what
 * is reserved: blocks that were being renewed at the death, or that could not be. */
int segment_adopt(struct segment *segment, int fd, uint64_t max_bytes, uint8_t *is_huge,
                  uint64_t *reserved, struct swi_error *error);

/* Whether some of what is reserved has no memory behind it. */
bool segment_has_holes(const struct segment *segment);
/* Gives memory to what of a reserved block has none. */
int segment_back(struct segment *segment, uint64_t block, struct swi_error *error);

/* Frees the memory of one whole block, whatever still writes to it from a read that was cut off
 * (huge pages are only let go of whole), and reserves it anew. */
int segment_renew(struct segment *segment, uint64_t block, struct swi_error *error);

/* Whether reserving up to goal_bytes can work: space left in the file system of the segment, and
 * the memory limit of this process's cgroups. The message names the limit and the remedy. */
int segment_check_space(const struct segment *segment, uint64_t goal_bytes,
                        struct swi_error *error);

/* Whether goal_bytes would fit the file system of the segment if nothing else were in it. */
bool segment_fits(const struct segment *segment, uint64_t goal_bytes);

/* Reserves the next `blocks` blocks, not beyond goal_bytes (a multiple of SWI_PAGE_BYTES). On error
 * what was reserved before stays. */
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
/* Takes over one that index_segment_create made. SW_EVERSION: it is not what it should be. The
 * descriptor is the segment's on success. */
int index_segment_adopt(struct index_segment *segment, int fd, struct swi_error *error);
void index_segment_destroy(struct index_segment *segment);

#endif
