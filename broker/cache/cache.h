/* SPDX-License-Identifier: MIT */
/* The cache: which chunks are resident in the arena, which are being read, and who waits for them.
 *
 * It combines the pure parts (arena: placement; policy: eviction) with the segment (shared memory),
 * the loader (reading and verifying) and the lease protocol. It knows nothing about sockets, models
 * or directories: a chunk is an id, a length, a digest and a function that opens its file.
 *
 * All of it runs on one thread, the broker's loop, and never blocks.
 */
#ifndef SWB_CACHE_CACHE_H
#define SWB_CACHE_CACHE_H

#include <stdbool.h>
#include <sys/queue.h>

#include "core/digest.h"
#include "core/error.h"
#include "core/lease.h"
#include "loader/loader.h"
#include "policy/policy.h"
#include "stats/cache_stats.h"

struct cache;
struct cache_chunk;
struct ledger;

struct cache_options {
    uint64_t budget_bytes; /* --cache-size */
    uint64_t max_bytes;    /* the upper bound for resize; clients map this much address space */
    enum policy_kind policy;
    enum loader_engine engine;
    /* How many bytes the cursors of one session may keep resident (next-use); also its quota of
     * pinned bytes. 0: half of the current budget; UINT64_MAX: no bound. */
    uint64_t session_bytes;
    /* Called for each file that cannot be read or does not match its chunk's digest, and for
     * each chunk without a file that the remote could not supply. message may be NULL. NULL: not
     * called. */
    void (*failed)(void *context, const struct cache_chunk *chunk, int code, const char *message);
    void *context;
    /* Where the cache records what a successor needs; borrowed. Its huge[] covers max_bytes rounded
     * up to whole blocks. NULL: the memory ends with the process. */
    struct ledger *ledger;
};

/* -ENOSPC with a remedy if the budget can never fit. If other processes hold the memory only at the
 * moment, the cache starts smaller and grows as they return it. */
int cache_create(const struct cache_options *options, struct cache **ret, struct swi_error *error);
/* Why less memory than the budget is reserved; borrowed. NULL: nothing was refused. */
const char *cache_shortage(const struct cache *cache);
/* Why an adopted cache has a smaller budget than configured: a memory limit; borrowed. NULL: it has
 * its budget, or its arena is no larger. */
const char *cache_limited(const struct cache *cache);
/* Waits for every read under way before it releases the arena. */
void cache_destroy(struct cache *cache);

/* ---- taking over from a broker that has ended ------------------------------------------------ */

/* Maps the shared memory of an earlier broker after checking that its parts belong together;
 * options->ledger is its ledger. Follow it with cache_restore for each chunk that is still known,
 * cache_attach_page for each live session, and cache_settle, with nothing in between. SW_EVERSION:
 * the memory cannot be trusted; any other code says nothing about the memory. On success the cache
 * owns the descriptors (read-write). */
int cache_adopt(const struct cache_options *options, int arena_fd, int index_fd, struct cache **ret,
                struct swi_error *error);
/* cache_register for a chunk that already has this id. The caller has compared incarnation, length
 * and digest with the entry. */
int cache_restore(struct cache *cache, uint32_t id, const struct cache_chunk *chunk);

struct cache_adopted {
    uint32_t resident;    /* taken over */
    uint32_t withheld;    /* of these, not served until they are hashed */
    uint32_t cut_off;     /* reads that were under way when their broker ended */
    uint32_t dropped;     /* chunks that shared a block with one of these */
    uint32_t quarantined; /* parts of such blocks: unused, because a client holds a lease there */
};
/* Decides about everything in the arena. clean: the predecessor stopped after its last read had
 * completed; then hits continue at once, and all chunks are hashed in the background. Otherwise no
 * chunk is leased again before it is hashed. */
int cache_settle(struct cache *cache, bool clean, uint64_t now_ns, struct cache_adopted *ret,
                 struct swi_error *error);

/* The read-write descriptors, to be kept beyond this process; borrowed. */
int cache_own_arena_fd(const struct cache *cache);
int cache_own_index_fd(const struct cache *cache);
/* NULL if there is none. */
struct ledger *cache_ledger(const struct cache *cache);

/* Read-only descriptors for clients; borrowed. */
int cache_arena_fd(const struct cache *cache);
int cache_index_fd(const struct cache *cache);
struct swi_index *cache_index(struct cache *cache);
uint64_t cache_max_bytes(const struct cache *cache);
uint64_t cache_budget(const struct cache *cache); /* at present */

/* Readable when cache_dispatch has work. */
int cache_poll_fd(const struct cache *cache);
/* Does a bounded amount of work: hashes at most 1 MiB, reserves a few blocks. Returns true if it
 * should be called again without waiting for cache_poll_fd. now_ns: CLOCK_MONOTONIC. */
