/* SPDX-License-Identifier: MIT */
/* A cache that takes over from another one: what stays, what leaves, what is quarantined. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache/fixture.h"
#include "memory/cgroup.h"
#include "support/support.h"

TestSuite(cache_adopt, .timeout = 60);

#define KIB UINT64_C(1024)

static enum swi_state state_of(struct fx *fx, uint32_t number)
{
    return swi_entry_get(cache_index(fx->cache), fx->file[number].id).state;
}

static uint64_t offset_of(struct fx *fx, uint32_t number)
{
    return swi_entry_get(cache_index(fx->cache), fx->file[number].id).offset;
}

static uint64_t generation_of(struct fx *fx, uint32_t number)
{
    return swi_entry_get(cache_index(fx->cache), fx->file[number].id).generation;
}

/* Runs the cache until everything is hashed. */
static void hash_all(struct fx *fx)
{
    for (int i = 0; i < 10000 && fx_stats(fx).unverified > 0; i++) {
        fx_settle(fx);
        fx->now_ns += 10000000;
    }
    cr_assert_eq(fx_stats(fx).unverified, 0);
}

Test(cache_adopt, after_a_clean_stop_hits_continue_and_hashing_follows)
{
    struct fx *fx = fx_create_kept(8 * FX_MIB);
    uint32_t a = fx_add(fx, "a", 700 * KIB), b = fx_add(fx, "b", 1500 * KIB + 5);
    uint32_t c = fx_add(fx, "c", 3000 * KIB);
    cr_assert_eq(fx_demand(fx, a), 0);
    cr_assert_eq(fx_demand(fx, b), 0);
    uint64_t generation = generation_of(fx, a);
    struct cache_adopted adopted = fx_succeed(fx, true, NULL);
    cr_assert_eq(adopted.resident, 2);
    cr_assert_eq(adopted.withheld, 0);
    cr_assert(fx_resident(fx, a) && fx_resident(fx, b));
    cr_assert_eq(generation_of(fx, a), generation);
    cr_assert_eq(fx_demand(fx, c), 0, "it loads beside them");
    hash_all(fx);
    cr_assert_eq(fx_stats(fx).verified, 2);
    cr_assert_eq(fx_stats(fx).resident_bytes, 700 * KIB + 1500 * KIB + 5 + 3000 * KIB);
    fx_check_bytes(fx, a);
    fx_check_bytes(fx, b);
    fx_check_bytes(fx, c);
    fx_destroy(fx);
}

Test(cache_adopt, after_a_crash_no_chunk_is_served_before_it_is_hashed)
{
    struct fx *fx = fx_create_kept(8 * FX_MIB);
    uint32_t a = fx_add(fx, "a", 700 * KIB), b = fx_add(fx, "b", 1500 * KIB);
    cr_assert_eq(fx_demand(fx, a), 0);
    cr_assert_eq(fx_demand(fx, b), 0);
    struct cache_adopted adopted = fx_succeed(fx, false, NULL);
    cr_assert_eq(adopted.withheld, 2);
    cr_assert_eq(state_of(fx, a), SWI_EVICTING);
    cr_assert_eq(state_of(fx, b), SWI_EVICTING);
    cr_assert_eq(fx_demand(fx, b), 0);
    cr_assert(fx_resident(fx, b));
    cr_assert_eq(fx_stats(fx).loads, 0, "it was hashed, not read");
    hash_all(fx);
    cr_assert(fx_resident(fx, a));
    fx_check_bytes(fx, a);
    fx_destroy(fx);
}

Test(cache_adopt, a_crash_during_hashing_changes_nothing)
{
    struct fx *fx = fx_create_kept(8 * FX_MIB);
    uint32_t a = fx_add(fx, "a", 700 * KIB), b = fx_add(fx, "b", 1500 * KIB);
    cr_assert_eq(fx_demand(fx, a), 0);
    cr_assert_eq(fx_demand(fx, b), 0);
    (void)fx_succeed(fx, false, NULL);
    /* a clean stop before everything was hashed: withheld chunks stay withheld */
    struct cache_adopted adopted = fx_succeed(fx, true, NULL);
    cr_assert_eq(adopted.withheld, 2);
    cr_assert_eq(fx_demand(fx, a), 0);
    cr_assert_eq(fx_demand(fx, b), 0);
    fx_check_bytes(fx, a);
    fx_destroy(fx);
}

