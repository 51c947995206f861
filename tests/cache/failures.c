/* SPDX-License-Identifier: MIT */
/* Bad chunk files: an error that names the file, never a wrong byte, and another try once the
 * file has changed. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache/fixture.h"

#define BYTES (2 * FX_MIB + 100)

static const enum loader_engine engines[] = {LOADER_URING, LOADER_THREADS};
#define EACH_ENGINE(i) for (unsigned i = 0; i < 2; i++)

static void demand_fails(struct fx *fx, uint32_t chunk, int code, const char *because)
{
    struct fx_waiter waiter;
    fx_request(fx, chunk, CACHE_DEMAND, &waiter, 0);
    fx_await(fx, &waiter);
    cr_assert_eq(waiter.status, code, "%d: %s", waiter.status, waiter.message);
    cr_assert_not_null(strstr(waiter.message, because), "%s", waiter.message);
    cr_assert_not_null(strstr(waiter.message, fx->file[chunk].name), "%s", waiter.message);
    cr_assert_not(fx_resident(fx, chunk));
    struct cache_chunk_view view;
    cr_assert(cache_view(fx->cache, fx->file[chunk].id, &view));
    cr_assert_eq(view.last_error, code);
    cr_assert_eq(fx_stats(fx).resident_bytes, 0, "its range is free again");
}

/* Repairs the file, which then loads at once: a changed file is not held off. */
static void repair_and_load(struct fx *fx, uint32_t chunk)
{
    (void)remove(fx->file[chunk].path);
    fx_write_file(fx->file[chunk].path, fx->file[chunk].name, fx->file[chunk].bytes);
    cr_assert_eq(fx_demand(fx, chunk), 0);
    fx_check_bytes(fx, chunk);
    struct cache_chunk_view view;
    cr_assert(cache_view(fx->cache, fx->file[chunk].id, &view));
    cr_assert_eq(view.last_error, 0);
}

Test(cache_failures, a_truncated_file, .timeout = 60)
{
    EACH_ENGINE(e)
    {
        struct fx *fx = fx_create(8 * FX_MIB, 0, engines[e], POLICY_LRU);
        uint32_t chunk = fx_add(fx, "truncated", BYTES);
        cr_assert_eq(truncate(fx->file[chunk].path, BYTES - 50), 0);
        demand_fails(fx, chunk, SW_ELOAD, "manifest says");
        cr_assert_eq(fx_stats(fx).load_errors, 1);
        repair_and_load(fx, chunk);
        fx_destroy(fx);
    }
}

Test(cache_failures, a_file_of_zero_length, .timeout = 60)
{
    EACH_ENGINE(e)
    {
        struct fx *fx = fx_create(8 * FX_MIB, 0, engines[e], POLICY_LRU);
        uint32_t chunk = fx_add(fx, "empty", BYTES);
        cr_assert_eq(truncate(fx->file[chunk].path, 0), 0);
        demand_fails(fx, chunk, SW_ELOAD, "has 0 bytes");
        repair_and_load(fx, chunk);
        fx_destroy(fx);
    }
}

Test(cache_failures, a_longer_file, .timeout = 60)
{
    EACH_ENGINE(e)
    {
        struct fx *fx = fx_create(8 * FX_MIB, 0, engines[e], POLICY_LRU);
        uint32_t chunk = fx_add(fx, "longer", BYTES);
        cr_assert_eq(truncate(fx->file[chunk].path, BYTES + 1), 0);
        demand_fails(fx, chunk, SW_ELOAD, "manifest says");
        repair_and_load(fx, chunk);
        fx_destroy(fx);
    }
}

Test(cache_failures, a_flipped_bit, .timeout = 60)
{
    EACH_ENGINE(e)
    {
        struct fx *fx = fx_create(8 * FX_MIB, 0, engines[e], POLICY_LRU);
        uint32_t chunk = fx_add(fx, "flipped", BYTES);
        int fd = open(fx->file[chunk].path, O_WRONLY);
        uint8_t wrong = fx_byte("flipped", FX_MIB) ^ 1;
        cr_assert_eq(pwrite(fd, &wrong, 1, FX_MIB), 1);
        (void)close(fd);
        demand_fails(fx, chunk, SW_EDIGEST, "damaged");
        struct cache_stats stats = fx_stats(fx);
        cr_assert_eq(stats.digest_errors, 1);
        cr_assert_eq(stats.load_errors, 0);
        repair_and_load(fx, chunk);
        fx_destroy(fx);
    }
}

Test(cache_failures, a_vanished_file, .timeout = 60)
{
    struct fx *fx = fx_create(8 * FX_MIB, 0, LOADER_AUTO, POLICY_LRU);
    uint32_t chunk = fx_add(fx, "vanished", BYTES);
    cr_assert_eq(unlink(fx->file[chunk].path), 0);
    demand_fails(fx, chunk, SW_ELOAD, "No such file");
    repair_and_load(fx, chunk);
    fx_destroy(fx);
}

Test(cache_failures, a_directory_in_its_place, .timeout = 60)
{
    struct fx *fx = fx_create(8 * FX_MIB, 0, LOADER_AUTO, POLICY_LRU);
    uint32_t chunk = fx_add(fx, "directory", BYTES);
    cr_assert_eq(unlink(fx->file[chunk].path), 0);
    cr_assert_eq(mkdir(fx->file[chunk].path, 0700), 0);
    demand_fails(fx, chunk, SW_ELOAD, "not a regular file");
    repair_and_load(fx, chunk);
    fx_destroy(fx);
}

