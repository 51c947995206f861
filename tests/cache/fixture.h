/* SPDX-License-Identifier: MIT */
/* The fixture of the cache's tests: a directory of chunk files, a cache over it, and a loop around
 * cache_dispatch.
 *
 * Time is simulated (fx->now_ns), so that tests of deadlines do not wait. The bytes of a chunk are
 * a function of its name, so that a test can check them without keeping them.
 */
#ifndef SWT_CACHE_FIXTURE_H
#define SWT_CACHE_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cache/cache.h"
#include "handover/ledger.h"

#define FX_CHUNKS_MAX 512
#define FX_MIB        (UINT64_C(1) << 20)

struct fx_file {
    char name[32];
    char path[128];
    uint64_t bytes;
    struct swi_digest digest;
    uint32_t id;
    unsigned opens;
    void (*on_open)(void *context); /* NULL: nothing; runs in the middle of the cache's work */
    void *on_open_context;
};

struct fx {
    char directory[64];
    struct cache *cache;
    struct cache_options options;
    struct ledger_file ledger; /* of fx_create_kept */
    struct fx_file file[FX_CHUNKS_MAX];
    uint32_t count;
    uint64_t now_ns;
    uint64_t incarnation;
    struct swi_page *page[SWI_SESSIONS];
};

struct fx_waiter {
    struct cache_waiter waiter; /* first: done gets its address */
    bool done;
    unsigned calls;
    int status;
    char message[600];
};

/* max_bytes 0: the same as the budget. */
struct fx *fx_create(uint64_t budget_bytes, uint64_t max_bytes, enum loader_engine engine,
                     enum policy_kind policy);
/* The same with a ledger, for a successor. */
struct fx *fx_create_kept(uint64_t budget_bytes);
/* Ends the cache and starts another one on its chunks, pages and memory. In between, `meanwhile`
 * may change the index to what a crash would have left. */
struct cache_adopted fx_succeed(struct fx *fx, bool clean,
                                void (*meanwhile)(struct fx *fx, struct swi_index *index));
/* Destroys everything and checks that nothing leaks. */
void fx_destroy(struct fx *fx);

/* Writes a chunk file and registers it: model "m", component NAME. Returns its number in the
 * fixture. */
uint32_t fx_add(struct fx *fx, const char *name, uint64_t bytes);
/* The byte that fx_add wrote at this place. */
uint8_t fx_byte(const char *name, uint64_t at);
void fx_write_file(const char *path, const char *name, uint64_t bytes);

/* Runs the loop until it would wait for time to pass. */
void fx_settle(struct fx *fx);
void fx_request(struct fx *fx, uint32_t number, enum cache_priority priority,
                struct fx_waiter *waiter, uint32_t session);
/* Runs the loop until the waiter is answered. */
void fx_await(struct fx *fx, struct fx_waiter *waiter);
/* Makes a demand and returns its answer. */
int fx_demand(struct fx *fx, uint32_t number);

bool fx_resident(struct fx *fx, uint32_t number);
/* Checks that the chunk is resident with the bytes that fx_add wrote, through the read-only
 * descriptor. */
void fx_check_bytes(struct fx *fx, uint32_t number);
struct cache_stats fx_stats(struct fx *fx);

/* Attaches a client's page. */
struct swi_page *fx_attach(struct fx *fx, uint32_t session);
void fx_detach(struct fx *fx, uint32_t session);
/* Pins a chunk through a session's page, as a client does; returns the slot. */
uint32_t fx_pin(struct fx *fx, uint32_t session, uint32_t number);

#endif
