/* SPDX-License-Identifier: MIT */
/* Puts the parts of the daemon together, runs the loop, takes them apart. */
#include "daemon/run.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/log.h"
#include "core/size.h"
#include "daemon/fit.h"
#include "daemon/reload.h"
#include "daemon/takeover.h"
#include "operator/pins.h"
#include "operator/verbs.h"
#include "operator/verify.h"
#include "remote/redis/tier.h"
#include "session/accept.h"
#include "session/quota.h"

#define CHECK_EVERY_NS     (LOOP_NS_PER_S / 2)
#define TRACE_EVERY_NS     (10 * LOOP_NS_PER_MS)
#define FILES_A_SESSION    2u   /* its socket and its process */
#define FILES_FOR_THE_REST 256u /* directories, reads, the loop */

/* ---- signals, timers, the cache -------------------------------------------------------------- */

static void hang_up(struct broker *broker)
{
    struct control_reloaded reloaded = {.settings = NULL};
    struct swi_error error = {0};
    (void)reload(broker, &reloaded, &error); /* logs what is wrong */
    json_decref(reloaded.settings);
}

static void signal_ready(struct loop_source *source, uint32_t events)
{
    (void)events;
    struct broker *broker = LOOP_OWNER(source, struct broker, signal_source);
    struct signalfd_siginfo info;
    while (read(source->fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGHUP)
            hang_up(broker);
        else
            broker->stopping = true;
    }
}

static void watch_shortage(struct broker *broker)
{
    struct cache_stats stats;
    if (!broker->short_of_memory)
        return;
    cache_get_stats(broker->cache, &stats);
    if (stats.reserved_bytes < stats.arena_bytes)
        return;
    broker->short_of_memory = false;
    log_info("the whole cache is reserved now");
}

/* Once this broker has run for a while and has hashed all that it took over. Not before: bytes that
 * end every broker which hashes them would do so forever. */
static void forget_tries(struct broker *broker)
{
    struct ledger_header *header = &broker->ledger.ledger->header;
    if (header->clean && cache_unverified(broker->cache) == 0)
        header->clean = 0;
}

static void check_due(struct loop_timer *timer, uint64_t now_ns)
{
    struct broker *broker = LOOP_OWNER(timer, struct broker, check_timer);
    forget_tries(broker);
    watch_shortage(broker);
    sessions_check(&broker->sessions);
    if (!broker->stopping)
        broker->stopping = idle_check(&broker->idle, &broker->sessions, &broker->listener, now_ns);
    log_tell_left_out();
    (void)pins_follow(&broker->control);
    loop_arm(broker->loop, timer, now_ns + CHECK_EVERY_NS);
}

static void trace_due(struct loop_timer *timer, uint64_t now_ns)
{
    struct broker *broker = LOOP_OWNER(timer, struct broker, trace_timer);
    struct trace *trace = broker->sessions.trace;
    trace_budget(trace, now_ns);
    for (uint32_t i = 0; i < SWI_SESSIONS; i++)
        if (broker->sessions.by_number[i])
            trace_drain(trace, i, broker->sessions.by_number[i]->page, now_ns);
    if (trace_alive(trace))
        loop_arm(broker->loop, timer, now_ns + TRACE_EVERY_NS);
}

static int start_trace(struct broker *broker, struct swi_error *error)
{
    if (!broker->options.trace_path)
        return 0;
    struct trace *trace;
    int result = trace_open(broker->options.trace_path, broker->cache, loop_now(), &trace, error);
    if (result < 0)
        return result;
    broker->sessions.trace = trace;
    /* pages of sessions that were taken over hold records of the earlier broker's trace */
    for (uint32_t i = 0; i < SWI_SESSIONS; i++)
        if (broker->sessions.by_number[i])
            trace_skip(trace, i, broker->sessions.by_number[i]->page);
    broker->trace_timer.fire = trace_due;
    loop_arm(broker->loop, &broker->trace_timer, loop_now() + TRACE_EVERY_NS);
    return 0;
}

/* The descriptor only ends the wait: every turn calls cache_dispatch. */
static void cache_ready(struct loop_source *source, uint32_t events)
{
    (void)source;
    (void)events;
}

/* ---- start ----------------------------------------------------------------------------------- */

/* Before any thread starts, so that all threads leave signals to the loop. */
static int take_signals(struct broker *broker, struct swi_error *error)
{
    sigset_t wanted;
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGTERM);
    sigaddset(&wanted, SIGINT);
    sigaddset(&wanted, SIGHUP);
    (void)sigprocmask(SIG_BLOCK, &wanted, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    int fd = signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0)
        return swi_fail(error, -errno, "cannot create a signal descriptor: %s",
                        sw_strerror(-errno));
    broker->signal_source = (struct loop_source){.ready = signal_ready, .fd = fd};
    return 0;
}

