/* SPDX-License-Identifier: MIT */
/* The daemon as a whole: its options, and what its parts share. One thread. */
#ifndef SWB_DAEMON_BROKER_H
#define SWB_DAEMON_BROKER_H

#include <sys/stat.h>

#include "base/log.h"
#include "base/loop.h"
#include "cache/cache.h"
#include "cache/trace.h"
#include "catalog/catalog.h"
#include "daemon/idle.h"
#include "daemon/service.h"
#include "handover/fdstore.h"
#include "handover/ledger.h"
#include "remote/redis/models.h"
#include "remote/redis/tier.h"
#include "session/listener.h"
#include "stats/counters.h"

struct push;
struct where;
struct session;
struct pinned;
struct settings;
struct verify;
TAILQ_HEAD(session_list, session);

#define BROKER_NO_GROUP ((gid_t)-1)

/* What settings.c fills. */
struct broker_options {
    const char *chunks_dir;
    const char *socket_path;
    const char *trace_path; /* NULL: no trace */
    uint64_t cache_bytes;
    uint64_t max_cache_bytes;
    uint64_t max_pinned_bytes; /* by one client; 0: half of the cache as it is at the time */
    enum policy_kind policy;
    enum loader_engine engine;
    enum log_level log_level;
    mode_t socket_mode;
    gid_t socket_gid; /* BROKER_NO_GROUP: the process's own */
    gid_t admin_gid;  /* BROKER_NO_GROUP: none */
    uint32_t max_sessions;
    struct redis_options redis;
    uint32_t idle_s;    /* ends when its last client has been gone that long; or IDLE_NEVER */
    const char *models; /* to be served from the Redis, separated by commas; NULL: none */
};

struct broker {
    struct broker_options options; /* as they are in force */
    struct settings *settings;     /* where they came from; owns their strings */
    struct loop *loop;
    struct cache *cache;
    struct catalog *catalog;
    struct fdstore fdstore;
    struct ledger_file ledger;
    struct cache_adopted adopted; /* from an earlier broker */
    uint32_t adopted_sessions;
    bool settled;         /* the arena is this broker's to leave */
    bool left_alone;      /* it could not take over what there is, which is the next one's */
    bool short_of_memory; /* less was reserved at the start than there should be, and is still */
    struct listener listener;
    struct loop_source accept_source, cache_source, signal_source;
    struct loop_timer accept_timer, check_timer, trace_timer;
    struct redis_models *redis_models;
    TAILQ_HEAD(where_list, where) wheres;
    uint32_t where_count;
    struct push *push; /* the one under way; NULL: none */
    struct service service;
    struct redis_tier *redis; /* NULL: none */
    struct idle idle;
    struct trace *trace;       /* NULL: none */
    TAILQ_HEAD(, pinned) pins; /* the operator's */
    uint64_t pinned_bytes;     /* of them, as ranges of the arena */
    uint32_t pinned_chunks;
    uint32_t pins_ended;           /* by the last reload */
    TAILQ_HEAD(, verify) verifies; /* under way, the first one's turn */
    struct counters counters;
    uint64_t started_ns;
    bool stopping;

    struct session_list connections; /* greeted or not */
    struct session_list doomed;      /* ended, to be freed at the end of the turn */
    uint32_t connection_count;
    uint32_t session_count; /* greeted */
    uint32_t last_number;
    struct session *sessions[SWI_SESSIONS]; /* by number */
};

/* Whether what the options say of the Redis goes together, and the files that they name are of use.
 * Starts nothing. */
int broker_check(const struct broker_options *options, struct swi_error *error);

/* Runs until SIGTERM or SIGINT. Returns 0, or what kept it from starting. */
int broker_run(struct settings *settings, struct swi_error *error);

/* Begins and ends a recording while the broker runs. -EBUSY when there is one. */
int broker_trace_start(struct broker *broker, const char *path, bool overwrite,
                       struct swi_error *error);
void broker_trace_stop(struct broker *broker);

/* Looks through the catalog again and logs what changed. */
int broker_reload(struct broker *broker, struct catalog_changes *ret, struct swi_error *error);

#endif
