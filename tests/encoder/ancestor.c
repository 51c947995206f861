/* SPDX-License-Identifier: MIT */
/* The calls of the Python ancestor's client, each by the test of its name: what it promised is what
 * its counterpart here does, against a real broker.
 *
 *   ancestor                             libsw                          test
 *   StreamingBertModel(name, cache_size) sw_encoder_open                   streaming_bert_model
 *   forward_async(…)                     sw_encoder_submit, sw_executor_fd forward_async
 *     enable_prefetch                    request.no_prefetch            enable_prefetch
 *     prefetch_count                     request.prefetch_count         prefetch_count
 *   warmup(layers)                       sw_encoder_warmup                 warmup
 *   prefetch_next_layers(current, count) sw_encoder_prefetch_next_layers   prefetch_next_layers
 *   get_inference_stats()                sw_encoder_get_inference_stats    get_inference_stats
 *   get_cache_info()                     sw_encoder_get_cache_info         get_cache_info
 *   clear_cache()                        sw_encoder_clear_cache            clear_cache
 *   cache_size = n                       sw_encoder_set_cache_size, _bytes cache_size_setter
 *   callback on a low hit rate           the rates of get_inference_stats  get_inference_stats
 *   retries with back-off                reconnects by themselves       retries_with_back_off
 *   (waits without limit)                a deadline on every wait       a_deadline_on_every_wait
 *   (makes weights up)                   an error                       never_made_up_weights
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "encoder/fixture.h"

TestSuite(ancestor, .timeout = 100);

static bool is_resident(sw_encoder *encoder, const char *name)
{
    struct sw_component_info info = SW_INIT(struct sw_component_info);
    int found = sw_model_find(sw_encoder_model(encoder), name);
    cr_assert(found >= 0);
    cr_assert_eq(sw_model_component_info(sw_encoder_model(encoder), (uint32_t)found, &info), 0);
    return info.resident;
}

static struct sw_cache_info cache_of(sw_encoder *encoder)
{
    struct sw_cache_info info = SW_INIT(struct sw_cache_info);
    cr_assert_eq(sw_encoder_get_cache_info(encoder, &info), 0);
    return info;
}

static struct sw_inference_stats stats_of(sw_encoder *encoder)
{
    struct sw_inference_stats stats = SW_INIT(struct sw_inference_stats);
    cr_assert_eq(sw_encoder_get_inference_stats(encoder, &stats), 0);
    return stats;
}

static uint64_t prefetches(void)
{
    struct sw_client_stats stats = SW_INIT(struct sw_client_stats);
    cr_assert_eq(sw_client_get_stats(client, &stats), 0);
    return stats.prefetches;
}

static void run(sw_encoder *encoder)
{
    struct ask *ask = new_ask();
    must(encoder, sw_encoder_run(encoder, &ask->request));
    free(ask);
}

Test(ancestor, streaming_bert_model)
{
    serve_models(1, "4", "64M");
    struct sw_encoder_options options = SW_INIT(struct sw_encoder_options);
    sw_encoder *encoder = NULL;
    options.cache_size = 3;
    cr_assert_eq(sw_encoder_open(client, "m0", &options, &encoder), 0);
    cr_expect_eq(cache_of(encoder).capacity, 3);
    cr_expect_not(is_resident(encoder, "layer_0"), "opening loads nothing");
    run(encoder);
    cr_expect(is_resident(encoder, "layer_3"), "a pass streams every layer");
    cr_expect_eq(cache_of(encoder).count, 3);
    sw_encoder_close(encoder);
    stop_serving();
}

Test(ancestor, forward_async)
{
    serve_models(1, "4", "64M");
    sw_executor *executor = new_executor(1, 8);
    sw_encoder *encoder = open_model("m0", executor);
    static float hidden[2][8 * WIDTH], pooled[2][VECTORS * WIDTH];
    struct ask *pair[2] = {new_ask(), new_ask()};
    for (int i = 0; i < 2; i++) {
        pair[i]->request.work = SW_WORK_FORWARD;
        pair[i]->request.last_hidden_state = hidden[i];
        pair[i]->request.pooler_output = pooled[i];
    }
    must(encoder, sw_encoder_run(encoder, &pair[0]->request));
    submit(encoder, pair[1]);
    struct sw_completion completion = next_completion(executor);
    cr_expect_eq(completion.result, 0, "%s", completion.message);
    cr_expect_eq(completion.id, pair[1]->id);
    cr_expect_eq(completion.context, pair[1]);
    cr_expect(completion.run_ms > 0 && completion.queued_ms >= 0);
    cr_expect_str_empty(completion.message);
    cr_expect(!memcmp(hidden[0], hidden[1], sizeof hidden[0]), "the same bits as a blocking call");
    cr_expect(!memcmp(pooled[0], pooled[1], sizeof pooled[0]));
    expect_nothing_more(executor);
    free(pair[0]);
    free(pair[1]);
    sw_encoder_close(encoder);
    sw_executor_destroy(executor);
    stop_serving();
}

Test(ancestor, enable_prefetch)
{
    serve_models(1, "6", "64M");
    sw_encoder *encoder = open_model("m0", NULL);
    struct ask *ask = new_ask();
    uint64_t before = prefetches();
    ask->request.no_prefetch = 1;
    must(encoder, sw_encoder_run(encoder, &ask->request));
    cr_expect_eq(prefetches(), before, "none in this pass");
    clear_arena();
    ask->request.no_prefetch = 0;
    must(encoder, sw_encoder_run(encoder, &ask->request));
    cr_expect_gt(prefetches(), before, "and in the next one as the handle was opened");
    sw_encoder_close(encoder);
    free(ask);
    stop_serving();
}

/* Stopped before its first component, and asked for ahead by then: `count` components. */
static void expect_ahead(sw_encoder *encoder, struct ask *ask, sw_executor *executor,
                         uint32_t count, uint64_t expected)
{
    clear_arena();
    uint64_t before = prefetches();
    ask->request.prefetch_count = count;
    gate_close_after(0);
    submit(encoder, ask);
    gate_await();
    cr_expect_eq(prefetches() - before, expected, "%u", count);
    gate_open();
    cr_expect_eq(next_completion(executor).result, 0);
}

