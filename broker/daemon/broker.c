/* SPDX-License-Identifier: MIT */
/* The daemon as a whole: puts the parts together, runs the loop, takes them apart. */
#include "daemon/broker.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/log.h"
#include "core/size.h"
#include "daemon/reload.h"
#include "daemon/takeover.h"
#include "operator/pins.h"
#include "operator/verify.h"
#include "session/session.h"
#include "settings/settings.h"

#define CHECK_EVERY_NS     (LOOP_NS_PER_S / 2)
#define TRACE_EVERY_NS     (10 * LOOP_NS_PER_MS)
#define FILES_A_SESSION    2u   /* its socket and its process */
#define FILES_FOR_THE_REST 256u /* directories, reads, the loop's own */

int broker_reload(struct broker *broker, struct catalog_changes *ret, struct swi_error *error)
{
    service_reloading(broker);
    int result = catalog_scan(broker->catalog, ret, error);
    if (broker->redis_models)
        redis_models_ask(broker->redis_models);
    service_reloaded(broker);
    if (result < 0)
        log_error("%s", error->text);
    else
        log_info("catalog: %u models added, %u replaced, %u removed, %u unchanged, %u bad",
                 ret->added, ret->replaced, ret->removed, ret->unchanged, ret->bad);
    broker->pins_ended = pins_follow(broker); /* a scan that failed may have replaced some */
    return result;
}

/* ---- signals, timers, the cache -------------------------------------------------------------- */

static void hang_up(struct broker *broker)
{
    struct swi_error error = {0};
    struct catalog_changes changes;
    json_t *report = NULL;
    if (reload_settings(broker, &report, &error) == 0)
        (void)broker_reload(broker, &changes, &error);
    json_decref(report);
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
    log_info("all of the cache is reserved now");
}

/* Once it has lived on, and looked at every byte of what it took over: not before, or what ends
 * those who look at it would do so for ever. */
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
    sessions_check(broker);
    idle_check(broker, now_ns);
    log_tell_left_out();
    (void)pins_follow(broker);
    loop_arm(broker->loop, timer, now_ns + CHECK_EVERY_NS);
}

static void trace_due(struct loop_timer *timer, uint64_t now_ns)
{
    struct broker *broker = LOOP_OWNER(timer, struct broker, trace_timer);
    trace_budget(broker->trace, now_ns);
    for (uint32_t i = 0; i < SWI_SESSIONS; i++)
        if (broker->sessions[i])
            trace_drain(broker->trace, i, broker->sessions[i]->page, now_ns);
    if (trace_alive(broker->trace))
        loop_arm(broker->loop, timer, now_ns + TRACE_EVERY_NS);
}

/* From now on: what the pages still hold is another trace's, perhaps another broker's. */
static void follow_trace(struct broker *broker)
{
    for (uint32_t i = 0; i < SWI_SESSIONS; i++)
        if (broker->sessions[i])
            trace_skip(broker->trace, i, broker->sessions[i]->page);
    broker->trace_timer.fire = trace_due;
    loop_arm(broker->loop, &broker->trace_timer, loop_now() + TRACE_EVERY_NS);
}

static int start_trace(struct broker *broker, struct swi_error *error)
{
    if (!broker->options.trace_path)
        return 0;
    int result =
        trace_open(broker->options.trace_path, broker->cache, loop_now(), &broker->trace, error);
    if (result == 0)
        follow_trace(broker);
    return result;
}

int broker_trace_start(struct broker *broker, const char *path, bool overwrite,
                       struct swi_error *error)
{
    if (broker->trace && trace_alive(broker->trace))
        return swi_fail(error, -EBUSY,
                        "a trace is being recorded already, to %.200s; swctl trace "
                        "stop ends it",
                        trace_get_status(broker->trace).path);
    struct trace *trace = NULL;
    int result = trace_open_safely(path, overwrite, broker->cache, loop_now(), &trace, error);
    if (result < 0)
        return result;
    broker_trace_stop(broker); /* one that has ended by itself */
    broker->trace = trace;
    follow_trace(broker);
    log_info("recording a trace to %s", path);
    return 0;
}

void broker_trace_stop(struct broker *broker)
{
    if (!broker->trace)
        return;
    loop_disarm(broker->loop, &broker->trace_timer);
    for (uint32_t i = 0; trace_alive(broker->trace) && i < SWI_SESSIONS; i++)
        if (broker->sessions[i])
            trace_drain(broker->trace, i, broker->sessions[i]->page, loop_now());
    trace_close(broker->trace, loop_now());
    broker->trace = NULL;
}

/* Its descriptor only ends the wait: every turn calls cache_dispatch. */
static void cache_ready(struct loop_source *source, uint32_t events)
{
    (void)source;
    (void)events;
}

/* ---- start ----------------------------------------------------------------------------------- */

/* Before any thread starts, so that all of them leave signals to the loop. */
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
        return swi_fail(error, -errno, "cannot make a signal descriptor: %s", sw_strerror(-errno));
    broker->signal_source = (struct loop_source){.ready = signal_ready, .fd = fd};
    return 0;
}

/* Sessions cost descriptors; the soft limit is often 1024 where the hard one is far higher. */
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
            "the limit of %llu open files is low for %u sessions; raise it (LimitNOFILE) or "
            "lower --max-sessions",
            (unsigned long long)limit.rlim_max, broker->options.max_sessions);
}

/* Clients can ask for a bad chunk as often as they like. */
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

