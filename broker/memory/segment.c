/* SPDX-License-Identifier: MIT */
/* The system calls behind segment.h. */
#include "memory/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core/memfd.h"
#include "core/size.h"
#include "memory/cgroup.h"

#define INDEX_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

static uint64_t block_round_up(uint64_t bytes)
{
    return (bytes + SWI_BLOCK_BYTES - 1) / SWI_BLOCK_BYTES * SWI_BLOCK_BYTES;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

/* Opens the same object read-only. */
static int reopen_read_only(int fd, struct swi_error *error)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int copy = open(path, O_RDONLY | O_CLOEXEC);
    if (copy < 0)
        return swi_fail(error, -errno,
                        "cannot reopen shared memory read-only through %s: %s; the broker needs "
                        "/proc to be mounted",
                        path, strerror(errno));
    return copy;
}

/* A /dev/shm that is a folder on a disk would make the arena a file there. Returns fd, or an error
 * with fd closed. */
static int require_memory(int fd, struct swi_error *error)
{
    struct statfs status;
    int result = fstatfs(fd, &status) < 0 ? -errno : 0;
    if (result == 0 && (status.f_type == TMPFS_MAGIC || status.f_type == RAMFS_MAGIC))
        return fd;
    (void)close(fd);
    if (result < 0)
        return swi_fail(error, result, "cannot tell whether /dev/shm is in memory: %s",
                        sw_strerror(result));
    return swi_fail(
        error, -ENOTSUP,
        "/dev/shm is not in memory (file system type 0x%lx): the arena would be a file on "
        "a disk; mount -t tmpfs tmpfs /dev/shm",
        (unsigned long)status.f_type);
}

static int open_unnamed_shm(struct swi_error *error)
{
    for (int attempt = 0; attempt < 16; attempt++) {
        uint64_t number;
        if (getrandom(&number, sizeof number, 0) != (ssize_t)sizeof number)
            return swi_fail(error, -errno, "cannot get random bytes: %s", strerror(errno));
        char name[48];
        (void)snprintf(name, sizeof name, "/swbroker-%016llx", (unsigned long long)number);
        int fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd >= 0) {
            (void)shm_unlink(name);
            return require_memory(fd, error);
        }
        if (errno != EEXIST)
            break;
    }
    return swi_fail(error, -errno,
                    "cannot create shared memory in /dev/shm: %s; a writable tmpfs must be mounted "
                    "there",
                    strerror(errno));
}

/* Maps the whole object at a block-aligned address: elsewhere no block could become a huge page. */
static int map_aligned(struct segment *segment, struct swi_error *error)
{
    uint64_t padded = segment->max_bytes + SWI_BLOCK_BYTES;
    uint8_t *room =
        mmap(NULL, padded, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED)
        return swi_fail(error, -errno,
                        "cannot reserve %llu MB of address space: %s; a smaller --max-cache-size "
                        "(and --cache-size) needs less",
                        (unsigned long long)padded >> 20, strerror(errno));
    uint64_t lead = block_round_up((uintptr_t)room) - (uintptr_t)room;
    uint8_t *base = room + lead;
    void *mapped = mmap(base, segment->max_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
                        segment->fd, 0);
    if (mapped == MAP_FAILED) {
        int code = -errno;
        (void)munmap(room, padded);
        return swi_fail(error, code, "cannot map the arena: %s", strerror(-code));
    }
    if (lead > 0)
        (void)munmap(room, lead);
    if (SWI_BLOCK_BYTES - lead > 0)
        (void)munmap(base + segment->max_bytes, SWI_BLOCK_BYTES - lead);
    /* keep gigabytes of weights out of core dumps */
    (void)madvise(base, segment->max_bytes, MADV_DONTDUMP);
    segment->base = base;
    return 0;
}

