/* SPDX-License-Identifier: MIT */
/* The tier: puts its parts together. */
#include "remote/redis/tier.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "remote/redis/fetch.h"
#include "remote/redis/model.h"
#include "remote/redis/url.h"
#include "remote/redis/writeback.h"

struct tier {
    struct remote remote;
    struct loop *loop;
    struct cache *cache;
    uint64_t timeout_ns;
    struct redis_tls_context *tls; /* NULL: without */
    char prefix[REDIS_PREFIX_MAX + 1];
    char ttl[16];              /* seconds; empty: none */
    struct remote_stats stats; /* the counters; the rest is filled on request */
    struct redis_errors errors;
    struct redis_fetches fetches;
    struct redis_writeback writeback;
    struct redis_models models;
};

/* ---- the cache's remote ---------------------------------------------------------------------- */

static enum cache_remote_state state(void *context, struct swi_error *why)
{
    return redis_fetch_state(&((struct tier *)context)->fetches, why);
}

static void fetch(void *context, struct load *load)
{
    redis_fetch_start(&((struct tier *)context)->fetches, load);
}

static void cancel(void *context, struct load *load)
{
    redis_fetch_cancel(&((struct tier *)context)->fetches, load);
}

static bool over(void *context, struct load *load)
{
    return redis_fetch_over(&((struct tier *)context)->fetches, load);
}

static bool turn(void *context)
{
    return redis_fetch_turn(&((struct tier *)context)->fetches);
}

static void was_read(void *context, uint32_t id, const struct cache_chunk *chunk, bool wrong)
{
    redis_writeback_note(&((struct tier *)context)->writeback, id, chunk, wrong);
}

/* ---- a remote -------------------------------------------------------------------------------- */

static struct tier *tier_of(struct remote *remote)
{
    return LOOP_OWNER(remote, struct tier, remote);
}

/* The connection that is asked; a tier that is only written to has no other. */
static const struct redis_port *asking_port(const struct tier *tier)
{
    return tier->fetches.port.link ? &tier->fetches.port : &tier->writeback.port;
}

static const char *unreadable(struct remote *remote)
{
    struct redis_link *link = asking_port(tier_of(remote))->link;
    return redis_link_usable(link) ? NULL : redis_link_problem(link);
}

static const char *unwritable(struct remote *remote)
{
    struct tier *tier = tier_of(remote);
    struct redis_link *link = tier->writeback.port.link;
    const char *paused = redis_writeback_paused(&tier->writeback);
    if (!link)
        return "--redis-mode read-only: Redis is not written to";
    return paused ? paused : redis_link_usable(link) ? NULL : redis_link_problem(link);
}

static void end_pause(struct remote *remote)
{
    redis_writeback_end_pause(&tier_of(remote)->writeback);
}

/* A remote_write under way. */
struct write_work {
    struct redis_writing writing;
    struct remote_write *write;
};

static const uint8_t *write_stripe(struct redis_writing *writing, uint64_t offset)
{
    struct remote_write *write = LOOP_OWNER(writing, struct write_work, writing)->write;
    return write->bytes_at(write, offset);
}

static void write_over(struct redis_writing *writing, int status, const char *why)
{
    struct write_work *work = LOOP_OWNER(writing, struct write_work, writing);
    struct remote_job *job = &work->write->job;
    free(work);
    job->work = NULL;
    job->over(job, status == -EAGAIN ? SW_ELOAD : status, why);
}

static void write_cancel(struct remote_job *job)
{
    struct write_work *work = job->work;
    redis_writeback_cancel(&work->writing);
    free(work);
    job->work = NULL;
}

static void write_chunk(struct remote *remote, struct remote_write *write)
{
    struct write_work *work = calloc(1, sizeof *work);
    if (!work) {
        write->job.over(&write->job, -ENOMEM, "out of memory");
        return;
    }
    *work = (struct write_work){.writing = {.digest = write->digest,
                                            .bytes = write->bytes,
                                            .anyway = true,
                                            .stripe = write_stripe,
                                            .over = write_over},
                                .write = write};
    write->job.work = work;
    write->job.cancel = write_cancel;
    redis_writeback_write(&tier_of(remote)->writeback, &work->writing);
}

static void publish(struct remote *remote, struct remote_publish *publish)
{
    struct tier *tier = tier_of(remote);
    redis_model_publish(&tier->models, &tier->writeback.port, publish);
}

static void find(struct remote *remote, struct remote_find *find)
{
    struct tier *tier = tier_of(remote);
    redis_model_find(&tier->models, &tier->fetches.port, find);
}

static void ask(struct remote *remote, struct remote_ask *ask)
{
    struct tier *tier = tier_of(remote);
    redis_model_ask(&tier->models, asking_port(tier), ask);
}

