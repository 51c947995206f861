/* SPDX-License-Identifier: MIT */
/* The table of figures. */
#include "stats/stats.h"

/* Where a field is. A field of another type than the row's kind reads does not compile. */
#define FIELD(type, field)                                                                         \
    _Generic(((struct stats *)0)->field, type : offsetof(struct stats, field))
#define NUMBER(field)    FIELD(uint64_t, field)
#define REAL(field)      FIELD(double, field)
#define FLAG(field)      FIELD(bool, field)
#define TEXT(field)      FIELD(const char *, field)
#define HISTOGRAM(field) FIELD(struct latency, field)

#define SECTION(key, label, help, from)                                                            \
    {                                                                                              \
        key, label, STATS_SECTION, NULL, help, from, NULL                                          \
    }
#define FIGURE(kind, key, label, metric, help, from)                                               \
    {                                                                                              \
        key, label, STATS_##kind, metric, help, from, NULL                                         \
    }
#define STATE(key, label, states, metric, help, from)                                              \
    {                                                                                              \
        key, label, STATS_STATE, metric, help, from, states                                        \
    }

#define EVICTED(reason, help, index)                                                               \
    FIGURE(COUNTER, "evictions_by_reason." reason, reason,                                         \
           "evictions_total{reason=\"" reason "\"}", help, NUMBER(cache.evicted[index]))

#define FAULT(key, label, help)                                                                    \
    FIGURE(COUNTER, #key, label, "client_faults_total{kind=\"" #key "\"}", help,                   \
           NUMBER(counters.key))

