/* SPDX-License-Identifier: MIT */
/* The state that the files of the cache share, and the functions below all of them.
 *
 * A file uses only the files to its left; cache.h is the interface that all of them implement:
 *
 *     state ◀ queue ◀ evict ◀ stats ◀ rehash ◀ origin ◀ load ◀ request, control, dispatch,
 *                                                               create ◀ adopt
 *
 * States of a chunk: its entry in the index says absent, loading or resident (evicting outlasts a
 * call only while the chunk is withheld); `queued` says whether it waits for its read. A queued
 * chunk is absent. A range of the arena is owned exactly while the entry is not absent, or while
 * the range is in quarantine.
 */
#ifndef SWB_CACHE_STATE_H
#define SWB_CACHE_STATE_H

#include "cache/cache.h"
#include "handover/ledger.h"
#include "memory/arena.h"
#include "memory/segment.h"

#define CACHE_PRIORITIES   3
#define CACHE_LOADS_MAX    8u /* at once */
#define CACHE_TICK_MIN_NS  UINT64_C(10000000)
#define CACHE_RETRY_ERR_NS UINT64_C(1000000000) /* between tries of what has failed */
#define NO_SESSION         UINT32_MAX
#define QUARANTINE         SWI_CHUNKS /* owner of ranges that must stay unused */

TAILQ_HEAD(waiter_list, cache_waiter);
TAILQ_HEAD(chunk_list, chunk);

/* The last failure of a chunk's file. */
struct failure {
    int code;       /* 0: none */
    bool seen_file; /* identity is that of the file that failed */
    struct load_identity identity;
    uint64_t at_ns;
    char *text; /* NULL: no memory to keep it */
};

/* One attempt to load a chunk, over both of its origins; allocated from cache->attempt. */
struct attempt {
    struct chunk *chunk; /* NULL: free */
    struct load load;    /* the read under way */
    bool remote;         /* its bytes come from the remote */
    bool tried_file, tried_remote;
    char *file_problem, *remote_problem; /* why those origins failed; NULL: they did not */
    int file_code;                       /* of file_problem */
    struct load_identity identity;       /* of the file being read */
    uint64_t read_ns;                    /* when the read under way began */
};

/* What is known about the bytes of a resident chunk. */
enum trust {
    TRUST_VERIFIED,
    TRUST_UNVERIFIED, /* taken over, and not hashed yet */
    TRUST_WITHHELD,   /* the same, and its entry stays EVICTING until it is hashed */
};

struct chunk {
    struct cache_chunk info;
    uint32_t id;
    bool queued;
    bool gone;         /* unregistered; info.model and info.name are no longer there */
    bool ahead;        /* prefetched, and not used yet */
    bool remote_wrong; /* the remote's bytes do not match the digest */
    enum trust trust;
    enum cache_priority priority; /* while queued or loading */
    uint32_t session;             /* the read counts in its share; NO_SESSION: in none */
    uint64_t tried;               /* the round of cache_pump that last tried it */
    uint64_t offset;              /* while loading or resident */
    uint32_t resident_at;         /* index in cache->resident while resident */
    uint32_t load_tick;           /* when it became resident */
    uint64_t load_ns;             /* the same */
    uint64_t uses;                /* requests */
    uint64_t departed_uses;       /* by clients that have left */
    struct waiter_list waiters;
    TAILQ_ENTRY(chunk) link; /* in cache->queue */
    struct failure failure;
    struct attempt *attempt; /* NULL: none under way */
    struct cache *cache;
};

/* Bytes recently read for a session. */
struct share {
    double bytes;
    uint64_t at_ns;
};

/* Waiters that are being answered, so that a callback can cancel one whose turn has not come. */
struct answering {
    struct waiter_list list;
    struct answering *outer;
};

struct cache {
    uint64_t budget;
    uint64_t session_bytes; /* as in cache_options */
    void (*failed)(void *context, const struct cache_chunk *chunk, int code, const char *message);
    void *failed_context;
    struct segment segment;
    struct index_segment index;
    struct arena *arena;
    struct policy *policy;
    struct loader *loader;
    struct cache_remote remote; /* fetch NULL: there is none */
    bool closing;               /* a load that fails now is not tried elsewhere */
    bool leaving;               /* no eviction any more: not all pins are visible */
    uint64_t now_ns;