Test(cache_adopt, prefetches_do_not_restart_the_hashing)
{
    struct fx *fx = fx_create_kept(16 * FX_MIB);
    uint32_t a = fx_add(fx, "a", 5 * FX_MIB), b = fx_add(fx, "b", 5 * FX_MIB);
    cr_assert_eq(fx_demand(fx, a), 0);
    cr_assert_eq(fx_demand(fx, b), 0);
    (void)fx_succeed(fx, false, NULL);
    for (int i = 0; i < 100; i++) {
        cache_request(fx->cache, fx->file[a].id, CACHE_PREFETCH, NULL, fx->now_ns);
        cache_request(fx->cache, fx->file[b].id, CACHE_PREFETCH, NULL, fx->now_ns);
        (void)cache_dispatch(fx->cache, fx->now_ns);
    }
    cr_assert_eq(fx_stats(fx).unverified, 0);
    cr_assert(fx_resident(fx, a) && fx_resident(fx, b));
    fx_destroy(fx);
}

static void clear_withheld(struct fx *fx, uint32_t number)
{
    struct fx_waiter waiter;
    fx_request(fx, number, CACHE_DEMAND, &waiter, SWI_SESSIONS);
    cr_assert_not(waiter.done);
    (void)cache_clear(fx->cache, NULL, NULL);
    fx_await(fx, &waiter);
    cr_assert_eq(waiter.status, 0);
}

Test(cache_adopt, a_withheld_chunk_can_leave_while_a_waiter_wants_it)
{
    struct fx *fx = fx_create_kept(8 * FX_MIB);
    uint32_t a = fx_add(fx, "a", 700 * KIB), b = fx_add(fx, "b", 1500 * KIB);
    cr_assert_eq(fx_demand(fx, a), 0);
    cr_assert_eq(fx_demand(fx, b), 0);
    (void)fx_succeed(fx, false, NULL);
    clear_withheld(fx, a);
    cr_assert_eq(fx_stats(fx).loads, 1);
    fx_check_bytes(fx, a);
    cr_assert_eq(fx_stats(fx).unverified, 0);
    fx_destroy(fx);
}

Test(cache_adopt, an_unregistered_withheld_chunk_leaves)
{
    struct fx *fx = fx_create_kept(8 * FX_MIB);
    uint32_t a = fx_add(fx, "a", 700 * KIB);
    cr_assert_eq(fx_demand(fx, a), 0);
    (void)fx_attach(fx, 3);
    (void)fx_pin(fx, 3, a);
    (void)fx_succeed(fx, false, NULL);
    cache_unregister(fx->cache, fx->file[a].id);
    cr_assert_neq(state_of(fx, a), SWI_ABSENT, "somebody holds it");
    hash_all(fx);
    fx_detach(fx, 3);
    fx->now_ns += 100000000;
    fx_settle(fx);
    cr_assert_eq(state_of(fx, a), SWI_ABSENT);
    cr_assert_eq(swi_entry_get(cache_index(fx->cache), fx->file[a].id).incarnation, 0);
    cr_assert_eq(fx_stats(fx).resident_bytes, 0);
    fx_destroy(fx);
}

/* A model that is unregistered while its broker stops: the clients that the successor takes over
 * keep their pins, although this broker no longer counts them. */
Test(cache_adopt, pinned_chunks_survive_the_end_of_their_model_during_a_stop)
{
    struct fx *fx = fx_create_kept(8 * FX_MIB);
    uint32_t a = fx_add(fx, "a", 700 * KIB);
    cr_assert_eq(fx_demand(fx, a), 0);
    (void)fx_attach(fx, 3);
    (void)fx_pin(fx, 3, a);
    uint64_t generation = generation_of(fx, a);
    cache_leave(fx->cache);
    cache_detach_page(fx->cache, 3);
    cache_unregister(fx->cache, fx->file[a].id);
    cr_assert_eq(state_of(fx, a), SWI_RESIDENT, "it was taken from who holds it");
    cr_assert_eq(generation_of(fx, a), generation);
    cache_attach_page(fx->cache, 3, fx->page[3]);
    fx_destroy(fx);
}

/* ---- cut-off reads --------------------------------------------------------------------------- */

/* "cut" was being read into the rest of the block after a, and beyond. */
static uint32_t cut, before, behind;
static uint64_t cut_from;

static void leave_it_loading(struct fx *fx, struct swi_index *index)
{
    swi_entry_begin_load(index, fx->file[cut].id, cut_from);
}

