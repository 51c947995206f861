/* SPDX-License-Identifier: MIT */
/* What the files of the cache share. cache.c: life, chunks, requests, dispatch; cache/queue.c: who
 * is next; cache/load.c: reads; cache/origin.c: where from; cache/evict.c: pins, eviction, the budget;
 * cache/adopt.c: taking over what another process left; cache/rehash.c: hashing that; cache/stats.c:
 * what it tells about itself.
 *
 * States of a chunk: its entry in the index says absent, loading, resident (EVICTING outlasts a
 * call here only while `withheld`); `queued` says whether it waits to be read. Queued ⇒ absent. A
 * range of the arena is owned exactly while the entry is not absent, or it is in quarantine.
 */
#ifndef SWB_CACHE_INTERNAL_H
#define SWB_CACHE_INTERNAL_H

#include "cache/cache.h"
#include "handover/ledger.h"
#include "memory/arena.h"
#include "memory/cgroup.h"
#include "memory/segment.h"

#define CACHE_ROOM_WAIT_NS UINT64_C(5000000000) /* for pins to go */
#define CACHE_RETRY_MIN_NS UINT64_C(1000000)
#define CACHE_RETRY_MAX_NS UINT64_C(20000000)
#define CACHE_TIDY_NS      UINT64_C(50000000) /* between looks at what leaves late */
#define CACHE_TICK_MIN_NS  UINT64_C(10000000)
#define CACHE_TICK_MAX_NS  UINT64_C(2000000000)
/* an unchanged bad file is not read again before */
#define CACHE_FAILURE_HOLD_NS UINT64_C(1000000000)
#define CACHE_AHEAD_NS        UINT64_C(1000000000) /* so long a guess is safe from other guesses */
#define CACHE_RESERVE_PACE_NS UINT64_C(8000000)
#define CACHE_FIRST_BYTES     (UINT64_C(256) << 20)
#define CACHE_LOADS_MAX       8u    /* at once */
#define CACHE_PREFETCH_MAX    1024u /* queued; more are dropped */
#define CACHE_WAITERS_MAX     65536u
#define CACHE_ATTEMPTS        32u /* queued chunks tried in one go when the first finds no room */
#define CACHE_ATTEMPTS_BEST   16u /* of these by order; the rest in turn: none waits for ever */
#define CACHE_MERGE_MAX       65536u /* stamps taken over in one go */
#define CACHE_PRIORITIES      3
#define CACHE_VERIFY_PACE_NS  UINT64_C(2000000) /* between MiB that nobody waits for */
#define NO_SESSION            UINT32_MAX
#define QUARANTINE            SWI_CHUNKS /* owner of ranges that nobody may use */

TAILQ_HEAD(waiter_list, cache_waiter);
TAILQ_HEAD(chunk_list, chunk);

struct failure {
    int code;       /* 0: none */
    bool seen_file; /* identity is that of the file that failed */
    struct load_identity identity;
    uint64_t at_ns;
    char *text; /* NULL: out of memory when it was kept */
};

struct chunk {
    struct cache_chunk info;
    uint32_t id;
    bool queued;
    bool gone;                     /* unregistered; info.model and info.name are no longer there */
    bool unverified;               /* taken over, and not hashed yet */
    bool withheld;                 /* unverified, and its entry stays EVICTING until it is */
    bool ahead;                    /* came by prefetch and was not used yet */
    bool remote;                   /* while loading: its bytes come from the remote */
    bool tried_file, tried_remote; /* since it was last queued */
    bool remote_wrong;             /* the remote's bytes did not hash to its digest */
    bool given_up;                 /* by the remote, for a file that may have been of no use */
    char *file_problem, *remote_problem; /* why those tries failed; NULL: they did not */
    int file_code;                       /* of file_problem */
    enum cache_priority priority;        /* while queued or loading */
    uint32_t session;                    /* whose share its read counts in; NO_SESSION: nobody's */
    uint64_t tried;                      /* the round of cache_pump that last tried it */
    uint64_t offset;                     /* while loading or resident */
    uint32_t resident_at;                /* place in cache->resident while resident */
    uint32_t load_tick;                  /* when it became resident */
    uint64_t load_ns;                    /* the same */
    uint64_t read_ns;                    /* when the read under way began */
    uint64_t uses;                       /* requests */
    uint64_t departed_uses;              /* of clients that have left */
    struct waiter_list waiters;
    TAILQ_ENTRY(chunk) link; /* in cache->queue */
    struct failure failure;
    struct load load; /* while loading */
    struct cache *cache;
};

/* What was read for a session lately. */
struct share {
    double bytes;
    uint64_t at_ns;
};

/* Waiters being told, so that one whose turn has not come can still be cancelled from inside a
 * callback. */
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
    bool leaving;               /* nothing is evicted any more: not all pins are seen */
    uint64_t now_ns;

    struct chunk *chunk[SWI_CHUNKS];
    uint32_t
        free_ids[SWI_CHUNKS]; /* ring: an id rests as long as possible before it is used again */
    uint32_t free_first, free_count;
    uint32_t resident[SWI_CHUNKS]; /* ids, in no order */
    uint32_t resident_count;
    uint32_t gone_count; /* unregistered chunks that are still resident or loading */

    const struct swi_page *page[SWI_SESSIONS];
    uint32_t sessions[SWI_SESSIONS]; /* numbers of the attached ones, in no order */
    uint32_t session_count;
    uint32_t merge_next; /* whose stamps are next */

    struct {
        uint32_t scan, count; /* the scan that last saw a pin on it, and how many it saw */
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
    struct answering *answering;
    bool pump_wanted;     /* something changed since the queue was last tried */
    uint64_t growth_goal; /* a queued chunk fits once the arena reaches so far; 0: none */
    uint64_t retry_ns;    /* when to try the queue again; 0: not waiting for pins */
    uint64_t retry_step_ns;
    uint64_t reserve_pace_ns;  /* when the next block is due that nobody waits for */
    uint64_t reserve_again_ns; /* after a refused reservation */
    struct swi_error refused;  /* why it was */
    struct swi_error limited;  /* why an adopted cache has less of a budget than it should */
    uint64_t tick_ns, tick_step_ns;
    uint64_t tidy_ns;
    struct ledger *ledger; /* NULL: none */
    struct {
        struct chunk *chunk; /* being hashed; NULL: none */
        swi_hasher *hasher;
        uint64_t hashed;
        uint64_t due_ns;
        uint32_t withheld; /* chunks; stats.unverified counts these too */
        bool urgent;       /* somebody waits for a withheld one */
    } verify;
    struct cache_stats stats; /* the counters; the rest is filled when asked */
};