Test(cache_failures, a_fifo_in_its_place_does_not_hang_the_loop, .timeout = 60)
{
    struct fx *fx = fx_create(8 * FX_MIB, 0, LOADER_AUTO, POLICY_LRU);
    uint32_t chunk = fx_add(fx, "fifo", BYTES);
    cr_assert_eq(unlink(fx->file[chunk].path), 0);
    cr_assert_eq(mkfifo(fx->file[chunk].path, 0600), 0);
    demand_fails(fx, chunk, SW_ELOAD, "not a regular file");
    repair_and_load(fx, chunk);
    fx_destroy(fx);
}

Test(cache_failures, a_file_on_tmpfs_loads, .timeout = 60)
{
    EACH_ENGINE(e)
    {
        struct fx *fx = fx_create(8 * FX_MIB, 0, engines[e], POLICY_LRU);
        uint32_t chunk = fx_add(fx, "on_tmpfs", BYTES);
        char path[128];
        (void)snprintf(path, sizeof path, "/dev/shm/sw-cache-test-%d", (int)getpid());
        cr_assert_eq(unlink(fx->file[chunk].path), 0);
        fx_write_file(path, "on_tmpfs", BYTES);
        cr_assert_eq(symlink(path, fx->file[chunk].path), 0);
        int status = fx_demand(fx, chunk);
        (void)unlink(path);
        cr_assert_eq(status, 0);
        fx_check_bytes(fx, chunk);
        fx_destroy(fx);
    }
}

/* Requests for a bad file are answered from memory for a while, so that a client that keeps asking
 * does not keep the disk busy. */
Test(cache_failures, an_unchanged_file_is_not_read_again_at_once_but_later, .timeout = 60)
{
    struct fx *fx = fx_create(8 * FX_MIB, 0, LOADER_AUTO, POLICY_LRU);
    uint32_t chunk = fx_add(fx, "flipped", BYTES);
    int fd = open(fx->file[chunk].path, O_WRONLY);
    cr_assert_eq(pwrite(fd, "!", 1, 7), 1);
    (void)close(fd);
    demand_fails(fx, chunk, SW_EDIGEST, "damaged");
    for (int i = 0; i < 5; i++)
        demand_fails(fx, chunk, SW_EDIGEST, "damaged");
    cr_assert_eq(fx_stats(fx).digest_errors, 1, "read once");
    fx->now_ns += 1100000000;
    demand_fails(fx, chunk, SW_EDIGEST, "damaged");
    cr_assert_eq(fx_stats(fx).digest_errors, 2, "and once more after a second");
    fx_destroy(fx);
}

Test(cache_failures, every_waiter_is_answered, .timeout = 60)
{
    struct fx *fx = fx_create(8 * FX_MIB, 0, LOADER_AUTO, POLICY_LRU);
    uint32_t chunk = fx_add(fx, "flipped", BYTES);
    int fd = open(fx->file[chunk].path, O_WRONLY);
    cr_assert_eq(pwrite(fd, "!", 1, 7), 1);
    (void)close(fd);
    struct fx_waiter waiters[3];
    for (unsigned i = 0; i < 3; i++)
        fx_request(fx, chunk, (enum cache_priority)i, &waiters[i], i);
    for (unsigned i = 0; i < 3; i++) {
        fx_await(fx, &waiters[i]);
        cr_assert_eq(waiters[i].status, SW_EDIGEST);
    }
    cr_assert_eq(fx->file[chunk].opens, 1);
    fx_destroy(fx);
}

Test(cache_failures, evicts_nothing_for_a_file_that_cannot_be_read, .timeout = 60)
{
    struct fx *fx = fx_create(4 * FX_MIB, 0, LOADER_AUTO, POLICY_LRU);
    uint32_t good = fx_add(fx, "good", 3 * FX_MIB);
    uint32_t cut = fx_add(fx, "cut", 3 * FX_MIB);
    uint32_t missing = fx_add(fx, "missing", 3 * FX_MIB);
    cr_assert_eq(truncate(fx->file[cut].path, 5), 0);
    cr_assert_eq(unlink(fx->file[missing].path), 0);
    cr_assert_eq(fx_demand(fx, good), 0);
    cr_assert_eq(fx_demand(fx, cut), SW_ELOAD);
    cr_assert_eq(fx_demand(fx, missing), SW_ELOAD);
    cr_assert(fx_resident(fx, good));
    cr_assert_eq(fx_stats(fx).evictions, 0);
    fx_destroy(fx);
}

Test(cache_failures, an_impossible_size_is_refused, .timeout = 60)
{
    struct swi_error error;
    struct cache *cache = NULL;
    struct cache_options options = {.budget_bytes = 100, .max_bytes = 100};
    cr_assert_eq(cache_create(&options, &cache, &error), -EINVAL);
    options = (struct cache_options){.budget_bytes = 2 * FX_MIB, .max_bytes = FX_MIB};
    cr_assert_eq(cache_create(&options, &cache, &error), -EINVAL);
    cr_assert_null(cache);
}
