/* SPDX-License-Identifier: MIT */
/* The daemon as a whole: what its parts share. One thread. */
#ifndef SWB_DAEMON_BROKER_H
#define SWB_DAEMON_BROKER_H

#include "cache/cache.h"
#include "daemon/idle.h"
#include "daemon/service.h"
#include "handover/fdstore.h"
#include "handover/ledger.h"
#include "operator/control.h"
#include "remote/models.h"
#include "session/listener.h"
#include "session/sessions.h"
#include "settings/settings.h"

struct broker {
    struct broker_options options; /* in force */
    struct settings *settings;     /* their source; owns their strings */
    struct counters counters;
    struct loop *loop;
    struct cache *cache;
    struct catalog *catalog;
    struct remote *remote;               /* NULL: none */
    struct remote_models *remote_models; /* NULL: none */
    struct sessions sessions;
    struct control control;
    struct listener listener;
    struct loop_source cache_source, signal_source;
    struct loop_timer check_timer, trace_timer;
    struct service service;
    struct idle idle;
    bool stopping;

    /* what outlives the process */
    struct fdstore fdstore;
    struct ledger_file ledger;
    bool settled;         /* the arena is this broker's to leave */
    bool left_alone;      /* it could not take over what is there, which its successor may */
    bool short_of_memory; /* less than all of the cache is reserved */

    uint64_t fitted_bytes; /* the cache's size as daemon/fit.h chose it */
};

#endif