bool cache_dispatch(struct cache *cache, uint64_t now_ns);
/* Milliseconds until cache_dispatch must run for a timer (retry of a full arena, deadline, tick);
 * -1: none. */
int cache_timeout_ms(const struct cache *cache, uint64_t now_ns);

/* ---- sessions -------------------------------------------------------------------------------- */

/* Stops eviction for good. Call it before the sessions are detached whose pins the next broker will
 * count. */
void cache_leave(struct cache *cache);
/* Counts the pins in page from now on. The page must stay mapped until detach. */
void cache_attach_page(struct cache *cache, uint32_t session, const struct swi_page *page);
void cache_detach_page(struct cache *cache, uint32_t session);

/* ---- chunks ---------------------------------------------------------------------------------- */

struct cache_source {
    /* NULL: the chunk has no file and comes from the remote alone. Opens the chunk's file for
     * reading: returns a descriptor that the cache closes, or -errno / SW_E… with a message.
     * Called for each attempt to load. Opens with O_NONBLOCK, so that a FIFO in the place of a
     * chunk cannot block the loop. */
    int (*open)(void *context, uint32_t ordinal, struct swi_error *error);
    void *context;
};

struct cache_chunk {
    const char *model;   /* for messages, stats and clear; borrowed until unregister */
    const char *name;    /* component */
    uint32_t ordinal;    /* position in its model's forward pass */
    uint32_t model_size; /* the number of components of that model */
    uint64_t incarnation;
    uint64_t bytes;
    struct swi_digest digest;
    struct cache_source source;
};

/* Assigns the chunk an id of the index. SW_EQUOTA when all SWI_CHUNKS ids are taken; -EINVAL if
 * bytes or incarnation is 0, or if the ordinal is beyond model_size or taken in this incarnation;
 * -ENOMEM. */
int cache_register(struct cache *cache, const struct cache_chunk *chunk, uint32_t *ret_id);
/* The chunk's model is gone: waiters receive SW_ESTALE; the range and the id are freed as soon
 * as no pin and no read holds them. */
void cache_unregister(struct cache *cache, uint32_t id);

/* ---- requests -------------------------------------------------------------------------------- */

enum cache_priority { CACHE_DEMAND = 0, CACHE_WARM = 1, CACHE_PREFETCH = 2 };

struct cache_waiter {
    /* status 0: the chunk is resident. Otherwise a negative code and a message. Called once, from
     * cache_dispatch, or from cache_request if the answer is known at once; after that the waiter
     * belongs to the caller again. */
    void (*done)(struct cache_waiter *waiter, int status, const char *message);
    uint32_t session;     /* that asks; SWI_SESSIONS: an operator */
    uint32_t id;          /* set by cache_request */
    uint64_t deadline_ns; /* set by cache_request: bounds the wait for room in a pinned arena */
    TAILQ_ENTRY(cache_waiter) link;
};

/* Demand, warm-up and prefetch of one chunk share one read. waiter may be NULL for a prefetch. */
void cache_request(struct cache *cache, uint32_t id, enum cache_priority priority,
                   struct cache_waiter *waiter, uint64_t now_ns);
/* The waiter is not called any more. The read continues; a queued warm-up without other waiters is
 * dropped. */
void cache_cancel(struct cache *cache, struct cache_waiter *waiter);

/* ---- the remote ------------------------------------------------------------------------------ */

enum cache_remote_state {
    CACHE_REMOTE_READY,
    CACHE_REMOTE_SOON, /* perhaps in a moment: a chunk without a file waits for it */
    CACHE_REMOTE_DOWN,
};

/* A second origin of chunks, besides their files, addressed by digest: the Redis tier. Its loads go
 * through the loader, which verifies them like any other. If one origin fails, the cache tries the
 * other one, while the chunk stays in the state of loading:
 *
 *     first:                  remote ──miss, failure──▶ file ──failure──▶ waiters are told
 *     otherwise:              file ──failure──▶ remote ──miss, failure──▶ waiters are told
 *     a chunk without file:   remote ──miss──▶ waiters are told
 *                                    ──unreachable──▶ tried again until the waiters' deadline
 *
 * All functions are called on the loop's thread, from cache_dispatch and cache_unregister. */
