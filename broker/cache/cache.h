/* SPDX-License-Identifier: MIT */
/* The cache: what is resident in the arena, what is being read into it, and who waits for that.
 *
 * It ties together the pure parts (arena: placement; policy: whom to evict), the segment (shared memory),
 * the loader (reading and verifying) and the lease protocol. It knows nothing of sockets, models or
 * directories: a chunk is an id, a length, a digest and somebody who can open its file.
 *
 * One thread, the broker's loop. Nothing here blocks.
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
    uint64_t max_bytes;    /* what resize may grow to; clients map this much address space */
    enum policy_kind policy;
    enum loader_engine engine;
    /* How many bytes the cursors of one session may keep from leaving (next-use); its quota of pinned
     * bytes. 0: half of the budget as it is at the time; UINT64_MAX: no bound. */
    uint64_t session_bytes;
    /* Told of each file that cannot be read or does not match its chunk's digest, and of chunks that
     * come from elsewhere and could not. message may be NULL. NULL: nobody is told. */
    void (*failed)(void *context, const struct cache_chunk *chunk, int code, const char *message);
    void *context;
    /* Where it notes what a successor needs; borrowed. Its huge[] is as long as max_bytes asks for,
     * rounded up to whole blocks. NULL: the memory goes with the process. */
    struct ledger *ledger;
};

/* -ENOSPC and what to do about it where the budget can never fit; where others have the memory just
 * now it begins smaller and grows as they give it back. */
int cache_create(const struct cache_options *options, struct cache **ret, struct swi_error *error);
/* Why less memory than the budget is reserved; borrowed. NULL: nothing was refused. */
const char *cache_shortage(const struct cache *cache);
/* Why a cache that was taken over has a smaller budget than it was to have: a memory limit; borrowed.
 * NULL: it has not, or its arena is that long only. */
const char *cache_limited(const struct cache *cache);
/* Reaps every read that is under way before it lets go of the arena. */
void cache_destroy(struct cache *cache);

/* ---- taking over from a broker that has ended -------------------------------------------------- */

/* Maps what it left, after checking that all of it belongs together; options->ledger is its ledger.
 * Then cache_restore for each chunk that is known still, cache_attach_page for each session that
 * lives, and cache_settle; nothing else in between. SW_EVERSION: it cannot be trusted;
 * anything else says nothing of it. The descriptors (read-write) are the cache's on success. */
int cache_adopt(const struct cache_options *options, int arena_fd, int index_fd, struct cache **ret,
                struct swi_error *error);
/* cache_register for a chunk that has this id already. The caller has compared incarnation, length
 * and digest with the entry. */
int cache_restore(struct cache *cache, uint32_t id, const struct cache_chunk *chunk);

struct cache_adopted {
    uint32_t resident;    /* taken over */
    uint32_t withheld;    /* of these, not served until they have been hashed */
    uint32_t cut_off;     /* reads that the end of their broker cut off */
    uint32_t dropped;     /* chunks that shared a block with one of these */
    uint32_t quarantined; /* parts of such blocks: unused, because somebody holds a lease there */
};
/* Decides about everything in the arena. clean: the predecessor stopped after its last read had
 * come back; then hits go on at once and all is hashed behind them. Otherwise nothing is leased anew
 * before it was hashed. */
int cache_settle(struct cache *cache, bool clean, uint64_t now_ns, struct cache_adopted *ret,
                 struct swi_error *error);

/* The read-write descriptors, for who keeps them beyond this process; borrowed. */
int cache_own_arena_fd(const struct cache *cache);
int cache_own_index_fd(const struct cache *cache);
/* NULL: there is none. */
struct ledger *cache_ledger(const struct cache *cache);

/* Read-only descriptors for clients; borrowed. */
int cache_arena_fd(const struct cache *cache);
int cache_index_fd(const struct cache *cache);
struct swi_index *cache_index(struct cache *cache);
uint64_t cache_max_bytes(const struct cache *cache);
uint64_t cache_budget(const struct cache *cache); /* as it is now */

/* Readable when cache_dispatch has something to do. */
int cache_poll_fd(const struct cache *cache);
/* Does a bounded amount of work (hashes at most 1 MiB, reserves a few blocks). Returns true when it wants to be
 * called again without waiting for cache_poll_fd. now_ns: CLOCK_MONOTONIC. */