/* Sessions cost descriptors. The soft limit is often 1024, the hard limit far higher. */
static void raise_file_limit(struct broker *broker)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    uint32_t connections = broker->options.max_sessions + CONNECTIONS_MORE;
    if (limit.rlim_max < connections * FILES_A_SESSION + FILES_FOR_THE_REST)
        log_warning(
            "the limit of %llu open files is low for %u sessions; raise it (LimitNOFILE=) or "
            "lower --max-sessions",
            (unsigned long long)limit.rlim_max, broker->options.max_sessions);
}

/* Limited: clients can ask for a bad chunk as often as they like. */
static void load_failed(void *context, const struct cache_chunk *chunk, int code,
                        const char *message)
{
    (void)context;
    static struct log_limit digests, others;
    const struct log_about about = {
        .message_id = LOG_ID_LOAD, .model = chunk->model, .chunk = chunk->name};
    log_limited(code == SW_EDIGEST ? &digests : &others, &about, "%s/%s: %s", chunk->model,
                chunk->name, message ? message : sw_strerror(code));
}

void broker_connect(struct broker *broker)
{
    struct sessions *sessions = &broker->sessions;
    broker->catalog->cache = broker->cache;
    broker->catalog->grown = fit_grow;
    broker->catalog->grown_context = broker;
    sessions->loop = broker->loop;
    sessions->cache = broker->cache;
    sessions->catalog = broker->catalog;
    sessions->fdstore = &broker->fdstore;
    sessions->ledger = broker->ledger.ledger;
    sessions->options = &broker->options;
    sessions->counters = &broker->counters;
    sessions->control = verbs_handle;
    sessions->control_context = &broker->control;
    struct control *control = &broker->control;
    control->loop = broker->loop;
    control->cache = broker->cache;
    control->catalog = broker->catalog;
    control->sessions = sessions;
    control->reload = reload;
    control->reload_context = broker;
}

static int start_cache(struct broker *broker, struct swi_error *error)
{
    const struct broker_options *options = &broker->options;
    const struct cache_options cache_options = {.budget_bytes = fit_bytes(broker, options),
                                                .max_bytes = options->max_cache_bytes,
                                                .policy = options->policy,
                                                .engine = options->engine,
                                                .failed = load_failed,
                                                .session_bytes = options->max_pinned_bytes};
    int result = takeover_memory(broker, &cache_options, error);
    if (result < 0)
        return result;
    broker->fitted_bytes = cache_budget(broker->cache);
    broker_connect(broker);
    broker->cache_source =
        (struct loop_source){.ready = cache_ready, .fd = cache_poll_fd(broker->cache)};
    return loop_add(broker->loop, &broker->cache_source, EPOLLIN);
}

/* Scans the catalog, then takes over what an earlier broker served of it. */
static int start_catalog(struct broker *broker, struct swi_error *error)
{
    struct control_reloaded reloaded;
    int result = reload_catalog(broker, &reloaded, error);
    if (result == 0 && !broker->settled)
        result = takeover_resume(broker, error);
    return result;
}

static struct redis_options redis_options(const struct broker_options *options)
{
    const struct broker_redis_options *redis = &options->redis;
    return (struct redis_options){
        .url = redis->url,
        .reads = redis->mode != REDIS_WRITE_ONLY,
        .writes = redis->mode != REDIS_READ_ONLY,
        .first = redis->order == REDIS_REDIS_FIRST,
        .timeout_ms = redis->timeout_ms,
        .ttl_s = redis->ttl_s,
        .prefix = redis->prefix,
        .tls = {.ca = redis->ca, .cert = redis->cert, .key = redis->key},
    };
}

int broker_check(const struct broker_options *options, struct swi_error *error)
{
    if (options->models && !options->redis.url)
        return swi_fail(error, -EINVAL, "--models needs --redis-url");
    if (options->models && options->redis.mode == REDIS_WRITE_ONLY)
        return swi_fail(error, -EINVAL, "--models and --redis-mode write-only exclude each other");
    const struct redis_options redis = redis_options(options);
    int result = redis.url ? redis_tier_check(&redis, error) : 0;
    if (result == 0 && options->models)
        result = remote_models_check(options->models, error);
    return result;
}

static int start_remote(struct broker *broker, struct swi_error *error)
{
    const struct redis_options options = redis_options(&broker->options);
    if (!options.url)
        return 0;
    int result = redis_tier_create(&options, broker->loop, broker->cache, &broker->remote, error);
    broker->control.remote = broker->remote;
    if (result == 0 && broker->options.models)
        result = remote_models_create(broker->options.models, broker->remote, broker->catalog,
                                      broker->loop, &broker->remote_models, error);
    return result;
}