/* cache.c */
int cache_prepare(const struct cache_options *options, struct cache **ret, struct swi_error *error);
int cache_add_chunk(struct cache *cache, uint32_t id, const struct cache_chunk *info);
void cache_answer(struct cache *cache, struct waiter_list *waiters, int status,
                  const char *message);
void cache_release_id(struct cache *cache, struct chunk *chunk);
void cache_tick(struct cache *cache);

/* cache/queue.c */
void cache_enqueue(struct cache *cache, struct chunk *chunk, enum cache_priority priority);
void cache_dequeue(struct cache *cache, struct chunk *chunk);
void cache_raise(struct cache *cache, struct chunk *chunk, enum cache_priority priority,
                 uint32_t session);
/* rotate: not the most deserving one but that which was tried longest ago. */
struct chunk *cache_next(struct cache *cache, enum cache_priority priority, uint64_t round,
                         bool rotate);
double cache_share(const struct cache *cache, uint32_t session);
void cache_charge(struct cache *cache, const struct chunk *chunk);
void cache_forget_share(struct cache *cache, uint32_t session);

/* cache/load.c */
void cache_pump(struct cache *cache);

/* cache/origin.c: where a chunk is read from, and what is kept of a failure */
enum origin {
    ORIGIN_FILE,
    ORIGIN_REMOTE,
    ORIGIN_LATER,  /* from the remote, once that is there; *why says what is the matter with it */
    ORIGIN_NOWHERE /* both are given up; the chunk's problems say why */
};
/* Where to try next. For a file, *ret_fd is open and checked. */
enum origin cache_choose_origin(struct cache *cache, struct chunk *chunk, int *ret_fd,
                                struct load_identity *ret_identity, struct swi_error *why);
/* The read that was under way, or the opening of the file, has failed. identity: of the file, if it
 * was seen. */
void cache_file_failed(struct cache *cache, struct chunk *chunk, const struct swi_error *error,
                       const struct load_identity *identity);
void cache_remote_failed(struct chunk *chunk, const struct swi_error *error);
/* Both problems in one sentence. */
void cache_describe_failure(const struct chunk *chunk, struct swi_error *ret);
/* A new round of tries begins. */
void cache_forget_tries(struct chunk *chunk);
void cache_forget_failure(struct chunk *chunk);

/* cache/evict.c */
enum room {
    ROOM_MADE,
    ROOM_GROWING, /* once more of the arena is reserved */
    ROOM_BUSY,    /* once reads have finished or pins have gone */
};
enum room cache_make_room(struct cache *cache, struct chunk *chunk);
/* Counts the pins of every chunk, under the number of this scan. */
void cache_scan_pins(struct cache *cache);
uint32_t cache_pins(const struct cache *cache, uint32_t id);
/* Whether anything keeps the chunk from leaving, as of the last scan. */
bool cache_is_kept(const struct cache *cache, uint32_t id);
/* Evicts those of ids that nobody pins; returns how many. all: none unless all. ids are resident.
 */
uint32_t cache_evict(struct cache *cache, const uint32_t *ids, uint32_t count, bool all,
                     enum cache_eviction reason);
void cache_became_resident(struct cache *cache, struct chunk *chunk);
/* The same without taking it for a use. */
void cache_add_resident(struct cache *cache, struct chunk *chunk);
/* Its entry is EVICTING: ends that. damaged: leases on it are taken away, and it counts as an error
 * instead of an eviction. */
void cache_evicted(struct cache *cache, struct chunk *chunk, bool damaged,
                   enum cache_eviction reason);
void cache_apply_limit(struct cache *cache);
/* The budget or what one session may keep has changed. */
void cache_apply_session_bytes(struct cache *cache);
/* Lets go of what is only waiting for pins or reads: the tail beyond a lowered budget, unregistered
 * chunks. */
void cache_tidy(struct cache *cache);
bool cache_wants_tidy(const struct cache *cache);
/* Takes last uses over from client pages; true when any was newer than known. */
bool cache_merge(struct cache *cache);

/* cache/rehash.c */
/* Hashes at most 1 MiB of what was taken over. True: wants to go on at once. */
bool cache_verify(struct cache *cache);
/* When it is due again; UINT64_MAX: never. */
uint64_t cache_verify_due_ns(const struct cache *cache);
/* The chunk leaves, or was read anew. */
void cache_verify_forget(struct cache *cache, struct chunk *chunk);
void cache_verify_fini(struct cache *cache);

/* cache/stats.c */
void cache_describe_holders(struct cache *cache, char *text, size_t size);

static inline uint32_t cache_now_tick(const struct cache *cache)
{
    return swi_tick(cache->index.index);
}

#endif