bool cache_dispatch(struct cache *cache, uint64_t now_ns);
/* Milliseconds until cache_dispatch must run for a timer (retry of a full arena, deadline, tick); -1: none. */
int cache_timeout_ms(const struct cache *cache, uint64_t now_ns);

/* ---- sessions ---------------------------------------------------------------------------------- */

/* From now on nothing leaves the arena: sessions are about to be detached whose pins the next broker
 * will count. Before the end only. */
void cache_leave(struct cache *cache);
/* From now on the pins in page count. The page stays mapped until detach. */
void cache_attach_page(struct cache *cache, uint32_t session, const struct swi_page *page);
void cache_detach_page(struct cache *cache, uint32_t session);

/* ---- chunks ------------------------------------------------------------------------------------ */

struct cache_source {
    /* NULL: the chunk has no file here and comes from the remote alone. Opens the chunk's file for reading: a descriptor that the cache closes, or -errno / SW_E… with a message.
     * Called for each attempt to load. With O_NONBLOCK, so that a FIFO under a chunk's name cannot hang the loop. */
    int (*open)(void *context, uint32_t ordinal, struct swi_error *error);
    void *context;
};

struct cache_chunk {
    const char *model;   /* for messages, stats and clear; borrowed until unregister */
    const char *name;    /* component */
    uint32_t ordinal;    /* place in its model's forward pass */
    uint32_t model_size; /* how many components that model has */
    uint64_t incarnation;
    uint64_t bytes;
    struct swi_digest digest;
    struct cache_source source;
};

/* Gives a chunk an id of the index. SW_EQUOTA when all SWI_CHUNKS ids are taken; -EINVAL for no bytes, no
 * incarnation, an ordinal beyond model_size or one that this incarnation has already; -ENOMEM. */
int cache_register(struct cache *cache, const struct cache_chunk *chunk, uint32_t *ret_id);
/* The chunk's model is gone: waiters get SW_ESTALE; the range and the id are freed as soon as no pin and no read
 * holds them. */
void cache_unregister(struct cache *cache, uint32_t id);

/* ---- requests ---------------------------------------------------------------------------------- */

enum cache_priority { CACHE_DEMAND = 0, CACHE_WARM = 1, CACHE_PREFETCH = 2 };

struct cache_waiter {
    /* status 0: resident now. Otherwise a negative code and its sentence. Called once, from cache_dispatch (or
     * from cache_request itself when the answer is known at once); the waiter is the caller's again. */
    void (*done)(struct cache_waiter *waiter, int status, const char *message);
    uint32_t session; /* who asks; SWI_SESSIONS: nobody in particular (warm-up by the operator) */
    uint32_t id;      /* set by cache_request */
    uint64_t deadline_ns; /* set by cache_request: bounded wait for room in a pinned arena */
    TAILQ_ENTRY(cache_waiter) link;
};

/* Demand, warm-up and prefetch of one chunk share one read. waiter may be NULL for a prefetch. */
void cache_request(struct cache *cache, uint32_t id, enum cache_priority priority,
                   struct cache_waiter *waiter, uint64_t now_ns);
/* The waiter will not be called any more. The read goes on; a warm-up that is still queued and that
 * nobody else waits for is forgotten. */
void cache_cancel(struct cache *cache, struct cache_waiter *waiter);

/* ---- another place to load from ---------------------------------------------------------------- */

enum cache_remote_state {
    CACHE_REMOTE_READY,
    CACHE_REMOTE_SOON, /* perhaps in a moment: a chunk that has no file waits for it */
    CACHE_REMOTE_DOWN,
};

/* Where chunks may be had from beside their files, by their digests: the Redis tier. Such a load goes
 * through the loader as any other and is verified by it; what fails there is tried here, and the
 * other way round, without the chunk's leaving the state of loading:
 *
 *     first:                  remote ──miss, failure──▶ file ──failure──▶ waiters hear of it
 *     otherwise:              file ──failure──▶ remote ──miss, failure──▶ waiters hear of it
 *     a chunk without file:   remote ──miss──▶ waiters hear of it;
 *                                    ──unreachable──▶ tried again as long as the waiters' patience
 *
 * All of it is called on the loop's thread, from cache_dispatch and cache_unregister. */
