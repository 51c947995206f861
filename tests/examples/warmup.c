/* SPDX-License-Identifier: MIT */
/* Warm-up, prefetch and a bounded component cache, and the counters that show what they do.
 *
 *     example-warmup MODEL [COMPONENTS]
 *
 * Loads every layer, runs a pass, shrinks the component cache to COMPONENTS (default 2), runs
 * another, and prints the counters after each. See sw-caching(7). */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <sw/sw.h>

static int show(const char *when, sw_client *client, sw_encoder *encoder)
{
    struct sw_client_stats leases = SW_INIT(struct sw_client_stats);
    struct sw_inference_stats passes = SW_INIT(struct sw_inference_stats);
    struct sw_cache_info cache = SW_INIT(struct sw_cache_info);
    int result = sw_client_get_stats(client, &leases);
    if (result == 0)
        result = sw_encoder_get_inference_stats(encoder, &passes);
    if (result == 0)
        result = sw_encoder_get_cache_info(encoder, &cache);
    if (result == 0)
        printf("%s: passes %" PRIu64 ", leases %" PRIu64 " hits %" PRIu64 " misses, "
               "arena hit rate %.2f, cache %" PRIu32 "/%" PRIu32 " hits %" PRIu64 " misses %" PRIu64
               " evictions %" PRIu64 "\n",
               when, passes.passes, leases.hits, leases.misses, passes.arena_hit_rate, cache.count,
               cache.capacity, cache.hits, cache.misses, cache.evictions);
    return result;
}

static int pass(sw_encoder *encoder)
{
    const int32_t ids[] = {2, 5, 6, 3};
    const uint32_t length = 4;
    struct sw_encoder_config config = SW_INIT(struct sw_encoder_config);
    struct sw_encoder_batch batch = SW_INIT(struct sw_encoder_batch);
    batch.sequences = 1, batch.lengths = &length, batch.ids = ids;
    int result = sw_encoder_get_config(encoder, &config);
    if (result < 0)
        return result;
    float *vector = malloc(config.embedding_size * sizeof *vector);
    result = vector ? sw_encoder_embed(encoder, &batch, SW_POOLING_DEFAULT, SW_NORMALIZE_DEFAULT,
                                       vector, config.embedding_size)
                    : -ENOMEM;
    free(vector);
    return result;
}

static int demonstrate(sw_client *client, sw_encoder *encoder, uint32_t components)
{
    struct sw_encoder_config config = SW_INIT(struct sw_encoder_config);
    uint32_t layer = 0;
    int result = sw_encoder_get_config(encoder, &config);
    /* Blocks until each layer has been loaded once: after this the first request is no slower than
     * the second. */
    for (; result == 0 && layer < config.layers; layer++)
        result = sw_encoder_warmup(encoder, &layer, 1);
    if (result == 0)
        result = show("warm", client, encoder);
    if (result == 0)
        result = pass(encoder);
    if (result == 0)
        result = show("one pass", client, encoder);
    /* A smaller component cache saves this process some heap and costs parsing at each use. The
     * weights stay in the arena: that is the broker's decision. */
    if (result == 0)
        result = sw_encoder_set_cache_size(encoder, components);
    if (result == 0)
        result = sw_encoder_prefetch_next_layers(encoder, 0, 2); /* returns at once */
    if (result == 0)
        result = pass(encoder);
    return result < 0 ? result : show("bounded", client, encoder);
}

int main(int argc, char **argv)
{
    char why[512] = "";
    struct sw_client_options session = SW_INIT(struct sw_client_options);
    struct sw_encoder_options options = SW_INIT(struct sw_encoder_options);
    sw_client *client = NULL;
    sw_encoder *encoder = NULL;
    if (argc < 2) {
        fprintf(stderr, "Usage: warmup MODEL [COMPONENTS]\n");
        return 2;
    }
    session.error = options.error = why;
    session.error_size = options.error_size = sizeof why;
    int result = sw_client_open(&session, &client);
    if (result == 0)
        result = sw_encoder_open(client, argv[1], &options, &encoder);
    if (result == 0)
        result = demonstrate(client, encoder, argc > 2 ? (uint32_t)atoi(argv[2]) : 2);
    if (result < 0) {
        if (encoder)
            sw_encoder_message(encoder, why, sizeof why);
        fprintf(stderr, "warmup: %s\n", *why ? why : sw_strerror(result));
    }
    sw_encoder_close(encoder);
    sw_client_close(client);
    return result < 0;
}