/* a | cut … | b, with a and b in the blocks where cut begins and ends. */
static struct fx *open_cut(void)
{
    struct fx *fx = fx_create_kept(16 * FX_MIB);
    before = fx_add(fx, "a", 1 * FX_MIB);
    uint32_t place = fx_add(fx, "place", 4608 * KIB);
    behind = fx_add(fx, "b", 1 * FX_MIB);
    cut = fx_add(fx, "cut", 4608 * KIB);
    cr_assert_eq(fx_demand(fx, before), 0);
    cr_assert_eq(fx_demand(fx, place), 0);
    cr_assert_eq(fx_demand(fx, behind), 0);
    cut_from = offset_of(fx, place);
    cr_assert_eq(offset_of(fx, before), 0);
    cr_assert_eq(cut_from, 1 * FX_MIB);
    cr_assert_eq(offset_of(fx, behind), 5632 * KIB);
    cr_assert_eq(cache_clear(fx->cache, "m", "place").chunks, 1);
    return fx;
}

/* Writes where a late read would. */
static void write_late(struct fx *fx, uint64_t offset)
{
    uint8_t *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED,
                         cache_own_arena_fd(fx->cache), (off_t)offset);
    cr_assert_neq(page, MAP_FAILED);
    memset(page, 0xee, 4096);
    (void)munmap(page, 4096);
}

Test(cache_adopt, blocks_of_a_cut_off_read_are_renewed_whole)
{
    struct fx *fx = open_cut();
    struct cache_adopted adopted = fx_succeed(fx, true, leave_it_loading);
    cr_assert_eq(adopted.cut_off, 1);
    cr_assert_eq(adopted.dropped, 2);
    cr_assert_eq(adopted.quarantined, 0);
    cr_assert_eq(state_of(fx, cut), SWI_ABSENT);
    cr_assert_eq(state_of(fx, before), SWI_ABSENT);
    cr_assert_eq(fx_demand(fx, cut), 0);
    cr_assert_eq(fx_demand(fx, before), 0);
    cr_assert_eq(fx_demand(fx, behind), 0);
    fx_check_bytes(fx, cut);
    fx_check_bytes(fx, before);
    fx_destroy(fx);
}

Test(cache_adopt, a_block_with_a_lease_is_quarantined)
{
    struct fx *fx = open_cut();
    (void)fx_attach(fx, 0);
    uint32_t slot = fx_pin(fx, 0, before);
    uint64_t generation = generation_of(fx, before);
    struct cache_adopted adopted = fx_succeed(fx, false, leave_it_loading);
    cr_assert_eq(adopted.quarantined, 1);
    cr_assert_eq(adopted.dropped, 1, "the other end is renewed");
    cr_assert_eq(generation_of(fx, before), generation);
    hash_all(fx);
    cr_assert(fx_resident(fx, before));
    swi_pin_drop(fx->page[0], slot);
    /* nothing is placed in [1 MiB, 2 MiB), now or after the next takeover */
    for (int life = 0; life < 2; life++) {
        cr_assert_eq(fx_demand(fx, cut), 0);
        cr_assert_eq(fx_demand(fx, behind), 0);
        uint32_t more = fx_add(fx, life ? "d" : "c", 900 * KIB);
        cr_assert_eq(fx_demand(fx, more), 0);
        for (uint32_t i = 0; i < fx->count; i++) {
            if (state_of(fx, i) != SWI_RESIDENT)
                continue;
            uint64_t from = offset_of(fx, i), to = from + fx->file[i].bytes;
            cr_assert(to <= 1 * FX_MIB || from >= 2 * FX_MIB, "%s lies at %zu KiB",
                      fx->file[i].name, (size_t)(from >> 10));
        }
        write_late(fx, 1 * FX_MIB);
        fx_check_bytes(fx, before);
        fx_check_bytes(fx, cut);
        cr_assert_eq(fx_succeed(fx, true, NULL).quarantined, 0);
    }
    cr_assert_eq(cache_resize(fx->cache, 1 * FX_MIB, &(struct swi_error){.code = 0}), SW_EARENAFULL,
                 "its place is beyond that");
    cr_assert_eq(fx->ledger.ledger->header.ranges, 1);
    fx_destroy(fx);
}

static void die_between_two_stores(struct fx *fx, struct swi_index *index)
{
    /* the word says loading, but another chunk lies at the offset by now */
    swi_entry_begin_load(index, fx->file[cut].id, swi_entry_get(index, fx->file[before].id).offset);
}

