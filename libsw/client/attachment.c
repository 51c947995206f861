/* SPDX-License-Identifier: MIT */
/* Checks and maps the descriptors from the broker. */
#include "client/attachment.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "core/process.h"

/* More than the memory of any host: a peer with a larger arena is faulty. */
#define ARENA_BYTES_MAX (UINT64_C(1) << 45)

static int check_length(int fd, const char *what, uint64_t bytes, bool exactly,
                        struct swi_error *error)
{
    struct stat status;
    if (fstat(fd, &status) < 0)
        return swi_fail(error, -errno, "cannot stat the broker's %s: %s", what,
                        sw_strerror(-errno));
    if (!S_ISREG(status.st_mode))
        return swi_fail(error, SW_EPROTOCOL, "the broker's %s is not shared memory", what);
    uint64_t length = (uint64_t)status.st_size;
    if (exactly ? length != bytes : length < bytes)
        return swi_fail(error, SW_EPROTOCOL,
                        "the broker's %s is %" PRIu64 " bytes long, not %s%" PRIu64
                        "; use programs and library of the same release",
                        what, length, exactly ? "" : "at least ", bytes);
    return 0;
}

static int map(int fd, size_t size, int protection, const char *what, void **ret,
               struct swi_error *error)
{
    void *address = mmap(NULL, size, protection, MAP_SHARED, fd, 0);
    if (address == MAP_FAILED)
        return swi_fail(error, -errno, "cannot map the broker's %s (%zu bytes): %s", what, size,
                        sw_strerror(-errno));
    *ret = address;
    return 0;
}

/* Maps the arena so that addresses and offsets are huge-page aligned together, so the first touch
 * of a huge page takes one fault instead of 512. */
static int map_arena(int fd, size_t size, void **ret, struct swi_error *error)
{
    size_t reserve = size + SWI_BLOCK_BYTES;
    uint8_t *space =
        mmap(NULL, reserve, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (space == MAP_FAILED)
        return swi_fail(
            error, -errno,
            "cannot reserve %zu bytes of address space for the arena: %s; raise ulimit -v", reserve,
            sw_strerror(-errno));
    size_t before = (SWI_BLOCK_BYTES - (uintptr_t)space % SWI_BLOCK_BYTES) % SWI_BLOCK_BYTES;
    uint8_t *aligned = space + before;
    void *address = mmap(aligned, size, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0);
    if (address == MAP_FAILED) {
        int code = -errno;
        munmap(space, reserve);
        return swi_fail(error, code, "cannot map the arena (%zu bytes): %s", size,
                        sw_strerror(code));
    }
    if (before)
        munmap(space, before);
    size_t tail = reserve - before - size;
    if (tail)
        munmap(aligned + size, tail);
    *ret = address;
    return 0;
}

static int check_contents(const struct swi_attachment *attachment,
                          const struct swi_wire_welcome *welcome, struct swi_error *error)
{
    if (!swi_index_compatible(attachment->index) || !swi_page_compatible(attachment->page))
        return swi_fail(error, SW_EVERSION,
                        "the broker's shared memory has a different layout; use "
                        "programs and library of the same release");
    if (attachment->index->header.arena_bytes != welcome->arena_bytes ||
        attachment->index->header.instance != welcome->instance)
        return swi_fail(error, SW_EPROTOCOL, "the broker's index belongs to another arena");
    return 0;
}

int swi_attachment_create(const int fds[static SWI_WELCOME_FDS],
                          const struct swi_wire_welcome *welcome, struct swi_attachment **ret,
                          struct swi_error *error)
{
    if (welcome->arena_bytes == 0 || welcome->arena_bytes > ARENA_BYTES_MAX ||
        welcome->arena_bytes % SWI_PAGE_BYTES != 0 || welcome->session >= SWI_SESSIONS)
        return swi_fail(error, SW_EPROTOCOL,
                        "the broker announces session %" PRIu32 " and an arena of %" PRIu64
                        " bytes",
                        welcome->session, welcome->arena_bytes);
    int result = check_length(fds[SWI_FD_ARENA], "arena", welcome->arena_bytes, false, error);
    if (result == 0)
        result = check_length(fds[SWI_FD_INDEX], "index", sizeof(struct swi_index), true, error);
    if (result == 0)
        result =
            check_length(fds[SWI_FD_PAGE], "client page", sizeof(struct swi_page), true, error);
    if (result < 0)
        return result;

    struct swi_attachment *attachment = calloc(1, sizeof *attachment);
    if (!attachment)
        return swi_fail(error, -ENOMEM, "out of memory");
    attachment->process_word = swi_process_word();
    attachment->process = swi_process();
    attachment->arena_bytes = welcome->arena_bytes;
    attachment->epoch = welcome->epoch;
    attachment->session = welcome->session;
    void *arena = NULL, *index = NULL, *page = NULL;
    result = map(fds[SWI_FD_INDEX], sizeof(struct swi_index), PROT_READ, "index", &index, error);
    if (result == 0)
        result = map(fds[SWI_FD_PAGE], sizeof(struct swi_page), PROT_READ | PROT_WRITE,
                     "client page", &page, error);
    if (result == 0)
        result = map_arena(fds[SWI_FD_ARENA], welcome->arena_bytes, &arena, error);
    attachment->index = index;
    attachment->page = page;
    attachment->arena = arena;
    if (result == 0)
        result = check_contents(attachment, welcome, error);
    /* A child must neither drop its parent's pins nor keep its page. The arena stays readable. */
    if (result == 0 && (madvise(page, sizeof(struct swi_page), MADV_DONTFORK) < 0 ||
                        madvise(index, sizeof(struct swi_index), MADV_DONTFORK) < 0))
        result = swi_fail(error, -errno, "cannot keep the client page out of forked children: %s",
                          sw_strerror(-errno));
    if (result < 0) {
        swi_attachment_destroy(attachment);
        return result;
    }
    *ret = attachment;
    return 0;
}

void swi_attachment_retire(struct swi_attachment *attachment)
{
    atomic_store_explicit(&attachment->retired, 1, memory_order_seq_cst);
}

static void unmap_arena(struct swi_attachment *attachment)
{
    if (attachment->arena)
        munmap((void *)(uintptr_t)attachment->arena, attachment->arena_bytes);
    attachment->arena = NULL;
}

bool swi_attachment_park(struct swi_attachment *attachment)
{
    assert(swi_attachment_retired(attachment));
    if (attachment->parked)
        return true;
    uint32_t ids[SWI_SLOTS];
    uint32_t bad = 0;
    if (swi_page_list_pins(attachment->page, ids, &bad) > 0 || bad > 0)
        return false;
    unmap_arena(attachment);
    /* On failure the old memory stays mapped, which is also safe. */
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
    (void)mmap((void *)(uintptr_t)attachment->index, sizeof(struct swi_index), PROT_READ, flags, -1,
               0);
    (void)mmap(attachment->page, sizeof(struct swi_page), PROT_READ | PROT_WRITE, flags, -1, 0);
    attachment->parked = true;
    return true;
}

void swi_attachment_disown(struct swi_attachment *attachment)
{
    swi_attachment_retire(attachment);
    unmap_arena(attachment);
    attachment->parked = true;
}

void swi_attachment_destroy(struct swi_attachment *attachment)
{
    if (!attachment)
        return;
    unmap_arena(attachment);
    if (swi_attachment_ours(attachment)) {
        if (attachment->index)
            munmap((void *)(uintptr_t)attachment->index, sizeof(struct swi_index));
        if (attachment->page)
            munmap(attachment->page, sizeof(struct swi_page));
    }
    free(attachment);
}