    struct chunk *chunk[SWI_CHUNKS];
    uint32_t free_ids[SWI_CHUNKS]; /* ring: an id is reused as late as possible */
    uint32_t free_first, free_count;
    uint32_t resident[SWI_CHUNKS]; /* ids, in no order */
    uint32_t resident_count;
    uint32_t gone_count; /* unregistered chunks that are still resident or loading */

    const struct swi_page *page[SWI_SESSIONS];
    uint32_t sessions[SWI_SESSIONS]; /* numbers of the attached ones, in no order */
    uint32_t session_count;
    uint32_t merge_next; /* the session whose stamps are next */

    struct {
        uint32_t scan, count; /* the last scan that found a pin, and how many it found */
    } pins[SWI_CHUNKS];
    bool held[SWI_CHUNKS];
    bool overriding; /* held chunks leave too */
    uint32_t scan;   /* number of the last scan */
    bool scan_fresh; /* made since the last dispatch or request */
    uint32_t scratch[SWI_CHUNKS];

    struct share share[SWI_SESSIONS + 1]; /* the last: operators' */
    uint64_t round;                       /* number of the last cache_pump */
    uint64_t prepared;                    /* the round that the policy was last prepared for */
    struct chunk_list queue[CACHE_PRIORITIES];
    uint32_t queue_count[CACHE_PRIORITIES];
    uint32_t loading, waiter_count;
    uint32_t remote_loading; /* of those that are loading */
    struct attempt attempt[CACHE_LOADS_MAX];
    struct answering *answering;
    bool pump_wanted;     /* something changed since the queue was last tried */
    uint64_t growth_goal; /* a queued chunk fits once the arena reaches this size; 0: none */
    uint64_t retry_ns;    /* when to try the queue again; 0: not waiting for pins */
    uint64_t retry_step_ns;
    uint64_t reserve_pace_ns;  /* when the next block is due that no request waits for */
    uint64_t reserve_again_ns; /* after a refused reservation */
    struct swi_error refused;  /* why it was refused */
    struct swi_error limited;  /* why an adopted cache has a smaller budget than configured */
    uint64_t tick_ns, tick_step_ns;
    uint64_t tidy_ns;
    struct ledger *ledger; /* NULL: none */
    struct {
        TAILQ_HEAD(, cache_rehash) requests;
        struct chunk *chunk;          /* being hashed; NULL: none */
        struct cache_rehash *request; /* that asked for it; NULL: it was taken over */
        swi_hasher *hasher;           /* NULL: not needed yet */
        uint64_t hashed;              /* bytes of chunk */
        uint64_t due_ns;
        uint32_t withheld; /* chunks; stats.unverified counts these too */
        bool urgent;       /* a withheld chunk has waiters */
    } rehash;
    struct cache_stats stats; /* the counters; the rest is filled on request */
};

static inline uint32_t cache_now_tick(const struct cache *cache)
{
    return swi_tick(cache->index.index);
}

static inline enum swi_state cache_state(const struct cache *cache, uint32_t id)
{
    return swi_entry_get(cache->index.index, id).state;
}

/* Advances the tick of the index. */
void cache_tick(struct cache *cache);

/* -ENOMEM, or -EINVAL from the policy. */
int cache_add_chunk(struct cache *cache, uint32_t id, const struct cache_chunk *info);
/* Frees an unregistered chunk, which must be absent, and its id. */
void cache_release_id(struct cache *cache, struct chunk *chunk);

/* Answers every waiter on the list, which belongs to the caller. A callback may do anything to the
 * cache but destroy it. */
void cache_answer(struct cache *cache, struct waiter_list *waiters, int status,
                  const char *message);
/* Answers every waiter of the chunk, which a callback may free. */
void cache_answer_chunk(struct cache *cache, struct chunk *chunk, int status, const char *message);

/* Fewer than CACHE_LOADS_MAX are under way. */
struct attempt *cache_begin_attempt(struct cache *cache, struct chunk *chunk);
/* Does nothing if there is none. */
void cache_end_attempt(struct chunk *chunk);
void cache_forget_failure(struct chunk *chunk);

/* The rehash under way starts again later. */
void cache_stop_rehash(struct cache *cache);
/* The chunk's bytes need no hashing any more: they match, or they leave the arena. */
void cache_settle_trust(struct cache *cache, struct chunk *chunk);
void cache_finish_rehash(struct cache *cache, struct cache_rehash *request,
                         enum cache_rehash_state state);
/* The chunk leaves the arena: ends whatever hashes it. */
void cache_forget_rehash(struct cache *cache, struct chunk *chunk);

#endif
