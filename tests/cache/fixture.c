/* SPDX-License-Identifier: MIT */
#include "cache/fixture.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- files ----------------------------------------------------------------------------------- */

static uint64_t name_seed(const char *name)
{
    uint64_t seed = 1469598103934665603u;
    for (; *name; name++)
        seed = (seed ^ (uint8_t)*name) * 1099511628211u;
    return seed;
}

static uint8_t seeded_byte(uint64_t seed, uint64_t at)
{
    uint64_t x = (at / 8 + seed) * 0x9e3779b97f4a7c15u;
    x ^= x >> 29;
    return (uint8_t)(x >> (8 * (at % 8)));
}

uint8_t fx_byte(const char *name, uint64_t at)
{
    return seeded_byte(name_seed(name), at);
}

static uint8_t *contents(const char *name, uint64_t bytes)
{
    uint8_t *data = malloc(bytes + 1);
    uint64_t seed = name_seed(name);
    for (uint64_t at = 0; at < bytes; at++)
        data[at] = seeded_byte(seed, at);
    return data;
}

static void write_all(const char *path, const uint8_t *data, uint64_t bytes)
{
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file, "%s: %s", path, strerror(errno));
    cr_assert_eq(fwrite(data, 1, bytes, file), bytes);
    cr_assert_eq(fclose(file), 0);
}

void fx_write_file(const char *path, const char *name, uint64_t bytes)
{
    uint8_t *data = contents(name, bytes);
    write_all(path, data, bytes);
    free(data);
}

static int open_source(void *context, uint32_t ordinal, struct swi_error *error)
{
    (void)ordinal;
    struct fx_file *file = context;
    file->opens++;
    if (file->on_open)
        file->on_open(file->on_open_context);
    int fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return swi_fail(error, SW_ELOAD, "cannot open %s: %s", file->path, strerror(errno));
    return fd;
}

/* ---- life ------------------------------------------------------------------------------------ */

struct fx *fx_create(uint64_t budget_bytes, uint64_t max_bytes, enum loader_engine engine,
                     enum policy_kind policy)
{
    struct fx *fx = calloc(1, sizeof *fx);
    cr_assert_not_null(fx);
    fx->ledger.fd = -1;
    strcpy(fx->directory, "/tmp/sw-cache-XXXXXX");
    cr_assert_not_null(mkdtemp(fx->directory));
    fx->now_ns = 1000000000;
    fx->incarnation = 77;
    fx->options = (struct cache_options){
        .budget_bytes = budget_bytes,
        .max_bytes = max_bytes ? max_bytes : budget_bytes,
        .policy = policy,
        .engine = engine,
        .session_bytes = UINT64_MAX,
    };
    struct swi_error error = {.code = 0};
    int result = cache_create(&fx->options, &fx->cache, &error);
    cr_assert_eq(result, 0, "%s", error.text);
    return fx;
}

struct fx *fx_create_kept(uint64_t budget_bytes)
{
    struct fx *fx = fx_create(budget_bytes, 0, LOADER_AUTO, POLICY_NEXT_USE);
    struct swi_error error = {.code = 0};
    cache_destroy(fx->cache);
    cr_assert_eq(
        ledger_create((budget_bytes + SWI_BLOCK_BYTES - 1) / SWI_BLOCK_BYTES * SWI_BLOCK_BYTES,
                      &fx->ledger, &error),
        0, "%s", error.text);
    fx->options.ledger = fx->ledger.ledger;
    cr_assert_eq(cache_create(&fx->options, &fx->cache, &error), 0, "%s", error.text);
    return fx;
}

static struct cache_chunk describe(const struct fx *fx, uint32_t number)
{
    const struct fx_file *file = &fx->file[number];
    return (struct cache_chunk){
        .model = "m",
        .name = file->name,
        .ordinal = number,
        .model_size = FX_CHUNKS_MAX,
        .incarnation = fx->incarnation,
        .bytes = file->bytes,
        .digest = file->digest,
        .source = {.open = open_source, .context = (void *)(uintptr_t)file},
    };
}

struct cache_adopted fx_succeed(struct fx *fx, bool clean,
                                void (*meanwhile)(struct fx *fx, struct swi_index *index))
{
    struct cache_adopted adopted;
    struct swi_error error = {.code = 0};
    int arena = dup(cache_own_arena_fd(fx->cache)), index = dup(cache_own_index_fd(fx->cache));
    cr_assert(arena >= 0 && index >= 0);
    cache_destroy(fx->cache);
    if (meanwhile) {
        struct swi_index *map =
            mmap(NULL, sizeof *map, PROT_READ | PROT_WRITE, MAP_SHARED, index, 0);
        cr_assert_neq(map, MAP_FAILED);
        meanwhile(fx, map);
        (void)munmap(map, sizeof *map);
    }
    cr_assert_eq(cache_adopt(&fx->options, arena, index, &fx->cache, &error), 0, "%s", error.text);
    for (uint32_t i = 0; i < fx->count; i++) {
        struct cache_chunk chunk = describe(fx, i);
        cr_assert_eq(cache_restore(fx->cache, fx->file[i].id, &chunk), 0);
    }
    for (uint32_t session = 0; session < SWI_SESSIONS; session++)
        if (fx->page[session])
            cache_attach_page(fx->cache, session, fx->page[session]);
    cr_assert_eq(cache_settle(fx->cache, clean, fx->now_ns, &adopted, &error), 0, "%s", error.text);
    return adopted;
}

static void remove_directory(const char *path)
{
    DIR *directory = opendir(path);
    cr_assert_not_null(directory);
    struct dirent *entry;
    while ((entry = readdir(directory)))
        if (entry->d_name[0] != '.')
            (void)unlinkat(dirfd(directory), entry->d_name, 0);
    (void)closedir(directory);
    cr_assert_eq(rmdir(path), 0, "%s: %s", path, strerror(errno));
}

