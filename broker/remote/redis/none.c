/* SPDX-License-Identifier: MIT */
/* The Redis tier of a build without hiredis: it says so to whoever asks for it. */
#include <assert.h>

#include "remote/redis/models.h"
#include "remote/redis/tier.h"

int redis_tier_check(const struct redis_options *options, struct swi_error *error)
{
    (void)options;
    return swi_fail(error, SW_EUNSUPPORTED,
                    "this swbrokerd was built without its Redis tier; install libhiredis-dev and "
                    "build again");
}

int redis_tier_create(const struct redis_options *options, struct loop *loop, struct cache *cache,
                      struct redis_tier **ret, struct swi_error *error)
{
    (void)loop;
    (void)cache;
    (void)ret;
    return redis_tier_check(options, error);
}

void redis_tier_destroy(struct redis_tier *tier)
{
    assert(!tier);
    (void)tier;
}

void redis_tier_get_stats(struct redis_tier *tier, struct redis_tier_stats *ret)
{
    assert(tier && "none was made");
    (void)tier;
    (void)ret;
}

int redis_models_check(const char *names, struct swi_error *error)
{
    (void)names;
    return redis_tier_check(NULL, error);
}

int redis_models_create(const char *names, struct redis_tier *tier, struct catalog *catalog,
                        struct loop *loop, struct redis_models **ret, struct swi_error *error)
{
    (void)tier;
    (void)catalog;
    (void)loop;
    (void)ret;
    return redis_models_check(names, error);
}

void redis_models_destroy(struct redis_models *models)
{
    assert(!models);
    (void)models;
}

void redis_models_ask(struct redis_models *models)
{
    assert(!models);
    (void)models;
}
