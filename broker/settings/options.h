/* SPDX-License-Identifier: MIT */
/* The values of the settings, as the table in settings.c fills them. */
#ifndef SWB_SETTINGS_OPTIONS_H
#define SWB_SETTINGS_OPTIONS_H

#include <stdint.h>
#include <sys/types.h>

#include "base/log.h"
#include "loader/loader.h"
#include "policy/types.h"

#define OPTIONS_NO_GROUP ((gid_t)-1)

#define OPTIONS_NEVER_IDLE UINT32_MAX
#define OPTIONS_IDLE_MAX_S 86400u

#define OPTIONS_REDIS_TIMEOUT_MS_MAX 60000u
#define OPTIONS_REDIS_TTL_S_MAX      (10u * 366 * 24 * 3600)

enum redis_mode { REDIS_READ_WRITE, REDIS_READ_ONLY, REDIS_WRITE_ONLY };
enum redis_order { REDIS_LOCAL_FIRST, REDIS_REDIS_FIRST };

struct broker_redis_options {
    const char *url; /* NULL: no Redis */
    enum redis_mode mode;
    enum redis_order order;
    uint32_t timeout_ms;
    uint32_t ttl_s; /* of keys that are written; 0: they stay */
    const char *prefix;
    const char *ca, *cert, *key; /* files for rediss://; NULL: not set */
};

/* Of a cache whose size is not given. */
#define OPTIONS_FIT_LEAST_BYTES (UINT64_C(16) << 20)
#define OPTIONS_FIT_MAX_BYTES   (UINT64_C(1) << 30)

struct broker_options {
    const char *chunks_dir; /* NULL: none, only models from the remote */
    const char *socket_path;
    const char *trace_path; /* NULL: no trace */
    uint64_t cache_bytes;   /* 0: as the catalog needs, at most OPTIONS_FIT_MAX_BYTES */
    uint64_t max_cache_bytes;
    uint64_t max_pinned_bytes; /* by one client; 0: half of the current cache size */
    enum policy_kind policy;
    enum loader_engine engine;
    enum log_level log_level;
    mode_t socket_mode;
    gid_t socket_gid; /* OPTIONS_NO_GROUP: the process's own */
    gid_t admin_gid;  /* OPTIONS_NO_GROUP: none */
    uint32_t max_sessions;
    struct broker_redis_options redis;
    uint32_t idle_s;    /* ends when its last client left that long ago; OPTIONS_NEVER_IDLE */
    const char *models; /* to be served from the Redis, separated by commas; NULL: none */
};

/* How the settings spell these. */
extern const char *const redis_mode_names[];
extern const char *const redis_order_names[];

#endif