Test(cache_adopt, a_read_that_had_not_begun_costs_nothing)
{
    struct fx *fx = open_cut();
    struct cache_adopted adopted = fx_succeed(fx, false, die_between_two_stores);
    cr_assert_eq(adopted.cut_off, 1);
    cr_assert_eq(adopted.dropped, 0);
    cr_assert_eq(adopted.resident, 2);
    hash_all(fx);
    fx_check_bytes(fx, before);
    cr_assert_eq(fx_demand(fx, cut), 0);
    fx_destroy(fx);
}

Test(cache_adopt, a_full_ledger_costs_the_lease)
{
    struct fx *fx = open_cut();
    (void)fx_attach(fx, 0);
    (void)fx_pin(fx, 0, before);
    uint64_t generation = generation_of(fx, before);
    for (uint32_t i = 0; i < LEDGER_RANGES; i++)
        cr_assert(ledger_add_range(fx->ledger.ledger, 15 * FX_MIB, 0));
    struct cache_adopted adopted = fx_succeed(fx, false, leave_it_loading);
    cr_assert_eq(adopted.quarantined, 0);
    cr_assert_eq(adopted.dropped, 2);
    cr_assert_gt(generation_of(fx, before), generation, "who holds it learns that");
    fx_destroy(fx);
}

/* ---- no memory for freed blocks -------------------------------------------------------------- */

static void fill_dev_shm(void)
{
    static const char bytes[65536];
    int fd = open("/dev/shm/others", O_WRONLY | O_CREAT, 0600);
    cr_assert_geq(fd, 0);
    while (write(fd, bytes, sizeof bytes) > 0)
        continue;
    cr_assert_eq(errno, ENOSPC);
    close(fd);
}

/* Removes the memory of the arena's second block, and takes all that is left in /dev/shm. */
static void take_second_block(struct fx *fx)
{
    cr_assert_eq(fallocate(cache_own_arena_fd(fx->cache),
                           FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2 * FX_MIB, 2 * FX_MIB),
                 0);
    fill_dev_shm();
}

static void adopts_around_the_hole(bool noted)
{
    sup_private_dev_shm("8M");
    struct fx *fx = fx_create_kept(8 * FX_MIB);
    uint32_t a = fx_add(fx, "a", 1900 * KIB);
    cr_assert_eq(fx_demand(fx, a), 0);
    fx_settle(fx);
    cr_assert_eq(fx->ledger.ledger->header.reserved_bytes, 8 * FX_MIB);
    take_second_block(fx);
    if (noted)
        cr_assert(ledger_add_range(fx->ledger.ledger, 2 * FX_MIB, 2 * FX_MIB));
    for (int life = 0; life < 3; life++) {
        struct cache_adopted adopted = fx_succeed(fx, life == 0, NULL);
        cr_assert_geq(adopted.resident, 1);
        cr_assert_eq(fx->ledger.ledger->header.ranges, 1);
        hash_all(fx);
        fx_check_bytes(fx, a);
    }
    uint32_t b = fx_add(fx, "b", 1900 * KIB), c = fx_add(fx, "c", 1900 * KIB);
    cr_assert_eq(fx_demand(fx, b), 0);
    cr_assert_eq(fx_demand(fx, c), 0);
    cr_assert_geq(offset_of(fx, b), 4 * FX_MIB);
    cr_assert_geq(offset_of(fx, c), 4 * FX_MIB);
    fx_check_bytes(fx, b);
    fx_check_bytes(fx, c);
    fx_destroy(fx);
}

Test(cache_adopt, a_quarantine_without_memory_costs_nothing_else)
{
    adopts_around_the_hole(true);
}

Test(cache_adopt, a_block_that_cannot_be_backed_again_is_quarantined)
{
    adopts_around_the_hole(false);
}

/* ---- a memory limit -------------------------------------------------------------------------- */

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file, "%s: %s", path, strerror(errno));
    cr_assert_geq(fputs(text, file), 0);
    cr_assert_eq(fclose(file), 0);
}

/* Limits every cgroup that contains only this process, of either version. */
static void limit_memory(const char *bytes)
{
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("tmpfs", "/sys/fs/cgroup", "tmpfs", 0, "size=1M") < 0)
        cr_skip_test("cannot mount cgroups of its own here: %s", strerror(errno));
    cr_assert_eq(mkdir("/sys/fs/cgroup/memory", 0700), 0);
    write_text("/sys/fs/cgroup/memory.max", bytes);
    write_text("/sys/fs/cgroup/memory/memory.limit_in_bytes", bytes);
    if (cgroup_check_memory(UINT64_C(1) << 59, NULL) == 0)
        cr_skip_test("this process is in no cgroup");
}