struct cache_remote {
    void *context;
    bool first; /* tried before the chunk's file, instead of after it */
    /* why: filled unless the remote is ready. */
    enum cache_remote_state (*state)(void *context, struct swi_error *why);
    /* Supplies the load's bytes from now on (loader_want, loader_brought …). */
    void (*fetch)(void *context, struct load *load);
    /* Returns what it still wants of the load, which is about to end. */
    void (*cancel)(void *context, struct load *load);
    /* The load has ended with load->status. Returns true if it failed only because the remote was
     * unreachable. */
    bool (*over)(void *context, struct load *load);
    /* Called in every dispatch while such loads run, after the loader's turn. Returns true if it
     * ended some of them or supplied bytes, which the loader should see at once. */
    bool (*turn)(void *context);
    /* A chunk was read from its file and became resident. wrong: the remote's copy does not match
     * the digest. */
    void (*was_read)(void *context, uint32_t id, const struct cache_chunk *chunk, bool wrong);
};
/* Copied. NULL: removes the remote, which is not called after this. */
void cache_set_remote(struct cache *cache, const struct cache_remote *remote);

/* A resident chunk's bytes, valid until the next call; NULL if it is not resident, or if the id
 * belongs to another chunk by now. */
const uint8_t *cache_peek(const struct cache *cache, uint32_t id, struct swi_digest digest);

/* Reads a chunk's file into the caller's memory instead of the arena, behind every other load.
 * The caller has set target, done and context; done is called as for any load, but not if this
 * fails. */
int cache_read_apart(struct cache *cache, uint32_t id, struct load *load, struct swi_error *error);
/* Its done is called soon. */
void cache_cancel_apart(struct cache *cache, struct load *load);

/* ---- control --------------------------------------------------------------------------------- */

struct cache_cleared {
    uint32_t chunks; /* evicted */
    uint64_t bytes;
    uint32_t pinned_chunks; /* left, because they are pinned or held */
    uint64_t pinned_bytes;
    uint32_t held_chunks; /* of those, the held ones */
};
/* Evicts resident chunks that are not pinned; model and component NULL mean all. */
struct cache_cleared cache_clear(struct cache *cache, const char *model, const char *component);

/* Held chunks (pinned by the operator) do not leave, as if a client pinned them. A lowered budget
 * evicts those beyond it all the same, and the holder loads them again. A hold loads nothing. */
void cache_hold(struct cache *cache, uint32_t id, bool held);

/* Changes the budget. Shrinking evicts and returns the tail to the system; SW_EARENAFULL if pins
 * keep it from reaching the goal (the budget is the goal, and the tail follows as pins go). -EINVAL
 * beyond max_bytes. */
int cache_resize(struct cache *cache, uint64_t budget_bytes, struct swi_error *error);

/* From the next eviction on. */
void cache_set_policy(struct cache *cache, enum policy_kind policy);
/* As cache_options.session_bytes. */
void cache_set_session_bytes(struct cache *cache, uint64_t bytes);

/* ---- hashing resident chunks again ----------------------------------------------------------- */

enum cache_rehash_state {
    CACHE_REHASH_UNDER_WAY,
    CACHE_REHASH_MATCHES,
    CACHE_REHASH_DAMAGED, /* still resident: see cache_withdraw */
    CACHE_REHASH_LEFT,    /* the chunk left the arena first */
};

struct cache_rehash {
    enum cache_rehash_state state;
    uint32_t id;
    uint64_t hashed; /* bytes so far */
    TAILQ_ENTRY(cache_rehash) link;
};

/* Hashes a resident chunk in place during the next dispatches, and compares it with its digest. The
 * request stays where it is until its state says that it is over, or until it is cancelled. */
void cache_rehash_start(struct cache *cache, uint32_t id, struct cache_rehash *request);
/* Does nothing once it is over. */
void cache_rehash_cancel(struct cache *cache, struct cache_rehash *request);

/* The bytes of a resident chunk are damaged: evicts it, even if it is held, and counts a digest
 * error. False, with nothing done, while a client pins it. */
bool cache_withdraw(struct cache *cache, uint32_t id);

/* ---- statistics ------------------------------------------------------------------------------ */

void cache_get_stats(struct cache *cache, struct cache_stats *ret);
/* cache_stats.unverified alone, at no cost. */
uint64_t cache_unverified(const struct cache *cache);

struct cache_chunk_view {
    const struct cache_chunk *chunk; /* borrowed */
    struct swi_entry_value entry;
    uint64_t uses;
    uint64_t requests; /* of these, requests to the broker: misses */
    uint64_t hits;     /* leases granted without asking the broker */
    uint32_t pins;     /* of clients */
    bool held;
    bool queued;
    uint32_t last_use_tick;
    uint64_t last_use_ns; /* at the resolution of ticks; 0: never used */
    double next_use_ns;   /* from now, as the policy expects it; infinite: no use expected */
    uint32_t next_use_steps;
    int last_error; /* of the last load; 0: none */
};
/* Call it before a series of cache_view that needs next_use_ns: merges uses and looks ahead. */
void cache_look_ahead(struct cache *cache, uint64_t now_ns);
/* False if the id is not registered. */
bool cache_view(struct cache *cache, uint32_t id, struct cache_chunk_view *ret);

#endif