int segment_create(struct segment *segment, uint64_t max_bytes, struct swi_error *error)
{
    *segment = (struct segment){.fd = -1, .client_fd = -1, .max_bytes = block_round_up(max_bytes)};
    int result = 0;
    if (segment->max_bytes == 0 || segment->max_bytes > INT64_MAX)
        return swi_fail(error, -EINVAL, "cannot create an arena of %llu bytes",
                        (unsigned long long)max_bytes);
    segment->is_huge = calloc(segment->max_bytes / SWI_BLOCK_BYTES, 1);
    if (!segment->is_huge)
        return swi_fail(error, -ENOMEM, "out of memory");
    segment->fd = result = open_unnamed_shm(error);
    if (result < 0)
        goto fail;
    if (ftruncate(segment->fd, (off_t)segment->max_bytes) < 0) {
        result = swi_fail(error, -errno, "cannot size the arena to %llu bytes: %s",
                          (unsigned long long)segment->max_bytes, strerror(errno));
        goto fail;
    }
    segment->client_fd = result = reopen_read_only(segment->fd, error);
    if (result < 0)
        goto fail;
    result = map_aligned(segment, error);
    if (result < 0)
        goto fail;
    return 0;
fail:
    segment_destroy(segment);
    return result;
}

void segment_destroy(struct segment *segment)
{
    if (segment->base)
        (void)munmap(segment->base, segment->max_bytes);
    segment->base = NULL;
    close_fd(&segment->fd);
    close_fd(&segment->client_fd);
    if (!segment->kept_reserved)
        free(segment->is_huge);
    segment->is_huge = NULL;
}

void segment_keep(struct segment *segment, uint8_t *is_huge, uint64_t *reserved)
{
    memcpy(is_huge, segment->is_huge, segment->max_bytes / SWI_BLOCK_BYTES);
    free(segment->is_huge);
    segment->is_huge = is_huge;
    segment->kept_reserved = reserved;
    *reserved = segment->reserved_bytes;
}

static void set_reserved(struct segment *segment, uint64_t bytes)
{
    segment->reserved_bytes = bytes;
    if (segment->kept_reserved)
        *segment->kept_reserved = bytes;
}

/* Checks that fd is a writable arena object of that length. */
static int check_object(int fd, uint64_t max_bytes, struct swi_error *error)
{
    struct stat status;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fstat(fd, &status) < 0)
        return swi_fail(error, -errno, "cannot inspect the stored arena: %s", strerror(errno));
    if (!S_ISREG(status.st_mode) || (flags & O_ACCMODE) != O_RDWR || (status.st_mode & 077) != 0 ||
        status.st_uid != geteuid())
        return swi_fail(error, SW_EVERSION, "the stored arena does not belong to this user alone");
    if ((uint64_t)status.st_size != max_bytes)
        return swi_fail(error, SW_EVERSION,
                        "the stored arena has %llu bytes, but its index says %llu",
                        (unsigned long long)status.st_size, (unsigned long long)max_bytes);
    return 0;
}

int segment_adopt(struct segment *segment, int fd, uint64_t max_bytes, uint8_t *is_huge,
                  uint64_t *reserved, struct swi_error *error)
{
    *segment = (struct segment){.fd = -1, .client_fd = -1};
    int result = check_object(fd, max_bytes, error);
    if (result < 0)
        return result;
    struct segment adopted = {.fd = fd,
                              .client_fd = -1,
                              .max_bytes = max_bytes,
                              .reserved_bytes = *reserved,
                              .is_huge = is_huge,
                              .kept_reserved = reserved};
    for (uint64_t block = 0; block < max_bytes / SWI_BLOCK_BYTES; block++)
        adopted.huge_blocks += is_huge[block] != 0;
    adopted.client_fd = result = reopen_read_only(fd, error);
    if (result >= 0)
        result = map_aligned(&adopted, error);
    if (result < 0) {
        close_fd(&adopted.client_fd);
        return result;
    }
    *segment = adopted;
    return 0;
}

/* ---- space ----------------------------------------------------------------------------------- */

int segment_check_space(const struct segment *segment, uint64_t goal_bytes, struct swi_error *error)
{
    if (goal_bytes <= segment->reserved_bytes)
        return 0;
    uint64_t wanted = goal_bytes - segment->reserved_bytes;
    char want_text[32], have_text[32];
    swi_size_format(wanted, want_text, sizeof want_text);
    struct statvfs fs;
    if (fstatvfs(segment->fd, &fs) < 0)
        return swi_fail(error, -errno, "cannot read the size of /dev/shm: %s", strerror(errno));
    uint64_t available = (uint64_t)fs.f_bavail * fs.f_frsize;
    if (fs.f_blocks > 0 && available < wanted) { /* f_blocks 0: a tmpfs without a limit */
        swi_size_format(available, have_text, sizeof have_text);
        return swi_fail(
            error, -ENOSPC,
            "the arena needs %s more of /dev/shm, which has %s left; lower --cache-size "
            "or enlarge it: mount -o remount,size=SIZE /dev/shm (in a container: "
            "--shm-size)",
            want_text, have_text);
    }
    return cgroup_check_memory(goal_bytes, error);
}