Test(ancestor, prefetch_count)
{
    serve_models(1, "24", "64M");
    sw_executor *executor = new_executor(1, 8);
    struct sw_encoder_options options = SW_INIT(struct sw_encoder_options);
    sw_encoder *encoder = NULL;
    options.no_prefetch = 1;
    options.executor = executor;
    cr_assert_eq(sw_encoder_open(client, "m0", &options, &encoder), 0);
    struct ask *ask = new_ask();
    expect_ahead(encoder, ask, executor, 0, 0); /* as the handle was opened: none */
    expect_ahead(encoder, ask, executor, 1, 1);
    expect_ahead(encoder, ask, executor, 5, 5);
    expect_ahead(encoder, ask, executor, 20, 20);
    expect_ahead(encoder, ask, executor, UINT32_MAX, 25); /* all that follow: layers and pooler */
    ask->request.no_prefetch = 1;
    expect_ahead(encoder, ask, executor, 5, 0);
    sw_encoder_close(encoder);
    sw_executor_destroy(executor);
    free(ask);
    stop_serving();
}

Test(ancestor, warmup)
{
    serve_models(1, "6", "64M");
    sw_encoder *encoder = open_model("m0", NULL);
    static const uint32_t some[] = {4, 1}, outside = 6;
    must(encoder, sw_encoder_warmup(encoder, some, 2));
    cr_expect(is_resident(encoder, "layer_1") && is_resident(encoder, "layer_4"),
              "when it returns");
    cr_expect(!is_resident(encoder, "layer_0") && !is_resident(encoder, "layer_5"));
    expect_failure(encoder, sw_encoder_warmup(encoder, &outside, 1), -EINVAL, "layer 6");
    sw_encoder_close(encoder);
    stop_serving();
}

static bool layers_3_and_4_are_resident(void *encoder)
{
    return is_resident(encoder, "layer_3") && is_resident(encoder, "layer_4");
}

Test(ancestor, prefetch_next_layers)
{
    serve_models(1, "6", "64M");
    sw_encoder *encoder = open_model("m0", NULL);
    must(encoder, sw_encoder_prefetch_next_layers(encoder, 2, 2));
    cr_expect(sup_until(layers_3_and_4_are_resident, encoder, 20000));
    cr_expect(!is_resident(encoder, "layer_2") && !is_resident(encoder, "layer_5"));
    must(encoder, sw_encoder_prefetch_next_layers(encoder, 5, 3));
    expect_failure(encoder, sw_encoder_prefetch_next_layers(encoder, 6, 1), -EINVAL, "layer 6");
    sw_encoder_close(encoder);
    stop_serving();
}

