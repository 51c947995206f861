/* SPDX-License-Identifier: MIT */
/* The tier's life and figures. */
#include "remote/redis/tier.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "remote/redis/tier_internal.h"
#include "remote/redis/url.h"

static int check(const struct redis_options *options, struct redis_address *ret,
                 struct swi_error *error)
{
    int result = redis_url_parse(options->url, ret, error);
    if (result < 0)
        return result;
    const struct redis_tls_files *files = &options->tls;
    if (ret->transport != REDIS_TLS && (files->ca || files->cert || files->key))
        return swi_fail(error, -EINVAL,
                        "--redis-ca, --redis-cert and --redis-key are for a rediss:// URL");
    if (!redis_prefix_ok(options->prefix))
        return swi_fail(error, -EINVAL,
                        "the Redis prefix is 1 to %u printable characters without spaces",
                        REDIS_PREFIX_MAX);
    return 0;
}

int redis_tier_check(const struct redis_options *options, struct swi_error *error)
{
    struct redis_address address;
    struct redis_tls_context *tls = NULL;
    int result = check(options, &address, error);
    if (result == 0 && address.transport == REDIS_TLS)
        result = redis_tls_context_create(&options->tls, &tls, error);
    redis_tls_context_destroy(tls);
    explicit_bzero(&address, sizeof address);
    return result;
}

static void reads_up(void *owner)
{
    struct redis_tier *tier = owner;
    if (tier->up) /* the cache asks for the state at each load */
        tier->up(tier->up_owner);
}

static void writes_up(void *owner)
{
    redis_tier_write_more(owner);
}

static void writes_down(void *owner)
{
    redis_tier_writes_down(owner);
}

void redis_tier_on_up(struct redis_tier *tier, void (*up)(void *owner), void *owner)
{
    tier->up = up;
    tier->up_owner = owner;
}

static int open_link(struct redis_tier *tier, const struct redis_address *address, bool reads,
                     struct swi_error *error)
{
    const struct redis_link_options options = {.address = address,
                                               .timeout_ns = tier->timeout_ns,
                                               .purpose = reads ? "reads" : "writes",
                                               .up = reads ? reads_up : writes_up,
                                               .down = reads ? NULL : writes_down,
                                               .owner = tier,
                                               .tls = tier->tls};
    return redis_link_create(tier->loop, &options, reads ? &tier->reads : &tier->writes, error);
}

int redis_tier_create(const struct redis_options *options, struct loop *loop, struct cache *cache,
                      struct redis_tier **ret, struct swi_error *error)
{
    struct redis_address address;
    int result = check(options, &address, error);
    if (result < 0)
        return result;
    struct redis_tier *tier = calloc(1, sizeof *tier);
    if (!tier)
        return swi_fail(error, -ENOMEM, "out of memory for the Redis tier");
    tier->loop = loop;
    tier->cache = cache;
    tier->pause_timer.fire = redis_tier_pause_over;
    tier->timeout_ns = options->timeout_ms * LOOP_NS_PER_MS;
    TAILQ_INIT(&tier->fetches);
    TAILQ_INIT(&tier->writings);
    (void)snprintf(tier->prefix, sizeof tier->prefix, "%s", options->prefix);
    if (options->ttl_s > 0)
        (void)snprintf(tier->ttl, sizeof tier->ttl, "%u", options->ttl_s);
    if (address.transport == REDIS_TLS)
        result = redis_tls_context_create(&options->tls, &tier->tls, error);
    if (result == 0 && options->reads)
        result = open_link(tier, &address, true, error);
    if (result == 0 && options->writes)
        result = open_link(tier, &address, false, error);
    explicit_bzero(&address, sizeof address);
    if (result < 0) {
        redis_tier_destroy(tier);
        return result;
    }
    const struct cache_remote remote = {.context = tier,
                                        .first = options->first,
                                        .state = redis_tier_state,
                                        .fetch = redis_tier_fetch,
                                        .cancel = redis_tier_cancel,
                                        .over = redis_tier_over,
                                        .turn = redis_tier_turn,
                                        .was_read = redis_tier_was_read};
    cache_set_remote(cache, &remote);
    *ret = tier;
    return 0;
}

void redis_tier_destroy(struct redis_tier *tier)
{
    if (!tier)
        return;
    cache_set_remote(tier->cache, NULL);
    redis_tier_stop_writing(tier);
    redis_link_destroy(tier->reads);
    redis_link_destroy(tier->writes);
    redis_tier_stop_fetching(tier);
    redis_tls_context_destroy(tier->tls);
    free(tier);
}

/* ---- figures ----------------------------------------------------------------------------------
 */

static bool begins_with(const char *text, const char *word)
{
    size_t length = strlen(word);
    return strncmp(text, word, length) == 0 && text[length] <= ' ';
}

enum redis_about redis_tier_count_error(struct redis_tier *tier, const struct redis_reply *reply)
{
    if (begins_with(reply->text, "OOM"))
        tier->stats.out_of_memory++;
    else if (begins_with(reply->text, "READONLY"))
        tier->stats.read_only++;
    else
        tier->stats.other_errors++;
    return redis_error_about(reply->text);
}

/* That it takes no writes stops writing by itself (remote/redis/writeback.c), without the breaker. */
bool redis_tier_is_fault(const struct redis_tier *tier, const struct redis_link *link,
                         enum redis_about about)
{
    return about == REDIS_ABOUT_SERVER || (about == REDIS_ABOUT_WRITES && link != tier->writes);
}

void redis_tier_tell_error(struct redis_tier *tier, struct redis_link *link, enum redis_about about,
                           const char *text)
{
    if (redis_tier_is_fault(tier, link, about))
        redis_link_disappointed(link, text);
    else
        redis_link_succeeded(link);
}

static void describe_link(struct redis_link *link, struct redis_connection_stats *ret)
{
    if (!link)
        return;
    const struct redis_link_stats *stats = redis_link_stats(link);
    const struct breaker *breaker = redis_link_breaker(link);
    *ret = (struct redis_connection_stats){.used = true,
                                           .up = redis_link_is_up(link),
                                           .breaker = breaker_state_name(breaker->state),
                                           .breaker_opened = breaker->opened,
                                           .connects = stats->connects,
                                           .connect_failures = stats->connect_failures,
                                           .refused = stats->refused,
                                           .timeouts = stats->timeouts,
                                           .closed = stats->closed,
                                           .garbage = stats->garbage};
}

void redis_tier_get_stats(struct redis_tier *tier, struct redis_tier_stats *ret)
{
    *ret = tier->stats;
    ret->url = redis_link_name(tier->reads ? tier->reads : tier->writes);
    ret->writes_queued = tier->queue_count;
    ret->writes_paused = loop_now() < tier->paused_until_ns;
    ret->reads.breaker = ret->writes.breaker = breaker_state_name(BREAKER_CLOSED);
    describe_link(tier->reads, &ret->reads);
    describe_link(tier->writes, &ret->writes);
}