static void get_stats(struct remote *remote, struct remote_stats *ret)
{
    const struct tier *tier = tier_of(remote);
    const struct redis_link *reads = tier->fetches.port.link, *writes = tier->writeback.port.link;
    *ret = tier->stats;
    ret->url = redis_link_name(reads ? reads : writes);
    ret->out_of_memory = tier->errors.out_of_memory;
    ret->read_only = tier->errors.read_only;
    ret->other_errors = tier->errors.other;
    ret->writes_queued = tier->writeback.queue_count;
    ret->writes_paused = redis_writeback_paused(&tier->writeback) != NULL;
    ret->reads.breaker = ret->writes.breaker = breaker_state_name(BREAKER_CLOSED);
    if (reads)
        ret->reads = redis_link_stats(reads);
    if (writes)
        ret->writes = redis_link_stats(writes);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void reads_up(void *owner)
{
    struct remote *remote = &((struct tier *)owner)->remote;
    if (remote->up) /* the cache asks for the state at each load */
        remote->up(remote->up_owner);
}

static void writes_up(void *owner)
{
    redis_writeback_go_on(&((struct tier *)owner)->writeback);
}

static void writes_down(void *owner)
{
    redis_writeback_down(&((struct tier *)owner)->writeback);
}

static void model_ended(struct redis_models *models)
{
    redis_writeback_go_on(&LOOP_OWNER(models, struct tier, models)->writeback);
}

static void destroy(struct remote *remote)
{
    struct tier *tier = tier_of(remote);
    cache_set_remote(tier->cache, NULL);
    redis_writeback_stop(&tier->writeback);
    redis_link_destroy(tier->fetches.port.link);
    redis_link_destroy(tier->writeback.port.link);
    redis_fetches_fini(&tier->fetches);
    redis_tls_context_destroy(tier->tls);
    free(tier);
}

static int parse(const struct redis_options *options, struct redis_address *ret,
                 struct swi_error *error)
{
    int result = redis_url_parse(options->url, ret, error);
    if (result < 0)
        return result;
    const struct redis_tls_files *files = &options->tls;
    if (ret->transport != REDIS_TLS && (files->ca || files->cert || files->key))
        return swi_fail(error, -EINVAL,
                        "--redis-ca, --redis-cert and --redis-key require a rediss:// URL");
    if (!redis_prefix_ok(options->prefix))
        return swi_fail(error, -EINVAL,
                        "the Redis prefix must be 1 to %u printable characters without spaces",
                        REDIS_PREFIX_MAX);
    return 0;
}

int redis_tier_check(const struct redis_options *options, struct swi_error *error)
{
    struct redis_address address;
    struct redis_tls_context *tls = NULL;
    int result = parse(options, &address, error);
    if (result == 0 && address.transport == REDIS_TLS)
        result = redis_tls_context_create(&options->tls, &tls, error);
    redis_tls_context_destroy(tls);
    explicit_bzero(&address, sizeof address);
    return result;
}

static int open_link(struct tier *tier, const struct redis_address *address, bool reads,
                     struct swi_error *error)
{
    const struct redis_link_options options = {.address = address,
                                               .timeout_ns = tier->timeout_ns,
                                               .purpose = reads ? "reads" : "writes",
                                               .up = reads ? reads_up : writes_up,
                                               .down = reads ? NULL : writes_down,
                                               .owner = tier,
                                               .tls = tier->tls};
    struct redis_port *port = reads ? &tier->fetches.port : &tier->writeback.port;
    return redis_link_create(tier->loop, &options, &port->link, error);
}

static void init(struct tier *tier, const struct redis_options *options, struct loop *loop,
                 struct cache *cache)
{
    static const struct remote_ops ops = {.destroy = destroy,
                                          .get_stats = get_stats,
                                          .unreadable = unreadable,
                                          .unwritable = unwritable,
                                          .end_pause = end_pause,
                                          .write = write_chunk,
                                          .publish = publish,
                                          .find = find,
                                          .ask = ask};
    tier->remote = (struct remote){.ops = &ops, .reads = options->reads, .writes = options->writes};
    tier->loop = loop;
    tier->cache = cache;
    tier->timeout_ns = options->timeout_ms * LOOP_NS_PER_MS;
    (void)snprintf(tier->prefix, sizeof tier->prefix, "%s", options->prefix);
    if (options->ttl_s > 0)
        (void)snprintf(tier->ttl, sizeof tier->ttl, "%u", options->ttl_s);
    tier->fetches = (struct redis_fetches){
        .port = {.errors = &tier->errors}, .prefix = tier->prefix, .stats = &tier->stats};
    tier->writeback = (struct redis_writeback){.port = {.errors = &tier->errors, .writes = true},
                                               .loop = loop,
                                               .cache = cache,
                                               .prefix = tier->prefix,
                                               .ttl = tier->ttl,
                                               .stats = &tier->stats};
    tier->models =
        (struct redis_models){.prefix = tier->prefix, .ttl = tier->ttl, .ended = model_ended};
    redis_fetches_init(&tier->fetches);
    redis_writeback_init(&tier->writeback);
}

int redis_tier_create(const struct redis_options *options, struct loop *loop, struct cache *cache,
                      struct remote **ret, struct swi_error *error)
{
    struct redis_address address;
    int result = parse(options, &address, error);
    if (result < 0)
        return result;
    struct tier *tier = calloc(1, sizeof *tier);
    if (!tier)
        return swi_fail(error, -ENOMEM, "out of memory for the Redis tier");
    init(tier, options, loop, cache);
    if (address.transport == REDIS_TLS)
        result = redis_tls_context_create(&options->tls, &tier->tls, error);
    if (result == 0 && options->reads)
        result = open_link(tier, &address, true, error);
    if (result == 0 && options->writes)
        result = open_link(tier, &address, false, error);
    explicit_bzero(&address, sizeof address);
    if (result < 0) {
        destroy(&tier->remote);
        return result;
    }
    const struct cache_remote remote = {.context = tier,
                                        .first = options->first,
                                        .state = state,
                                        .fetch = fetch,
                                        .cancel = cancel,
                                        .over = over,
                                        .turn = turn,
                                        .was_read = was_read};
    cache_set_remote(cache, &remote);
    *ret = &tier->remote;
    return 0;
}
