/* SPDX-License-Identifier: MIT */
/* See fit.h. */
#include "daemon/fit.h"

#include "base/log.h"
#include "core/size.h"

uint64_t fit_bytes(const struct broker *broker, const struct broker_options *options)
{
    if (options->cache_bytes)
        return options->cache_bytes;
    uint64_t most = options->max_cache_bytes < OPTIONS_FIT_MAX_BYTES ? options->max_cache_bytes
                                                                     : OPTIONS_FIT_MAX_BYTES;
    if (options->models) /* from a remote, of any size */
        return most;
    uint64_t bytes = 2 * catalog_measure(broker->catalog);
    if (bytes < OPTIONS_FIT_LEAST_BYTES)
        bytes = OPTIONS_FIT_LEAST_BYTES;
    return bytes < most ? bytes : most;
}

void fit_grow(void *context)
{
    struct broker *broker = context;
    uint64_t now_bytes = broker->cache ? cache_budget(broker->cache) : 0;
    if (broker->options.cache_bytes || !broker->settled || now_bytes != broker->fitted_bytes)
        return;
    uint64_t bytes = fit_bytes(broker, &broker->options);
    if (bytes <= now_bytes)
        return;
    struct swi_error error = {0};
    char text[32];
    swi_size_format(bytes, text, sizeof text);
    if (cache_resize(broker->cache, bytes, &error) < 0)
        log_warning("the cache cannot grow to %s for the models: %s", text, error.text);
    else
        log_info("the cache is now %s, for the models", text);
    broker->fitted_bytes = cache_budget(broker->cache);
}