Test(ancestor, get_inference_stats)
{
    serve_models(1, "2", "64M");
    sw_encoder *encoder = open_model("m0", NULL);
    struct ask *ask = new_ask();
    for (int i = 0; i < 4; i++)
        run(encoder);
    static const int32_t stray[8] = {5000};
    int32_t cancelled = 1;
    ask->request.cancelled = &cancelled;
    cr_expect_eq(sw_encoder_run(encoder, &ask->request), -ECANCELED);
    ask->batch.ids = stray;
    cr_expect_eq(sw_encoder_run(encoder, &ask->request), -EINVAL);
    struct sw_inference_stats stats = stats_of(encoder);
    cr_expect_eq(stats.passes, 4);
    cr_expect_eq(stats.tokens, 4 * 8);
    cr_expect_eq(stats.failed_passes, 1, "a batch that is refused is no pass");
    cr_expect(stats.mean_ms > 0 && stats.p50_ms > 0 && stats.p99_ms >= stats.p50_ms);
    cr_expect_float_eq(stats.cache_hit_rate, 3.0 / 4, 1e-9, "the first pass parsed");
    cr_expect(stats.arena_hit_rate >= 3.0 / 4 && stats.arena_hit_rate < 1);
    cr_expect_gt(stats.scratch_bytes, 0);
    sw_encoder_reset_inference_stats(encoder);
    stats = stats_of(encoder);
    cr_expect(stats.passes == 0 && stats.tokens == 0 && stats.failed_passes == 0);
    cr_expect(stats.mean_ms <= 0 && stats.cache_hit_rate <= 0 && stats.arena_hit_rate <= 0);
    run(encoder);
    stats = stats_of(encoder);
    cr_expect_eq(stats.passes, 1);
    cr_expect_float_eq(stats.cache_hit_rate, 1, 1e-9);
    cr_expect_float_eq(stats.arena_hit_rate, 1, 1e-9);
    /* a caller that was built against an earlier release */
    struct sw_inference_stats old = {.size = offsetof(struct sw_inference_stats, arena_hit_rate),
                                     .failed_passes = 77};
    cr_expect_eq(sw_encoder_get_inference_stats(encoder, &old), 0);
    cr_expect(old.passes == 1 && old.failed_passes == 77);
    sw_encoder_close(encoder);
    free(ask);
    stop_serving();
}

Test(ancestor, get_cache_info)
{
    serve_models(1, "2", "64M");
    sw_encoder *encoder = open_model("m0", NULL);
    const char *names[8] = {NULL};
    cr_expect_eq(sw_encoder_cached_names(encoder, names, 8), 0);
    run(encoder);
    cr_assert_eq(sw_encoder_cached_names(encoder, names, 8), 3);
    cr_expect_str_eq(names[0], "layer_1", "most recently used first");
    cr_expect_str_eq(names[1], "layer_0");
    cr_expect_str_eq(names[2], "embeddings");
    uint64_t bytes = 0;
    for (int i = 0; i < 3; i++) {
        struct sw_component_info info = SW_INIT(struct sw_component_info);
        int number = sw_model_find(sw_encoder_model(encoder), names[i]);
        cr_assert_eq(sw_model_component_info(sw_encoder_model(encoder), (uint32_t)number, &info),
                     0);
        bytes += info.bytes;
    }
    struct sw_cache_info info = cache_of(encoder);
    cr_expect_eq(info.count, 3);
    cr_expect_eq(info.mapped_bytes, bytes);
    cr_expect(info.private_bytes > 0 && info.private_bytes < bytes / 10);
    cr_expect(info.hits == 0 && info.misses == 3 && info.evictions == 0 &&
              info.capacity_bytes == 0);
    sw_encoder_close(encoder);
    stop_serving();
}

Test(ancestor, clear_cache)
{
    serve_models(1, "2", "64M");
    sw_encoder *encoder = open_model("m0", NULL);
    run(encoder);
    sw_encoder_clear_cache(encoder);
    struct sw_cache_info info = cache_of(encoder);
    cr_expect(info.count == 0 && info.private_bytes == 0 && info.mapped_bytes == 0);
    run(encoder);
    cr_expect_eq(cache_of(encoder).count, 3, "and it fills again");
    sw_encoder_close(encoder);
    stop_serving();
}

Test(ancestor, cache_size_setter)
{
    serve_models(1, "4", "64M");
    sw_encoder *encoder = open_model("m0", NULL);
    const char *names[8] = {NULL};
    run(encoder);
    cr_expect_eq(cache_of(encoder).count, 5);
    must(encoder, sw_encoder_set_cache_size(encoder, 2));
    cr_assert_eq(sw_encoder_cached_names(encoder, names, 8), 2, "shrinking evicts at once");
    cr_expect_str_eq(names[0], "layer_3");
    cr_expect_str_eq(names[1], "layer_2");
    must(encoder, sw_encoder_set_cache_size(encoder, 5));
    run(encoder);
    struct sw_cache_info info = cache_of(encoder);
    cr_expect_eq(info.count, 5);
    /* the other limit, below what three layers take and above two */
    struct sw_component_info layer = SW_INIT(struct sw_component_info);
    int number = sw_model_find(sw_encoder_model(encoder), "layer_0");
    cr_assert_eq(sw_model_component_info(sw_encoder_model(encoder), (uint32_t)number, &layer), 0);
    must(encoder, sw_encoder_set_cache_bytes(encoder, layer.bytes * 5 / 2));
    info = cache_of(encoder);
    cr_expect_eq(info.capacity_bytes, layer.bytes * 5 / 2);
    cr_expect_eq(info.count, 2, "%u", info.count);
    cr_expect_eq(info.mapped_bytes, 2 * layer.bytes);
    run(encoder);
    cr_expect_leq(cache_of(encoder).mapped_bytes, layer.bytes * 5 / 2);
    must(encoder, sw_encoder_set_cache_bytes(encoder, 0));
    run(encoder);
    cr_expect_eq(cache_of(encoder).count, 5);
    sw_encoder_close(encoder);
    /* the same from the start */
    struct sw_encoder_options options = SW_INIT(struct sw_encoder_options);
    options.cache_bytes = layer.bytes;
    cr_assert_eq(sw_encoder_open(client, "m0", &options, &encoder), 0);
    run(encoder);
    cr_expect_eq(cache_of(encoder).count, 1);
    sw_encoder_close(encoder);
    stop_serving();
}