/* One of the two connections to the Redis: reads or writes. */
#define CONNECTION(way)                                                                            \
    SECTION("redis." #way, "redis connection for " #way, NULL, FLAG(redis.way.used)),              \
        FIGURE(FLAG, "redis." #way ".up", "connected", NULL,                                       \
               "Whether the connection for " #way " is up.", FLAG(redis.way.up)),                  \
        STATE("redis." #way ".breaker", "breaker", "closed|half-open|open",                        \
              "redis_breaker_state{connection=\"" #way "\"}",                                      \
              "Breaker: 0 closed (in use), 1 half-open (being tried), 2 open (not in use).",       \
              TEXT(redis.way.breaker)),                                                            \
        FIGURE(COUNTER, "redis." #way ".breaker_opened", "times the breaker opened",               \
               "redis_breaker_opened_total{connection=\"" #way "\"}",                              \
               "Times that the breaker opened.", NUMBER(redis.way.breaker_opened)),                \
        FIGURE(COUNTER, "redis." #way ".connects", "connections made", NULL, "Connections made.",  \
               NUMBER(redis.way.connects)),                                                        \
        FIGURE(COUNTER, "redis." #way ".connect_failures", "failed connections",                   \
               "redis_connect_failures_total{connection=\"" #way "\"}",                            \
               "Connections that could not be made.", NUMBER(redis.way.connect_failures)),         \
        FIGURE(COUNTER, "redis." #way ".refused", "refused after connecting", NULL,                \
               "Connections that the server refused: password, user or database.",                 \
               NUMBER(redis.way.refused)),                                                         \
        FIGURE(COUNTER, "redis." #way ".timeouts", "timeouts",                                     \
               "redis_timeouts_total{connection=\"" #way "\"}",                                    \
               "Answers that did not come in time.", NUMBER(redis.way.timeouts)),                  \
        FIGURE(COUNTER, "redis." #way ".closed", "closed by the server", NULL,                     \
               "Connections that the server closed.", NUMBER(redis.way.closed)),                   \
        FIGURE(COUNTER, "redis." #way ".garbage", "protocol errors", NULL,                         \
               "Connections closed because an answer violated the Redis protocol.",                \
               NUMBER(redis.way.garbage))

const struct stats_figure stats_figures[] = {
    SECTION(NULL, "memory", NULL, STATS_ALWAYS),
    FIGURE(GAUGE_BYTES, "arena_bytes", "cache size", "arena_bytes", "Size of the cache.",
           NUMBER(cache.arena_bytes)),
    FIGURE(GAUGE_BYTES, "max_bytes", "maximum size", "arena_max_bytes",
           "Largest size that the cache can be resized to.", NUMBER(max_bytes)),
    FIGURE(GAUGE_BYTES, "reserved_bytes", "reserved", "reserved_bytes",
           "Shared memory reserved for the cache.", NUMBER(cache.reserved_bytes)),
    FIGURE(GAUGE_BYTES, "huge_bytes", "in huge pages", "huge_bytes",
           "Bytes of the cache in huge pages.", NUMBER(cache.huge_bytes)),
    FIGURE(COUNTER, "collapse_refused", "huge pages refused", "collapse_refused_total",
           "Blocks that the kernel did not turn into huge pages.", NUMBER(cache.collapse_refused)),
    FIGURE(GAUGE_BYTES, "resident_bytes", "resident", "resident_bytes",
           "Bytes of the chunks in the cache.", NUMBER(cache.resident_bytes)),
    FIGURE(GAUGE_BYTES, "pinned_bytes", "pinned", "pinned_bytes",
           "Bytes of the chunks that clients or the operator pin.", NUMBER(cache.pinned_bytes)),
    FIGURE(GAUGE_BYTES, "operator_pinned_bytes", "pinned by the operator", "operator_pinned_bytes",
           "Bytes of the chunks that the operator pins.", NUMBER(operator_pinned_bytes)),
    FIGURE(GAUGE, "operator_pinned_chunks", "chunks pinned by the operator",
           "operator_pinned_chunks", "Chunks that the operator pins.",
           NUMBER(operator_pinned_chunks)),
    FIGURE(GAUGE_BYTES, "operator_pin_limit_bytes", "operator's limit", "operator_pin_limit_bytes",
           "Bytes that the operator may pin: half of the cache.", NUMBER(operator_pin_limit_bytes)),
    FIGURE(GAUGE, "chunks_resident", "chunks resident", "chunks_resident", "Chunks in the cache.",
           NUMBER(cache.chunks_resident)),

    SECTION(NULL, "use", NULL, STATS_ALWAYS),
    FIGURE(COUNTER, "hits", "hits", "hits_total", "Leases taken without asking the broker.",
           NUMBER(hits)),
    FIGURE(COUNTER, "misses", "misses", "misses_total",
           "Requests for chunks that were not resident.", NUMBER(cache.misses)),
    FIGURE(RATIO, "hit_rate", "hit rate", NULL,
           "Hits divided by hits and misses; 0 before the first.", REAL(hit_rate)),
    FIGURE(COUNTER, "coalesced", "coalesced misses", "coalesced_total",
           "Misses that joined a read under way or queued.", NUMBER(cache.coalesced)),
    FIGURE(COUNTER, "prefetches", "prefetches", "prefetches_total",
           "Chunks queued before a client needed them.", NUMBER(cache.prefetches)),
    FIGURE(COUNTER, "prefetch_used", "prefetches used", "prefetch_used_total",
           "Prefetched chunks that were used.", NUMBER(cache.prefetch_used)),
    FIGURE(COUNTER, "prefetch_wasted", "prefetches wasted", "prefetch_wasted_total",
           "Prefetched chunks that were evicted unused.", NUMBER(cache.prefetch_wasted)),
    FIGURE(COUNTER, "prefetch_dropped", "prefetches dropped", "prefetch_dropped_total",
           "Prefetches given up before they were read.", NUMBER(cache.prefetch_dropped)),
    FIGURE(COUNTER, "evictions", "evictions", NULL, "Chunks that left the cache.",
           NUMBER(cache.evictions)),

    SECTION("evictions_by_reason", "evictions by reason", "Chunks that left the cache, by reason.",
            STATS_ALWAYS),
    EVICTED("capacity", "Chunks evicted to make room for others.", CACHE_EVICTED_FOR_ROOM),
    EVICTED("clear", "Chunks evicted by swctl clear.", CACHE_EVICTED_BY_CLEAR),
    EVICTED("resize", "Chunks evicted because the cache shrank.", CACHE_EVICTED_BY_RESIZE),
    EVICTED("replaced", "Chunks evicted because their model's revision is gone.",
            CACHE_EVICTED_REPLACED),
    EVICTED("damaged", "Chunks evicted because swctl verify found damage.", CACHE_EVICTED_DAMAGED),

    SECTION(NULL, "loading", NULL, STATS_ALWAYS),
    FIGURE(COUNTER, "loads", "loads", "loads_total", "Chunks read and verified.",
           NUMBER(cache.loads)),
    FIGURE(COUNTER_BYTES, "load_bytes", "bytes read", "load_bytes_total",
           "Bytes of the chunks read and verified.", NUMBER(cache.load_bytes)),
    FIGURE(GAUGE, "loading", "being read", "chunks_loading", "Chunks being read.",
           NUMBER(cache.loading)),
    FIGURE(GAUGE, "queued", "waiting to be read", "chunks_queued", "Chunks waiting to be read.",
           NUMBER(cache.queued)),
    FIGURE(COUNTER, "load_errors", "load errors", "load_errors_total",
           "Chunks that could not be read.", NUMBER(cache.load_errors)),
    FIGURE(COUNTER, "digest_errors", "digest errors", "digest_errors_total",
           "Chunks that did not match their digest.", NUMBER(cache.digest_errors)),
    FIGURE(GAUGE, "models", "models", "models", "Models in the catalog.", NUMBER(models)),
    FIGURE(GAUGE, "models_bad", "models with a problem", "models_bad",
           "Models that cannot be served as they are.", NUMBER(models_bad)),

    SECTION(NULL, "clients", NULL, STATS_ALWAYS),
    FIGURE(GAUGE, "clients", "attached", "clients", "Clients attached.", NUMBER(clients)),
    FIGURE(GAUGE, "connections", "connections", "connections",
           "Connections, including those of operators.", NUMBER(connections)),
    FIGURE(GAUGE, "sessions_max", "sessions at most", NULL, "Limit on attached clients.",
           NUMBER(sessions_max)),
    FIGURE(COUNTER, "sessions", "sessions so far", "sessions_total", "Clients ever attached.",
           NUMBER(counters.sessions)),

    SECTION(NULL, "clients revoked", "Clients whose leases were revoked, by reason.", STATS_ALWAYS),
    FIGURE(COUNTER, "revoked", "all", NULL, "Clients whose leases were revoked.", NUMBER(revoked)),
    FIGURE(COUNTER, "quota_revoked", "for pinning too much",
           "sessions_revoked_total{reason=\"quota\"}",
           "Clients revoked because they pinned more than they may.",
           NUMBER(counters.quota_revoked)),
    FIGURE(COUNTER, "damage_revoked", "for holding damage",
           "sessions_revoked_total{reason=\"damage\"}",
           "Clients revoked because they held a chunk that was damaged in memory.",
           NUMBER(counters.damage_revoked)),

    SECTION(NULL, "client faults", "Client faults, by kind.", STATS_ALWAYS),
    FAULT(protocol_errors, "protocol errors", "Malformed or misplaced messages."),
    FAULT(descriptors_refused, "descriptors refused", "File descriptors that clients sent."),
    FAULT(sessions_refused, "sessions refused", "Clients over the limit, or of another version."),
    FAULT(requests_refused, "requests refused",
          "Requests over the limit of queued requests or open models."),
    FAULT(ids_refused, "foreign ids refused",
          "Requests that named a model or chunk not open to their client."),
    FAULT(rate_limited, "rate limited", "Times that reading from a client was paused."),
    FAULT(slow_readers, "slow readers closed",
          "Clients closed because they did not read their answers."),
    FAULT(silent_closed, "silent clients closed", "Clients closed because they sent nothing."),
    FAULT(page_garbage, "pages with garbage", "Clients whose page held invalid values."),

    SECTION("disk", "disk", NULL, STATS_ALWAYS),
    FIGURE(COUNTER, "disk.loads", "loads", "disk_loads_total", "Chunks read from files.",
           NUMBER(cache.file_loads)),
    FIGURE(COUNTER_BYTES, "disk.bytes", "bytes read", "disk_load_bytes_total",
           "Bytes of the chunks read from files.", NUMBER(cache.file_bytes)),
    FIGURE(LATENCY, "disk.latency", "time of a load", "load_duration_seconds{tier=\"disk\"}",
           "Time from a load's first read to its verified chunk.", HISTOGRAM(cache.file_latency)),

    SECTION("redis", "redis", NULL, FLAG(has_redis)),
    FIGURE(TEXT, "redis.url", "server", NULL, "URL of the server, without secrets.",
           TEXT(redis.url)),
    FIGURE(TEXT, "redis.mode", "mode", NULL, "Setting redis-mode.", TEXT(redis.mode)),
    FIGURE(TEXT, "redis.order", "order", NULL, "Setting redis-order.", TEXT(redis.order)),
    STATE("redis.breaker", "breaker", "closed|half-open|open", NULL,
          "State of the breaker of the connection for reads.", TEXT(redis.reads.breaker)),
    FIGURE(COUNTER, "redis.hits", "loads", "redis_hits_total", "Chunks loaded from the Redis.",
           NUMBER(redis.hits)),
    FIGURE(COUNTER_BYTES, "redis.hit_bytes", "bytes read", "redis_hit_bytes_total",
           "Bytes of the chunks loaded from the Redis.", NUMBER(redis.hit_bytes)),
    FIGURE(LATENCY, "redis.latency", "time of a load", "load_duration_seconds{tier=\"redis\"}",
           "Time from a load's first read to its verified chunk.", HISTOGRAM(cache.remote_latency)),
    FIGURE(COUNTER, "redis.misses", "misses", "redis_misses_total",
           "Chunks that the Redis did not have, or only in part.", NUMBER(redis.misses)),
    FIGURE(COUNTER, "redis.wrong", "wrong values", "redis_wrong_total",
           "Chunks whose bytes in the Redis had another length or digest.", NUMBER(redis.wrong)),
    FIGURE(COUNTER, "redis.failures", "failures", "redis_failures_total",
           "Chunks for which the Redis could not be queried or returned an error.",
           NUMBER(redis.failures)),
    FIGURE(COUNTER, "redis.fallbacks", "served by files instead", "redis_fallbacks_total",
           "Loads that a file served instead of the Redis.", NUMBER(cache.remote_to_file)),
    FIGURE(COUNTER, "redis.rescues", "served instead of files", "redis_rescues_total",
           "Loads that the Redis served instead of a file.", NUMBER(cache.file_to_remote)),
    FIGURE(COUNTER, "redis.stores", "chunks written", "redis_stores_total",
           "Chunks written to the Redis.", NUMBER(redis.stores)),
    FIGURE(COUNTER_BYTES, "redis.store_bytes", "bytes written", "redis_store_bytes_total",
           "Bytes of the chunks written to the Redis.", NUMBER(redis.store_bytes)),
    FIGURE(COUNTER, "redis.store_present", "already there", NULL,
           "Chunks not written because the Redis had them.", NUMBER(redis.store_present)),
    FIGURE(COUNTER, "redis.store_dropped", "writes dropped", NULL,
           "Chunks evicted, or crowded out of the queue, before they were written.",
           NUMBER(redis.store_dropped)),
    FIGURE(COUNTER, "redis.store_failures", "failed writes", "redis_store_failures_total",
           "Chunks that could not be written to the Redis.", NUMBER(redis.store_failures)),
    FIGURE(GAUGE, "redis.stores_queued", "waiting to be written", NULL,
           "Chunks waiting to be written to the Redis.", NUMBER(redis.writes_queued)),
    FIGURE(FLAG, "redis.stores_paused", "writing paused", NULL,
           "Whether writing pauses after an error of the server.", FLAG(redis.writes_paused)),
    FIGURE(COUNTER, "redis.out_of_memory", "out of memory", "redis_out_of_memory_total",
           "Writes refused because the Redis was out of memory.", NUMBER(redis.out_of_memory)),
    FIGURE(COUNTER, "redis.read_only", "read-only", NULL,
           "Writes refused because the server is a read-only replica.", NUMBER(redis.read_only)),
    FIGURE(COUNTER, "redis.other_errors", "other errors", NULL, "Other errors of the server.",
           NUMBER(redis.other_errors)),
    CONNECTION(reads),
    CONNECTION(writes),

    SECTION(NULL, "restarts", NULL, STATS_ALWAYS),
    FIGURE(COUNTER, "restarts", "brokers before this one", NULL,
           "Brokers that the memory outlived.", NUMBER(restarts)),
    FIGURE(GAUGE, "adopted_sessions", "sessions taken over", NULL,
           "Sessions taken over from the broker before.", NUMBER(adopted_sessions)),
    FIGURE(GAUGE, "adopted_chunks", "chunks taken over", NULL,
           "Chunks taken over from the broker before.", NUMBER(adopted_chunks)),
    FIGURE(GAUGE, "unverified", "still to be verified", NULL,
           "Chunks taken over that are still to be hashed.", NUMBER(cache.unverified)),
    FIGURE(COUNTER, "verified", "verified", NULL, "Chunks taken over that were intact.",
           NUMBER(cache.verified)),
    FIGURE(COUNTER, "verify_errors", "damaged", NULL, "Chunks taken over that were damaged.",
           NUMBER(cache.verify_errors)),
    FIGURE(GAUGE, "store_descriptors", "fd store's capacity", NULL,
           "Descriptors that the fd store takes; 0: there is no fd store.",
           NUMBER(store_descriptors)),

    SECTION(NULL, "broker", NULL, STATS_ALWAYS),
    FIGURE(TEXT, "version", "version", NULL, "Version of the broker.", TEXT(version)),
    FIGURE(GAUGE, "pid", "pid", NULL, "Process id.", NUMBER(pid)),
    FIGURE(GAUGE, "uid", "uid", NULL, "User id.", NUMBER(uid)),
    FIGURE(SECONDS, "uptime_s", "uptime", "uptime_seconds", "Time since the broker started.",
           REAL(uptime_s)),
    FIGURE(TEXT, "io_engine", "I/O engine", NULL, "How files are read: io_uring or threads.",
           TEXT(cache.io_engine)),
    FIGURE(TEXT, "policy", "eviction policy", NULL, "Eviction policy: lru or next-use.",
           TEXT(cache.policy)),
    STATE("isolation", "isolation", "none|uid", "isolated",
          "1 if no client can write the cache (uid), else 0 (none).", TEXT(isolation)),
    FIGURE(TEXT, "chunks_dir", "chunks directory", NULL, "Directory of the models.",
           TEXT(chunks_dir)),
    FIGURE(FLAG, "tracing", "recording a trace", NULL, "Whether a trace is being recorded.",
           FLAG(tracing)),
    FIGURE(COUNTER, "log_lines_dropped", "log lines lost", "log_lines_dropped_total",
           "Log lines lost because their reader was too slow.", NUMBER(log_lines_dropped)),
    FIGURE(COUNTER, "log_lines_left_out", "log lines over a limit", "log_lines_left_out_total",
           "Log lines left out because their cause was over its limit.",
           NUMBER(log_lines_left_out)),
    FIGURE(GAUGE, "layout_version", "layout version", NULL,
           "Version of the shared memory's layout.", NUMBER(layout_version)),
    FIGURE(HEX, "layout_hash", "layout hash", NULL, "Hash of the shared memory's layout.",
           NUMBER(layout_hash)),
};
const size_t stats_figure_count = sizeof stats_figures / sizeof stats_figures[0];