/* The cache began under a larger limit, or was resized since. */
Test(cache_adopt, grows_no_further_than_a_memory_limit)
{
    struct swi_error error = {.code = 0};
    struct fx *fx = fx_create_kept(16 * FX_MIB);
    uint32_t a = fx_add(fx, "a", 1900 * KIB), b = fx_add(fx, "b", 7 * FX_MIB);
    cr_assert_eq(fx_demand(fx, a), 0);
    cr_assert_eq(cache_resize(fx->cache, 8 * FX_MIB, &error), 0, "%s", error.text);
    fx_settle(fx);
    cr_assert_null(cache_limited(fx->cache));
    limit_memory("79691776"); /* 12 MiB beside the headroom */
    (void)fx_succeed(fx, true, NULL);
    cr_assert_eq(cache_budget(fx->cache), 8 * FX_MIB);
    const char *why = cache_limited(fx->cache);
    cr_assert_not_null(why);
    cr_assert_not_null(strstr(why, "MemoryMax="), "%s", why);
    cr_assert(fx_resident(fx, a));
    cr_assert_eq(fx_demand(fx, b), 0, "within what is reserved it works as ever");
    fx_settle(fx);
    cr_assert_eq(fx_stats(fx).reserved_bytes, 8 * FX_MIB);
    /* memory that is reserved already is not requested again */
    fx->options.budget_bytes = 8 * FX_MIB;
    write_text("/sys/fs/cgroup/memory.max", "1048576");
    write_text("/sys/fs/cgroup/memory/memory.limit_in_bytes", "1048576");
    (void)fx_succeed(fx, true, NULL);
    cr_assert_null(cache_limited(fx->cache));
    cr_assert_eq(cache_budget(fx->cache), 8 * FX_MIB);
    fx_destroy(fx);
}

/* Memory that other processes hold at the moment comes back, for instance from clients of an
 * earlier arena; a limit stays. */
Test(cache_adopt, a_full_dev_shm_does_not_hide_a_memory_limit)
{
    sup_private_dev_shm("32M");
    limit_memory("79691776"); /* 12 MiB beside the headroom */
    fill_dev_shm();
    const struct cache_options options = {
        .budget_bytes = 16 * FX_MIB, .max_bytes = 16 * FX_MIB, .policy = POLICY_LRU};
    struct swi_error error = {.code = 0};
    struct cache *cache = NULL;
    cr_assert_eq(cache_create(&options, &cache, &error), -ENOMEM);
    cr_assert_not_null(strstr(error.text, "MemoryMax="), "%s", error.text);
    struct cache_options smaller = options;
    smaller.budget_bytes = 8 * FX_MIB;
    cr_assert_eq(cache_create(&smaller, &cache, &error), 0, "%s", error.text);
    cr_assert_not_null(cache_shortage(cache));
    cache_destroy(cache);
}

/* ---- invalid state --------------------------------------------------------------------------- */

static void refuses(struct fx *fx)
{
    struct swi_error error = {.code = 0};
    struct cache *cache;
    cr_assert_eq(cache_adopt(&fx->options, cache_own_arena_fd(fx->cache),
                             cache_own_index_fd(fx->cache), &cache, &error),
                 SW_EVERSION);
    cr_assert(error.text[0]);
    /* the first cache still owns the descriptors */
    cr_assert_geq(fcntl(cache_own_arena_fd(fx->cache), F_GETFD), 0);
    cr_assert_geq(fcntl(cache_own_index_fd(fx->cache), F_GETFD), 0);
}

