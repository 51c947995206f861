/* SPDX-License-Identifier: MIT */
/* Creating and mapping the ledger, and the order of its stores. */
#include "handover/ledger.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/memfd.h"

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

void ledger_settle(void)
{
    atomic_signal_fence(memory_order_seq_cst);
}

static size_t size_for(uint64_t arena_bytes)
{
    return sizeof(struct ledger) + (size_t)(arena_bytes / SWI_BLOCK_BYTES);
}

static int map(struct ledger_file *file)
{
    void *mapped = mmap(NULL, file->size, PROT_READ | PROT_WRITE, MAP_SHARED, file->fd, 0);
    if (mapped == MAP_FAILED)
        return -errno;
    file->ledger = mapped;
    return 0;
}

int ledger_create(uint64_t arena_bytes, struct ledger_file *ret, struct swi_error *error)
{
    struct ledger_file file = {.size = size_for(arena_bytes)};
    int result = 0;
    file.fd = swi_memfd_create("swbroker-ledger");
    if (file.fd < 0)
        result = file.fd;
    else if (ftruncate(file.fd, (off_t)file.size) < 0 || fcntl(file.fd, F_ADD_SEALS, SEALS) < 0)
        result = -errno;
    else
        result = map(&file);
    if (result < 0) {
        if (file.fd >= 0)
            close(file.fd);
        return swi_fail(error, result, "cannot create the broker's ledger: %s",
                        sw_strerror(result));
    }
    file.ledger->header = (struct ledger_header){.magic = LEDGER_MAGIC,
                                                 .version = LEDGER_VERSION,
                                                 .layout_hash = LEDGER_HASH,
                                                 .arena_bytes = arena_bytes};
    *ret = file;
    return 0;
}

static bool is_valid(const struct ledger_file *file)
{
    const struct ledger_header *header = &file->ledger->header;
    return header->magic == LEDGER_MAGIC && header->version == LEDGER_VERSION &&
           header->layout_hash == LEDGER_HASH && header->ranges <= LEDGER_RANGES &&
           header->arena_bytes % SWI_BLOCK_BYTES == 0 &&
           header->reserved_bytes <= header->arena_bytes &&
           header->reserved_bytes % SWI_PAGE_BYTES == 0 &&
           size_for(header->arena_bytes) == file->size;
}

int ledger_open(int fd, struct ledger_file *ret, struct swi_error *error)
{
    struct ledger_file file = {.fd = fd};
    struct stat status;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & SEALS) != SEALS || fstat(fd, &status) < 0 ||
        status.st_size < (off_t)sizeof(struct ledger))
        return swi_fail(error, SW_EVERSION, "the stored ledger has another version");
    file.size = (size_t)status.st_size;
    int result = map(&file);
    if (result < 0)
        return swi_fail(error, result, "cannot map the stored ledger: %s", sw_strerror(result));
    if (!is_valid(&file)) {
        (void)munmap(file.ledger, file.size);
        return swi_fail(error, SW_EVERSION, "the stored ledger has another version or is damaged");
    }
    *ret = file;
    return 0;
}

void ledger_close(struct ledger_file *file)
{
    if (file->ledger)
        (void)munmap(file->ledger, file->size);
    file->ledger = NULL;
    if (file->fd >= 0)
        close(file->fd);
    file->fd = -1;
}

/* ---- records --------------------------------------------------------------------------------- */

bool ledger_add_range(struct ledger *ledger, uint64_t from, uint64_t bytes)
{
    if (ledger->header.ranges == LEDGER_RANGES)
        return false;
    ledger->range[ledger->header.ranges] = (struct ledger_range){.from = from, .bytes = bytes};
    ledger_settle();
    ledger->header.ranges++;
    return true;
}

uint32_t ledger_add_revision(struct ledger *ledger, const char *name, uint64_t incarnation,
                             const uint32_t *ids, uint32_t count)
{
    assert(incarnation != 0);
    uint32_t place = 0;
    while (place < LEDGER_REVISIONS && ledger->revision[place].incarnation != 0)
        place++;
    if (place == LEDGER_REVISIONS)
        return LEDGER_NOWHERE;
    struct ledger_revision *revision = &ledger->revision[place];
    for (uint32_t i = 0; i < count; i++)
        ledger->chunk[ids[i]] = (struct ledger_chunk){.revision = place, .ordinal = i};
    revision->count = count;
    (void)snprintf(revision->name, sizeof revision->name, "%s", name);
    ledger_settle();
    revision->incarnation = incarnation;
    ledger_settle();
    return place;
}

void ledger_remove_revision(struct ledger *ledger, uint32_t place)
{
    if (place == LEDGER_NOWHERE)
        return;
    ledger->revision[place].incarnation = 0;
    ledger_settle();
}

uint32_t ledger_add_load(struct ledger_session *session, uint64_t tag, uint32_t chunk)
{
    for (uint32_t place = 0; place < LEDGER_LOADS; place++) {
        struct ledger_load *load = &session->load[place];
        if (load->valid)
            continue;
        load->tag = tag;
        load->chunk = chunk;
        ledger_settle();
        load->valid = 1;
        ledger_settle();
        return place;
    }
    return LEDGER_NOWHERE;
}

void ledger_remove_load(struct ledger_session *session, uint32_t place)
{
    if (place == LEDGER_NOWHERE)
        return;
    session->load[place].valid = 0;
    ledger_settle();
}