struct cache_remote {
    void *context;
    bool first; /* asked before the chunk's file; otherwise only when that fails */
    /* why: filled unless it is ready. */
    enum cache_remote_state (*state)(void *context, struct swi_error *why);
    /* Brings the load's bytes from now on (loader_want, loader_brought …). elsewhere: they may be had
     * from the chunk's file instead, so that it need not go on for as long as it takes; if that
     * turns out to be of no use, the load comes once more, with elsewhere false. */
    void (*fetch)(void *context, struct load *load, bool elsewhere);
    /* Gives back what it still wants of the load, which is about to be over. */
    void (*cancel)(void *context, struct load *load);
    /* The load has ended with load->status. True: it failed only because the remote could not be
     * reached. */
    bool (*over)(void *context, struct load *load);
    /* In every dispatch while such loads run, after the loader's turn. True: it ended some of them
     * or brought something, which the loader is to see at once. */
    bool (*turn)(void *context);
    /* A chunk became resident that was read from its file. wrong: what the remote holds of it did
     * not hash to its digest. */
    void (*was_read)(void *context, uint32_t id, const struct cache_chunk *chunk, bool wrong);
};
/* Copied. NULL: none any more; of the old one nothing is called after this. */
void cache_set_remote(struct cache *cache, const struct cache_remote *remote);

/* A resident chunk's bytes, for as long as nothing else is called here; NULL when it is not resident,
 * or when the id is another chunk's by now. */
const uint8_t *cache_peek(const struct cache *cache, uint32_t id, struct swi_digest digest);

/* Reads a chunk's file into the caller's memory instead of the arena, behind every other load. The
 * caller has set target, done and context; done comes as from any load. On failure it does not. */
int cache_read_apart(struct cache *cache, uint32_t id, struct load *load, struct swi_error *error);
/* Its done comes soon. */
void cache_cancel_apart(struct cache *cache, struct load *load);

/* ---- control ----------------------------------------------------------------------------------- */

struct cache_cleared {
    uint32_t chunks; /* evicted */
    uint64_t bytes;
    uint32_t pinned_chunks; /* left, because somebody pins or holds them */
    uint64_t pinned_bytes;
    uint32_t held_chunks; /* of those, the held ones */
};
/* Evicts what is resident and not pinned; model and component NULL mean all. */
struct cache_cleared cache_clear(struct cache *cache, const char *model, const char *component);

/* Held chunks do not leave, as if a client pinned them (the operator's pins); what of them lies beyond a
 * lowered budget leaves all the same, for its holder to load again. Being held loads nothing. */
void cache_hold(struct cache *cache, uint32_t id, bool held);

/* The bytes of a resident chunk, valid until the next call; NULL when it is not resident. */
const void *cache_bytes(struct cache *cache, uint32_t id);
/* A resident chunk's bytes turned out to be wrong: counts a digest error and evicts it, held or not. False,
 * with nothing done, while a client pins it. */
bool cache_withdraw(struct cache *cache, uint32_t id);

/* Changes the budget. Shrinking evicts and returns the tail to the system; SW_EARENAFULL when pins keep it from
 * reaching the goal (the budget is then the goal, and the tail follows as pins go). -EINVAL over max_bytes. */
int cache_resize(struct cache *cache, uint64_t budget_bytes, struct swi_error *error);

/* From the next eviction on. */
void cache_set_policy(struct cache *cache, enum policy_kind policy);
/* As cache_options.session_bytes. */
void cache_set_session_bytes(struct cache *cache, uint64_t bytes);

void cache_get_stats(struct cache *cache, struct cache_stats *ret);
/* Of these, unverified alone, at no cost. */
uint64_t cache_unverified(const struct cache *cache);

struct cache_chunk_view {
    const struct cache_chunk *chunk; /* borrowed */
    struct swi_entry_value entry;
    uint64_t uses;
    uint64_t requests; /* of these, requests to the broker: misses */
    uint64_t hits;     /* leases that clients took without asking */
    uint32_t pins;     /* of clients */
    bool held;
    bool queued;
    uint32_t last_use_tick;
    uint64_t last_use_ns; /* as far as ticks tell; 0: never used */
    double next_use_ns;   /* from now, as the policy expects; infinite: it expects none */
    uint32_t next_use_steps;
    int last_error; /* of the last load; 0: none */
};
/* Before a series of cache_view that wants next_use_ns: takes uses over and looks ahead. */
void cache_look_ahead(struct cache *cache, uint64_t now_ns);
/* False when the id is not registered. */
bool cache_view(struct cache *cache, uint32_t id, struct cache_chunk_view *ret);

#endif