/* ---- what it did badly ----------------------------------------------------------------------- */

Test(ancestor, retries_with_back_off)
{
    serve_models(1, "2", "64M");
    sw_executor *executor = new_executor(1, 8);
    sw_encoder *encoder = open_model("m0", executor);
    struct ask *before = new_ask(), *after = new_ask();
    must(encoder, sw_encoder_run(encoder, &before->request));
    clear_arena();
    cr_assert_eq(sup_broker_stop(&broker), 0);
    submit(encoder, after); /* nothing to lease and nobody to ask */
    cr_expect_not(readable(executor, 300), "it goes on trying");
    pid_t pid = sup_spawn(SUP_ARGS("swbrokerd", "--chunks-dir", sup_path("catalog"), "--cache-size",
                                   "64M", "--socket", broker.socket),
                          NULL, NULL);
    struct sw_completion completion = next_completion(executor);
    cr_expect_eq(completion.result, 0, "%s", completion.message);
    cr_expect(same_vectors(before, after));
    struct sw_client_stats stats = SW_INIT(struct sw_client_stats);
    cr_assert_eq(sw_client_get_stats(client, &stats), 0);
    cr_expect_geq(stats.reconnects, 1);
    sw_encoder_close(encoder);
    sw_executor_destroy(executor);
    free(before);
    free(after);
    sw_client_close(client);
    kill(pid, SIGTERM);
    cr_expect_eq(sup_wait(pid, 20000), 0);
}

Test(ancestor, a_deadline_on_every_wait)
{
    serve_models(1, "2", "64M");
    sw_client *patient = client, *hasty = new_client(300);
    client = hasty;
    sw_encoder *encoder = open_model("m0", NULL);
    client = patient;
    sw_encoder *limited = open_model("m0", NULL);
    struct ask *ask = new_ask();
    cr_assert_eq(kill(broker.pid, SIGSTOP), 0);
    expect_failure(encoder, sw_encoder_run(encoder, &ask->request), -ETIMEDOUT, "embeddings");
    ask->request.timeout_ms =
        300; /* the call's own, where the client would wait for half a minute */
    expect_failure(limited, sw_encoder_run(limited, &ask->request), -ETIMEDOUT, "embeddings");
    cr_expect(is_untouched(ask));
    cr_assert_eq(kill(broker.pid, SIGCONT), 0);
    ask->request.timeout_ms = 60000;
    must(limited, sw_encoder_run(limited, &ask->request));
    cr_expect_not(is_untouched(ask));
    sw_encoder_close(encoder);
    sw_encoder_close(limited);
    sw_client_close(hasty);
    free(ask);
    stop_serving();
}

Test(ancestor, never_made_up_weights)
{
    serve_models(1, "2", "64M");
    sw_executor *executor = new_executor(1, 8);
    sw_encoder *encoder = open_model("m0", executor);
    const char *path = sup_path("catalog/m0/layer_1.safetensors");
    size_t size = 0;
    char *bytes = sup_read(path, &size);
    bytes[size - 5] ^= 1;
    sup_write(path, bytes, size);
    struct ask *ask = new_ask();
    submit(encoder, ask);
    struct sw_completion completion = next_completion(executor);
    cr_expect_eq(completion.result, SW_EDIGEST, "%d: %s", completion.result, completion.message);
    cr_expect(strstr(completion.message, "layer_1"), "%s", completion.message);
    cr_expect(is_untouched(ask));
    expect_failure(encoder, sw_encoder_run(encoder, &ask->request), SW_EDIGEST, "layer_1");
    cr_expect(is_untouched(ask));
    sw_encoder_close(encoder);
    sw_executor_destroy(executor);
    free(ask);
    stop_serving();
}