bool segment_fits(const struct segment *segment, uint64_t goal_bytes)
{
    struct statvfs fs;
    return fstatvfs(segment->fd, &fs) == 0 &&
           (fs.f_blocks == 0 || (uint64_t)fs.f_blocks * fs.f_frsize >= goal_bytes);
}

/* ---- reserving ------------------------------------------------------------------------------- */

static int allocate(const struct segment *segment, uint64_t from, uint64_t bytes,
                    struct swi_error *error)
{
    int result;
    do {
        result = fallocate(segment->fd, 0, (off_t)from, (off_t)bytes);
    } while (result < 0 && errno == EINTR);
    if (result == 0)
        return 0;
    return swi_fail(error, -errno,
                    "cannot reserve shared memory for the arena beyond %llu MiB: %s; free memory, "
                    "enlarge /dev/shm (mount -o remount,size=SIZE /dev/shm), or lower --cache-size",
                    (unsigned long long)(from >> 20), strerror(errno));
}

bool segment_has_holes(const struct segment *segment)
{
    struct stat status;
    return fstat(segment->fd, &status) < 0 ||
           (uint64_t)status.st_blocks * 512 < segment->reserved_bytes;
}

int segment_back(struct segment *segment, uint64_t block, struct swi_error *error)
{
    uint64_t from = block * SWI_BLOCK_BYTES;
    uint64_t rest = segment->reserved_bytes - from;
    return allocate(segment, from, rest < SWI_BLOCK_BYTES ? rest : SWI_BLOCK_BYTES, error);
}

/* Tries to make one whole block a huge page. Its first page is allocated already. */
static bool collapse(struct segment *segment, uint64_t from)
{
    uint8_t *block = segment->base + from;
    if (madvise(block, SWI_PAGE_BYTES, MADV_POPULATE_WRITE) == 0 &&
        madvise(block, SWI_BLOCK_BYTES, MADV_COLLAPSE) == 0)
        return true;
    segment->collapse_refused++;
    segment->refused_errno = errno;
    return false;
}

/* Backs one whole block with memory, a huge page if possible. */
static int fill_block(struct segment *segment, uint64_t from, struct swi_error *error)
{
    int result = allocate(segment, from, SWI_PAGE_BYTES, error);
    if (result < 0)
        return result;
    if (!collapse(segment, from))
        return allocate(segment, from, SWI_BLOCK_BYTES, error);
    segment->huge_blocks += !segment->is_huge[from / SWI_BLOCK_BYTES];
    segment->is_huge[from / SWI_BLOCK_BYTES] = 1;
    return 0;
}

static int reserve_block(struct segment *segment, uint64_t goal_bytes, struct swi_error *error)
{
    uint64_t from = segment->reserved_bytes / SWI_BLOCK_BYTES * SWI_BLOCK_BYTES;
    uint64_t to = from + SWI_BLOCK_BYTES;
    if (to > goal_bytes) { /* the budget ends within the block */
        int result = allocate(segment, from, goal_bytes - from, error);
        if (result == 0)
            set_reserved(segment, goal_bytes);
        return result;
    }
    int result = fill_block(segment, from, error);
    if (result == 0)
        set_reserved(segment, to);
    return result;
}

int segment_reserve(struct segment *segment, uint64_t goal_bytes, unsigned blocks,
                    struct swi_error *error)
{
    if (goal_bytes > segment->max_bytes)
        goal_bytes = segment->max_bytes;
    for (unsigned i = 0; i < blocks && segment->reserved_bytes < goal_bytes; i++) {
        int result = reserve_block(segment, goal_bytes, error);
        if (result < 0)
            return result;
    }
    return 0;
}

static int punch(const struct segment *segment, uint64_t from, uint64_t bytes)
{
    int result;
    do {
        result = fallocate(segment->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)from,
                           (off_t)bytes);
    } while (result < 0 && errno == EINTR);
    return result < 0 ? -errno : 0;
}

