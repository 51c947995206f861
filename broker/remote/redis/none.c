/* SPDX-License-Identifier: MIT */
/* The Redis tier of a build without hiredis: an error. */
#include "remote/redis/tier.h"

int redis_tier_check(const struct redis_options *options, struct swi_error *error)
{
    (void)options;
    return swi_fail(error, SW_EUNSUPPORTED,
                    "this swbrokerd was built without Redis support; install libhiredis-dev and "
                    "build again");
}

int redis_tier_create(const struct redis_options *options, struct loop *loop, struct cache *cache,
                      struct remote **ret, struct swi_error *error)
{
    (void)loop;
    (void)cache;
    (void)ret;
    return redis_tier_check(options, error);
}
