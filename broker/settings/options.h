/* SPDX-License-Identifier: MIT */
/* The values of the settings, as the table in settings.c fills them. */
#ifndef SWB_SETTINGS_OPTIONS_H
#define SWB_SETTINGS_OPTIONS_H

#include <stdint.h>
#include <sys/types.h>

#include "base/log.h"
#include "loader/loader.h"
#include "policy/types.h"
#include "remote/redis/tier.h"

#define OPTIONS_NO_GROUP ((gid_t)-1)

#define OPTIONS_NEVER_IDLE UINT32_MAX
#define OPTIONS_IDLE_MAX_S 86400u

struct broker_options {
    const char *chunks_dir; /* NULL: none, only models from the remote */
    const char *socket_path;
    const char *trace_path; /* NULL: no trace */
    uint64_t cache_bytes;
    uint64_t max_cache_bytes;
    uint64_t max_pinned_bytes; /* by one client; 0: half of the current cache size */
    enum policy_kind policy;
    enum loader_engine engine;
    enum log_level log_level;
    mode_t socket_mode;
    gid_t socket_gid; /* OPTIONS_NO_GROUP: the process's own */
    gid_t admin_gid;  /* OPTIONS_NO_GROUP: none */
    uint32_t max_sessions;
    struct redis_options redis;
    uint32_t idle_s;    /* ends when its last client left that long ago; OPTIONS_NEVER_IDLE */
    const char *models; /* to be served from the Redis, separated by commas; NULL: none */
};

#endif