static void forget_huge(struct segment *segment, uint64_t block)
{
    segment->huge_blocks -= segment->is_huge[block] != 0;
    segment->is_huge[block] = 0;
}

void segment_trim(struct segment *segment, uint64_t keep_bytes)
{
    uint64_t keep = block_round_up(keep_bytes);
    uint64_t have = block_round_up(segment->reserved_bytes);
    if (keep >= have)
        return;
    uint64_t before = segment->reserved_bytes;
    set_reserved(segment, keep); /* first, so that it never exceeds the memory */
    if (punch(segment, keep, have - keep) < 0) {
        set_reserved(segment, before); /* the memory is still reserved */
        return;
    }
    for (uint64_t block = keep / SWI_BLOCK_BYTES; block < have / SWI_BLOCK_BYTES; block++)
        forget_huge(segment, block);
}

int segment_renew(struct segment *segment, uint64_t block, struct swi_error *error)
{
    uint64_t from = block * SWI_BLOCK_BYTES;
    int result = punch(segment, from, SWI_BLOCK_BYTES);
    if (result < 0)
        return swi_fail(error, result, "cannot free a block of the arena: %s", sw_strerror(result));
    forget_huge(segment, block);
    if (from >= segment->reserved_bytes)
        return 0;
    if (segment->reserved_bytes - from < SWI_BLOCK_BYTES) /* the budget ends within the block */
        return allocate(segment, from, segment->reserved_bytes - from, error);
    return fill_block(segment, from, error);
}

/* ---- the index ------------------------------------------------------------------------------- */

int index_segment_create(struct index_segment *segment, struct swi_error *error)
{
    *segment = (struct index_segment){.fd = -1, .client_fd = -1};
    int result = segment->fd = swi_memfd_create("swbroker-index");
    if (result >= 0 && (ftruncate(segment->fd, (off_t)sizeof *segment->index) < 0 ||
                        fcntl(segment->fd, F_ADD_SEALS, INDEX_SEALS) < 0))
        result = -errno;
    if (result < 0) {
        (void)swi_fail(error, result, "cannot create the chunk index: %s", sw_strerror(result));
        goto fail;
    }
    segment->client_fd = result = reopen_read_only(segment->fd, error);
    if (result < 0)
        goto fail;
    void *mapped =
        mmap(NULL, sizeof *segment->index, PROT_READ | PROT_WRITE, MAP_SHARED, segment->fd, 0);
    if (mapped == MAP_FAILED) {
        result = swi_fail(error, -errno, "cannot map the chunk index: %s", strerror(errno));
        goto fail;
    }
    segment->index = mapped;
    return 0;
fail:
    index_segment_destroy(segment);
    return result;
}

int index_segment_adopt(struct index_segment *segment, int fd, struct swi_error *error)
{
    const int unwritable = F_SEAL_WRITE | F_SEAL_FUTURE_WRITE;
    *segment = (struct index_segment){.fd = -1, .client_fd = -1};
    struct stat status;
    int seals = fcntl(fd, F_GET_SEALS); /* the kernel may have added F_SEAL_EXEC */
    if (seals < 0 || (seals & INDEX_SEALS) != INDEX_SEALS || (seals & unwritable) != 0 ||
        fstat(fd, &status) < 0 || status.st_size != (off_t)sizeof(struct swi_index))
        return swi_fail(error, SW_EVERSION, "the stored index has another version");
    struct index_segment adopted = {.fd = fd, .client_fd = reopen_read_only(fd, error)};
    if (adopted.client_fd < 0)
        return adopted.client_fd;
    void *mapped = mmap(NULL, sizeof(struct swi_index), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED) {
        int code = swi_fail(error, -errno, "cannot map the stored index: %s", strerror(errno));
        close_fd(&adopted.client_fd);
        return code;
    }
    adopted.index = mapped;
    *segment = adopted;
    return 0;
}

void index_segment_destroy(struct index_segment *segment)
{
    if (segment->index)
        (void)munmap(segment->index, sizeof *segment->index);
    segment->index = NULL;
    close_fd(&segment->fd);
    close_fd(&segment->client_fd);
}