void fx_destroy(struct fx *fx)
{
    for (uint32_t session = 0; session < SWI_SESSIONS; session++)
        if (fx->page[session])
            fx_detach(fx, session);
    cache_destroy(fx->cache);
    ledger_close(&fx->ledger);
    remove_directory(fx->directory);
    free(fx);
}

uint32_t fx_add(struct fx *fx, const char *name, uint64_t bytes)
{
    cr_assert_lt(fx->count, FX_CHUNKS_MAX);
    struct fx_file *file = &fx->file[fx->count];
    (void)snprintf(file->name, sizeof file->name, "%s", name);
    strcat(strcat(strcpy(file->path, fx->directory), "/"), name);
    file->bytes = bytes;
    uint8_t *data = contents(name, bytes);
    write_all(file->path, data, bytes);
    file->digest = swi_digest_of(data, bytes);
    free(data);
    struct cache_chunk chunk = describe(fx, fx->count);
    cr_assert_eq(cache_register(fx->cache, &chunk, &file->id), 0);
    return fx->count++;
}

/* ---- the loop -------------------------------------------------------------------------------- */

/* One turn. Returns false if there is nothing to do before time passes. */
static bool turn(struct fx *fx)
{
    if (cache_dispatch(fx->cache, fx->now_ns))
        return true;
    if (cache_timeout_ms(fx->cache, fx->now_ns) == 0)
        return true;
    struct pollfd poll_fd = {.fd = cache_poll_fd(fx->cache), .events = POLLIN};
    int wait_ms = fx_stats(fx).loading > 0 ? 20000 : 0;
    int ready = poll(&poll_fd, 1, wait_ms);
    cr_assert(wait_ms == 0 || ready == 1, "a read did not complete");
    return ready == 1;
}

void fx_settle(struct fx *fx)
{
    while (turn(fx))
        continue;
}

static void done(struct cache_waiter *waiter, int status, const char *message)
{
    struct fx_waiter *mine = (struct fx_waiter *)(void *)waiter;
    mine->done = true;
    mine->calls++;
    mine->status = status;
    (void)snprintf(mine->message, sizeof mine->message, "%s", message);
}

void fx_request(struct fx *fx, uint32_t number, enum cache_priority priority,
                struct fx_waiter *waiter, uint32_t session)
{
    *waiter = (struct fx_waiter){.waiter = {.done = done, .session = session}};
    cache_request(fx->cache, fx->file[number].id, priority, &waiter->waiter, fx->now_ns);
}

void fx_await(struct fx *fx, struct fx_waiter *waiter)
{
    while (!waiter->done) {
        bool busy = turn(fx);
        if (!busy && !waiter->done) {
            int wait_ms = cache_timeout_ms(fx->cache, fx->now_ns);
            cr_assert_geq(wait_ms, 0, "nothing to wait for, and the waiter was not answered");
            fx->now_ns += (uint64_t)wait_ms * 1000000;
        }
    }
    cr_assert_eq(waiter->calls, 1);
}

int fx_demand(struct fx *fx, uint32_t number)
{
    struct fx_waiter waiter;
    fx_request(fx, number, CACHE_DEMAND, &waiter, SWI_SESSIONS);
    fx_await(fx, &waiter);
    return waiter.status;
}

bool fx_resident(struct fx *fx, uint32_t number)
{
    return swi_entry_get(cache_index(fx->cache), fx->file[number].id).state == SWI_RESIDENT;
}

void fx_check_bytes(struct fx *fx, uint32_t number)
{
    const struct fx_file *file = &fx->file[number];
    struct swi_entry_value entry = swi_entry_get(cache_index(fx->cache), file->id);
    cr_assert_eq(entry.state, SWI_RESIDENT, "%s is not resident", file->name);
    cr_assert_eq(entry.bytes, file->bytes);
    uint64_t mapped = (file->bytes + 4095) / 4096 * 4096;
    uint8_t *seen =
        mmap(NULL, mapped, PROT_READ, MAP_SHARED, cache_arena_fd(fx->cache), (off_t)entry.offset);
    cr_assert_neq(seen, MAP_FAILED);
    uint8_t *expected = contents(file->name, file->bytes);
    cr_assert_arr_eq(seen, expected, file->bytes, "%s has wrong bytes", file->name);
    for (uint64_t at = file->bytes; at < mapped; at++)
        cr_assert_eq(seen[at], 0, "another chunk's bytes are left behind %s", file->name);
    free(expected);
    (void)munmap(seen, mapped);
}

struct cache_stats fx_stats(struct fx *fx)
{
    struct cache_stats stats;
    cache_get_stats(fx->cache, &stats);
    return stats;
}

/* ---- clients --------------------------------------------------------------------------------- */

struct swi_page *fx_attach(struct fx *fx, uint32_t session)
{
    struct swi_page *page =
        mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(page, MAP_FAILED);
    swi_page_init(page);
    fx->page[session] = page;
    cache_attach_page(fx->cache, session, page);
    return page;
}

void fx_detach(struct fx *fx, uint32_t session)
{
    cache_detach_page(fx->cache, session);
    (void)munmap(fx->page[session], sizeof *fx->page[session]);
    fx->page[session] = NULL;
}

uint32_t fx_pin(struct fx *fx, uint32_t session, uint32_t number)
{
    uint32_t hint = 0;
    int slot = swi_pin_claim(fx->page[session], fx->file[number].id, &hint);
    cr_assert_geq(slot, 0);
    swi_page_note_use(fx->page[session], cache_index(fx->cache), fx->file[number].id);
    return (uint32_t)slot;
}