/* Cheap checks come first: a second broker on the same socket ends before it reserves an arena. */
static int broker_start(struct broker *broker, struct swi_error *error)
{
    const struct broker_options *options = &broker->options;
    raise_file_limit(broker);
    int result = broker_check(options, error);
    if (result == 0)
        result = loop_create(&broker->loop, error);
    if (result == 0)
        result = take_signals(broker, error);
    if (result == 0)
        result = loop_add(broker->loop, &broker->signal_source, EPOLLIN);
    if (result == 0)
        result = catalog_create(options->chunks_dir, &broker->catalog, error);
    if (result == 0)
        result = fdstore_open(&broker->fdstore, error);
    if (result == 0)
        result = takeover_listener(broker, error);
    if (result == 0)
        result = start_cache(broker, error);
    if (result == 0)
        result = start_remote(broker, error);
    if (result == 0)
        result = start_catalog(broker, error);
    if (result == 0)
        result = start_trace(broker, error);
    if (result == 0)
        result = sessions_start(&broker->sessions, broker->listener.fd, error);
    if (result < 0)
        return result;
    fdstore_close(&broker->fdstore, true);
    broker->check_timer.fire = check_due;
    loop_arm(broker->loop, &broker->check_timer, loop_now() + CHECK_EVERY_NS);
    return 0;
}

/* Stops what was started, in the opposite order. Where the service manager keeps the arena, it stays
 * as it is, and so do its clients. */
static void broker_stop(struct broker *broker)
{
    bool keep = broker->fdstore.active && broker->cache;
    if (keep)
        cache_leave(broker->cache);
    if (broker->loop) {
        sessions_stop(&broker->sessions, keep);
        loop_disarm(broker->loop, &broker->check_timer);
        loop_disarm(broker->loop, &broker->trace_timer);
        loop_remove(broker->loop, &broker->cache_source);
        loop_remove(broker->loop, &broker->signal_source);
    }
    listener_close(&broker->listener, keep || broker->left_alone);
    trace_close(broker->sessions.trace, loop_now());
    remote_models_destroy(broker->remote_models);
    if (broker->remote)
        broker->remote->ops->destroy(broker->remote);
    pins_end(&broker->control);
    if (!keep)
        catalog_destroy(broker->catalog);
    if (broker->cache)
        cache_destroy(broker->cache);
    if (keep) {
        catalog_leave(broker->catalog);
        catalog_destroy(broker->catalog);
        ledger_settle();
        struct ledger_header *header = &broker->ledger.ledger->header;
        /* No read is under way. A start that resumed nothing leaves the flag as it was. */
        if (broker->settled)
            header->clean = LEDGER_CLEAN;
    }
    ledger_close(&broker->ledger);
    fdstore_close(&broker->fdstore, false);
    if (broker->signal_source.fd >= 0)
        close(broker->signal_source.fd);
    loop_destroy(broker->loop);
    idle_fini(&broker->idle, &broker->options, &broker->listener);
}

/* ---- running --------------------------------------------------------------------------------- */

/* Loads get as much of the loop's time as messages do: one dispatch hashes at most 1 MiB, and with a
 * flood of messages between two dispatches a large chunk would wait for its digest. */
static bool dispatch(struct broker *broker, uint64_t spent_ns)
{
    uint64_t began_ns = loop_now();
    uint64_t now_ns = began_ns;
    bool more;
    do {
        more = cache_dispatch(broker->cache, now_ns);
        now_ns = loop_now();
    } while (more && now_ns - began_ns < spent_ns);
    return more;
}

static void run(struct broker *broker)
{
    bool more = true;
    while (!broker->stopping) {
        uint64_t began_ns = loop_now();
        loop_turn(broker->loop, more ? 0 : cache_timeout_ms(broker->cache, began_ns));
        /* the length of a turn that may have waited says nothing about work */
        more = dispatch(broker, more ? loop_now() - began_ns : 0);
        more = verify_step(&broker->control) || more;
        sessions_reap(&broker->sessions);
    }
}

void broker_init(struct broker *broker, struct settings *settings)
{
    *broker = (struct broker){.options = settings->options,
                              .settings = settings,
                              .listener = {.fd = -1},
                              .ledger = {.fd = -1},
                              .signal_source = {.fd = -1},
                              .control = {.started_ns = loop_now()}};
    idle_init(&broker->idle);
    sessions_init(&broker->sessions);
    control_init(&broker->control);
}

int broker_run(struct settings *settings, struct swi_error *error)
{
    struct broker broker;
    broker_init(&broker, settings);
    int result = broker_start(&broker, error);
    if (result == 0) {
        char size[32];
        swi_size_format(cache_budget(broker.cache), size, sizeof size);
        const struct log_about about = {.message_id = LOG_ID_SERVING};
        uint32_t models = catalog_served(broker.catalog);
        log_line(LOG_LEVEL_INFO, &about, "serving %u model%s from %s with %s of cache on %s",
                 models, models == 1 ? "" : "s",
                 broker.catalog->path ? broker.catalog->path : "Redis", size, broker.listener.path);
        service_ready(&broker.service, &broker.sessions);
        run(&broker);
        service_stopping(&broker.service);
        log_info("stopping");
    }
    broker_stop(&broker);
    return result;
}