Test(cache_adopt, refuses_parts_that_do_not_belong_together)
{
    struct fx *fx = fx_create_kept(8 * FX_MIB);
    uint32_t a = fx_add(fx, "a", 700 * KIB), b = fx_add(fx, "b", 1500 * KIB);
    cr_assert_eq(fx_demand(fx, a), 0);
    cr_assert_eq(fx_demand(fx, b), 0);
    struct ledger_header *header = &fx->ledger.ledger->header;
    struct ledger_header good = *header;
    struct swi_index *index = cache_index(fx->cache);
    header->instance++;
    refuses(fx);
    *header = good;
    header->reserved_bytes = 4096; /* chunks lie beyond it */
    refuses(fx);
    *header = good;
    fx->ledger.ledger->range[0] = (struct ledger_range){.from = 0, .bytes = 4096};
    header->ranges = 1; /* under a chunk */
    refuses(fx);
    *header = good;
    index->header.arena_bytes += SWI_BLOCK_BYTES;
    refuses(fx);
    index->header.arena_bytes -= SWI_BLOCK_BYTES;
    index->header.layout_hash++;
    refuses(fx);
    index->header.layout_hash--;
    struct swi_error error = {.code = 0};
    struct cache *cache;
    cr_assert_eq(cache_adopt(&fx->options, cache_own_index_fd(fx->cache),
                             cache_own_index_fd(fx->cache), &cache, &error),
                 SW_EVERSION);
    cr_assert_eq(cache_adopt(&fx->options, cache_own_arena_fd(fx->cache), cache_arena_fd(fx->cache),
                             &cache, &error),
                 SW_EVERSION);
    (void)fx_succeed(fx, true, NULL);
    fx_destroy(fx);
}

/* ---- many takeovers -------------------------------------------------------------------------- */

#define LIVES 80
#define FILES 40u

static uint64_t dice = 1;

static uint32_t roll(uint32_t below)
{
    dice = dice * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(dice >> 33) % below;
}

/* Marks some absent chunks as being read when the process died: in unused space, or not begun. */
static void leave_some_loading(struct fx *fx, struct swi_index *index)
{
    uint64_t end = fx->ledger.ledger->header.reserved_bytes;
    for (uint32_t i = 0; i < FILES; i++) {
        if (swi_entry_get(index, fx->file[i].id).state != SWI_ABSENT || roll(8) != 0)
            continue;
        uint64_t room = end - fx->file[i].bytes;
        swi_entry_begin_load(index, fx->file[i].id, roll((uint32_t)(room / 4096)) * 4096ull);
    }
    for (uint32_t i = 0; i < FILES; i++) /* an unfinished eviction */
        if (swi_entry_get(index, fx->file[i].id).state == SWI_RESIDENT && roll(10) == 0)
            swi_entry_begin_evict(index, fx->file[i].id);
}

static void check_all(struct fx *fx, uint32_t count)
{
    uint64_t resident = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (!fx_resident(fx, i))
            continue;
        fx_check_bytes(fx, i);
        resident += fx->file[i].bytes;
    }
    cr_assert_leq(resident, fx_stats(fx).resident_bytes);
}

static void live(struct fx *fx, uint32_t slots[static 3], bool held[static 3])
{
    struct fx_waiter waiters[8];
    struct swi_error error;
    for (uint32_t k = 0; k < 3; k++) {
        if (held[k])
            swi_pin_drop(fx->page[0], slots[k]);
        uint32_t number = roll(FILES);
        (void)fx_demand(fx, number);
        held[k] = fx_resident(fx, number);
        if (held[k])
            slots[k] = fx_pin(fx, 0, number);
    }
    if (roll(4) == 0)
        (void)cache_resize(fx->cache, (8 + roll(9)) * FX_MIB, &error);
    if (roll(8) == 0)
        (void)cache_clear(fx->cache, NULL, NULL);
    for (uint32_t i = 0; i < 8; i++) /* some are still under way at the end */
        fx_request(fx, roll(FILES), (enum cache_priority)roll(3), &waiters[i], 0);
    for (uint32_t i = roll(200); i > 0; i--)
        (void)cache_dispatch(fx->cache, fx->now_ns);
    fx->now_ns += roll(50) * UINT64_C(1000000);
    for (uint32_t i = 0; i < 8; i++)
        if (!waiters[i].done)
            cache_cancel(fx->cache, &waiters[i].waiter);
}

Test(cache_adopt, no_wrong_byte_is_served_over_many_takeovers)
{
    struct fx *fx = fx_create_kept(16 * FX_MIB);
    uint32_t slots[3];
    bool held[3] = {false};
    (void)fx_attach(fx, 0);
    for (uint32_t i = 0; i < FILES; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "f%u", i);
        (void)fx_add(fx, name, 4096 + roll(1800) * 1024 + roll(1000));
    }
    for (int life = 0; life < LIVES; life++) {
        live(fx, slots, held);
        bool clean = roll(2) == 0;
        (void)fx_succeed(fx, clean, clean ? NULL : leave_some_loading);
        check_all(fx, FILES);
        if (roll(3) == 0)
            hash_all(fx);
    }
    hash_all(fx);
    cr_assert_eq(fx_stats(fx).verify_errors, 0);
    check_all(fx, FILES);
    fx_destroy(fx);
}