static int start_cache(struct broker *broker, struct swi_error *error)
{
    const struct broker_options *options = &broker->options;
    const struct cache_options cache_options = {.budget_bytes = options->cache_bytes,
                                                .max_bytes = options->max_cache_bytes,
                                                .policy = options->policy,
                                                .engine = options->engine,
                                                .failed = load_failed,
                                                .session_bytes = options->max_pinned_bytes};
    int result = adopt_memory(broker, &cache_options, error);
    if (result < 0)
        return result;
    broker->catalog->cache = broker->cache;
    broker->cache_source =
        (struct loop_source){.ready = cache_ready, .fd = cache_poll_fd(broker->cache)};
    return loop_add(broker->loop, &broker->cache_source, EPOLLIN);
}

/* What there is to serve, and what of it an earlier broker served already. */
static int start_catalog(struct broker *broker, struct swi_error *error)
{
    struct catalog_changes changes;
    int result = broker_reload(broker, &changes, error);
    if (result == 0 && !broker->settled)
        result = adopt_resume(broker, error);
    return result;
}

int broker_check(const struct broker_options *options, struct swi_error *error)
{
    if (options->models && !options->redis.url)
        return swi_fail(error, -EINVAL, "--models needs a --redis-url to have them from");
    if (options->models && options->redis.mode == REDIS_WRITE_ONLY)
        return swi_fail(error, -EINVAL, "--models does not go with --redis-mode write-only");
    int result = options->redis.url ? redis_tier_check(&options->redis, error) : 0;
    if (result == 0 && options->models)
        result = redis_models_check(options->models, error);
    return result;
}

static int start_redis(struct broker *broker, struct swi_error *error)
{
    const struct redis_options *options = &broker->options.redis;
    if (!options->url)
        return 0;
    int result = redis_tier_create(options, broker->loop, broker->cache, &broker->redis, error);
    if (result == 0 && broker->options.models)
        result = redis_models_create(broker->options.models, broker->redis, broker->catalog,
                                     broker->loop, &broker->redis_models, error);
    return result;
}

/* The cheap checks first: a second broker on the same socket ends before it reserves an arena. */
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
        result = adopt_listener(broker, error);
    if (result == 0)
        result = start_cache(broker, error);
    if (result == 0)
        result = start_redis(broker, error);
    if (result == 0)
        result = start_catalog(broker, error);
    if (result == 0)
        result = start_trace(broker, error);
    if (result == 0)
        result = sessions_start(broker, error);
    if (result < 0)
        return result;
    fdstore_close(&broker->fdstore, true);
    broker->check_timer.fire = check_due;
    loop_arm(broker->loop, &broker->check_timer, loop_now() + CHECK_EVERY_NS);
    return 0;
}

/* Whatever of it was started, in the opposite order. Where the service manager keeps it the arena
 * stays as it is, with those who use it. */
static void broker_stop(struct broker *broker)
{
    bool keep = broker->fdstore.active && broker->cache;
    if (keep)
        cache_leave(broker->cache);
    if (broker->loop) {
        sessions_stop(broker, keep);
        loop_disarm(broker->loop, &broker->check_timer);
        loop_disarm(broker->loop, &broker->trace_timer);
        loop_remove(broker->loop, &broker->cache_source);
        loop_remove(broker->loop, &broker->signal_source);
    }
    listener_close(&broker->listener, keep || broker->left_alone);
    trace_close(broker->trace, loop_now());
    redis_models_destroy(broker->redis_models);
    redis_tier_destroy(broker->redis);
    pins_end(broker);
    if (!keep)
        catalog_destroy(broker->catalog);
    if (broker->cache)
        cache_destroy(broker->cache);
    if (keep) {
        catalog_leave(broker->catalog);
        catalog_destroy(broker->catalog);
        ledger_settle();
        struct ledger_header *header = &broker->ledger.ledger->header;
        /* Every read has come back. A start that resumed nothing leaves it as clean as it was. */
        if (broker->settled)
            header->clean = LEDGER_CLEAN;
    }
    ledger_close(&broker->ledger);
    fdstore_close(&broker->fdstore, false);
    if (broker->signal_source.fd >= 0)
        close(broker->signal_source.fd);
    loop_destroy(broker->loop);
    idle_fini(broker);
}

/* ---- running --------------------------------------------------------------------------------- */

/* Loads get as much of the loop's time as messages do: one dispatch hashes at most 1 MiB, and a
 * flood of messages between any two of them would make a large chunk wait for its digest. */
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
        /* a turn that may have waited says nothing about work */
        more = dispatch(broker, more ? loop_now() - began_ns : 0);
        more = verify_step(broker) || more;
        sessions_reap(broker);
    }
}

int broker_run(struct settings *settings, struct swi_error *error)
{
    const struct broker_options *options = &settings->options;
    struct broker broker = {.options = *options,
                            .settings = settings,
                            .listener = {.fd = -1},
                            .ledger = {.fd = -1},
                            .signal_source = {.fd = -1},
                            .started_ns = loop_now()};
    idle_init(&broker.idle);
    TAILQ_INIT(&broker.connections);
    TAILQ_INIT(&broker.doomed);
    TAILQ_INIT(&broker.wheres);
    TAILQ_INIT(&broker.pins);
    TAILQ_INIT(&broker.verifies);
    int result = broker_start(&broker, error);
    if (result == 0) {
        char size[32];
        swi_size_format(cache_budget(broker.cache), size, sizeof size);
        const struct log_about about = {.message_id = LOG_ID_SERVING};
        log_line(LOG_LEVEL_INFO, &about, "serving %u models from %s with %s of cache on %s",
                 broker.catalog->count, broker.catalog->path ? broker.catalog->path : "Redis", size,
                 broker.listener.path);
        service_ready(&broker);
        run(&broker);
        service_stopping(&broker);
        log_info("stopping");
    }
    broker_stop(&broker);
    return result;
}
