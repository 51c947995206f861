/* SPDX-License-Identifier: MIT */
/* Brokers that share chunks through a real redis-server. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "redis/fixture.h"

#define FIRST SUP_ARGS("--redis-order", "redis-first")

TestSuite(redis_tier, .timeout = 240);

static struct sup_redis redis;

/* The name of one key that matches. */
static const char *some_key(const char *pattern)
{
    const char *key = sup_redis_cli(&redis, SUP_ARGS("--scan", "--pattern", pattern));
    cr_assert_neq(key[0], 0, "no key %s", pattern);
    return key;
}

Test(redis_tier, a_second_broker_reads_nothing_from_its_disk)
{
    redis = sup_redis_start(NULL);
    redis_fill(&redis);
    struct sup_broker second = redis_broker(redis.url, FIRST);
    redis_expect_all(&second);
    cr_assert_eq(redis_disk_loads(&second), 0);
    cr_assert_eq(redis_stat(&second, "hits"), REDIS_CHUNKS);
    cr_assert_eq(redis_stat(&second, "misses"), 0);
    cr_assert_eq(redis_stat(&second, "hit_bytes"), sup_stat(&second, "load_bytes"));
    cr_assert_eq(sup_stat(&second, "loads"), REDIS_CHUNKS);
    cr_assert_eq(sup_stat(&second, "digest_errors"), 0);
    cr_assert_eq(sup_broker_stop(&second), 0);
}

Test(redis_tier, present_chunks_are_not_written_again)
{
    redis = sup_redis_start(NULL);
    redis_fill(&redis);
    struct sup_broker second = redis_broker(redis.url, NULL);
    redis_expect_all(&second);
    redis_wait_for(&second, "store_present", REDIS_CHUNKS);
    cr_assert_eq(redis_stat(&second, "stores"), 0);
    cr_assert_eq(sup_broker_stop(&second), 0);
}

struct settled {
    const struct sup_broker *broker;
    int64_t written, left; /* chunks that it wrote, or found there */
};

static bool all_settled(void *context)
{
    struct settled *settled = context;
    settled->written = redis_stat(settled->broker, "stores");
    settled->left = redis_stat(settled->broker, "store_present");
    return settled->written + settled->left >= REDIS_CHUNKS;
}

/* Four hosts with two clients each want every chunk at once, and the Redis is empty: each host
 * reads each of its files once. Several may write a chunk, which is the same bytes. */
Test(redis_tier, many_brokers_on_a_cold_model_read_each_file_once)
{
    enum { HOSTS = 4, CLIENTS = 2 * HOSTS };
    struct sup_broker brokers[HOSTS];
    struct raw raws[CLIENTS];
    struct raw_model models[CLIENTS];
    int64_t written = 0, left = 0;
    redis = sup_redis_start(NULL);
    for (int i = 0; i < HOSTS; i++)
        brokers[i] = redis_broker(redis.url, NULL);
    for (int i = 0; i < CLIENTS; i++) {
        raws[i] = raw_attach(&brokers[i % HOSTS], "test");
        models[i] = raw_open(&raws[i], "mini");
    }
    for (uint32_t chunk = 0; chunk < REDIS_CHUNKS; chunk++) {
        for (int i = 0; i < CLIENTS; i++) {
            const struct swi_wire_load load = {.incarnation = models[i].opened.incarnation,
                                               .model = models[i].opened.model,
                                               .chunk = models[i].ids[chunk]};
            cr_assert(raw_send(&raws[i], SWI_WIRE_LOAD, &load, sizeof load, NULL, 0));
        }
        for (int i = 0; i < CLIENTS; i++)
            cr_assert_eq(raw_done(&raws[i], NULL), 0);
    }
    for (int i = 0; i < CLIENTS; i++)
        raw_close(&raws[i]);
    for (int i = 0; i < HOSTS; i++) {
        struct settled settled = {&brokers[i], 0, 0};
        cr_assert(sup_until(all_settled, &settled, 60000), "host %d", i);
        cr_assert_eq(redis_disk_loads(&brokers[i]), REDIS_CHUNKS);
        written += settled.written;
        left += settled.left;
        cr_assert_eq(sup_broker_stop(&brokers[i]), 0);
    }
    cr_assert_geq(written, REDIS_CHUNKS);
    cr_assert_eq(written + left, HOSTS * REDIS_CHUNKS);
    struct sup_broker reader = redis_broker(redis.url, FIRST);
    redis_expect_all(&reader);
    cr_assert_eq(redis_disk_loads(&reader), 0);
    cr_assert_eq(sup_broker_stop(&reader), 0);
}

/* ---- damaged values ------------------------------------------------- */

/* One chunk's value was damaged: it is read from the file and written again, and the next broker reads
 * everything from the Redis. */
static void expect_repair(const char *counter)
{
    struct sup_broker second = redis_broker(redis.url, FIRST);
    redis_expect_all(&second);
    cr_assert_eq(redis_stat(&second, counter), 1);
    cr_assert_eq(redis_disk_loads(&second), 1);
    cr_assert_eq(redis_stat(&second, "fallbacks"), 1);
    cr_assert_eq(redis_stat(&second, "hits"), REDIS_CHUNKS - 1);
    cr_assert_eq(sup_stat(&second, "loads"), REDIS_CHUNKS, "counted once each");
    cr_assert_eq(sup_stat(&second, "load_errors") + sup_stat(&second, "digest_errors"), 0);
    redis_wait_for(&second, "stores", 1);
    cr_assert_eq(sup_broker_stop(&second), 0);
    struct sup_broker third = redis_broker(redis.url, FIRST);
    redis_expect_all(&third);
    cr_assert_eq(redis_disk_loads(&third), 0);
    cr_assert_eq(sup_broker_stop(&third), 0);
}

Test(redis_tier, a_half_evicted_chunk_is_a_miss_and_written_again)
{
    redis = sup_redis_start(NULL);
    redis_fill(&redis);
    (void)sup_redis_cli(&redis, SUP_ARGS("del", some_key("sw:chunk:*:3")));
    expect_repair("misses");
}

Test(redis_tier, other_bytes_of_the_right_length_are_never_served)
{
    redis = sup_redis_start(NULL);
    redis_fill(&redis);
    (void)sup_redis_cli(&redis, SUP_ARGS("setrange", some_key("sw:chunk:*:2"), "1000", "XYZ"));
    expect_repair("wrong");
}

Test(redis_tier, a_value_of_another_length_is_never_served)
{
    redis = sup_redis_start(NULL);
    redis_fill(&redis);
    (void)sup_redis_cli(&redis, SUP_ARGS("append", some_key("sw:chunk:*:0"), "more"));
    expect_repair("wrong");
}

Test(redis_tier, a_key_of_another_type_is_overwritten)
{
    redis = sup_redis_start(NULL);
    redis_fill(&redis);
    const char *key = some_key("sw:chunk:*:1");
    (void)sup_redis_cli(&redis, SUP_ARGS("del", key));
    (void)sup_redis_cli(&redis, SUP_ARGS("rpush", key, "a", "b"));
    expect_repair("wrong");
}

/* ---- damaged files -------------------------------------------------- */

Test(redis_tier, the_redis_replaces_a_damaged_file)
{
    redis = sup_redis_start(NULL);
    redis_fill(&redis);
    const char *file = sup_format("%s/mini/layer_1.safetensors", redis_models());
    size_t size;
    char *bytes = sup_read(file, &size);
    bytes[size / 2] ^= 1;
    sup_write(file, bytes, size);
    struct sup_broker second = redis_broker(redis.url, NULL);
    redis_expect_all(&second);
    cr_assert_eq(redis_stat(&second, "hits"), 1);
    cr_assert_eq(redis_stat(&second, "rescues"), 1);
    cr_assert_eq(sup_stat(&second, "digest_errors"), 1);
    cr_assert_eq(redis_disk_loads(&second), REDIS_CHUNKS - 1);
    cr_assert_eq(sup_broker_stop(&second), 0);
}

Test(redis_tier, the_error_for_a_chunk_without_origin_names_both)
{
    redis = sup_redis_start(NULL);
    struct sup_broker broker = redis_broker(redis.url, FIRST);
    cr_assert_eq(remove(sup_format("%s/mini/layer_1.safetensors", redis_models())), 0);
    struct raw raw = raw_attach(&broker, "test");
    struct raw_model model = raw_open(&raw, "mini");
    const char *text;
    cr_assert_lt(raw_load(&raw, &model, raw_find(&model, "layer_1"), &text), 0);
    cr_assert_not_null(strstr(text, "layer_1.safetensors"), "%s", text);
    cr_assert_not_null(strstr(text, "Redis"), "%s", text);
    (void)raw_pin(&raw, &model, raw_find(&model, "layer_0"));
    raw_close(&raw);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

/* ---- options --------------------------------------------------------------------------------- */

Test(redis_tier, prefix_database_and_ttl_take_effect)
{
    redis = sup_redis_start(NULL);
    struct sup_broker broker =
        redis_broker(sup_format("%s?db=3", redis.url),
                     SUP_ARGS("--redis-prefix", "team:a", "--redis-ttl", "1000"));
    redis_expect_all(&broker);
    redis_wait_for(&broker, "stores", REDIS_CHUNKS);
    cr_assert_str_eq(sup_redis_cli(&redis, SUP_ARGS("dbsize")), "0");
    const char *key =
        sup_redis_cli(&redis, SUP_ARGS("-n", "3", "--scan", "--pattern", "team:a:chunk:*"));
    cr_assert_neq(key[0], 0);
    int ttl = atoi(sup_redis_cli(&redis, SUP_ARGS("-n", "3", "ttl", key)));
    cr_assert(ttl > 800 && ttl <= 1000, "ttl %d", ttl);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

Test(redis_tier, read_only_and_write_only_modes_take_effect)
{
    redis = sup_redis_start(NULL);
    struct sup_broker reader = redis_broker(
        redis.url, SUP_ARGS("--redis-mode", "read-only", "--redis-order", "redis-first"));
    redis_expect_all(&reader);
    cr_assert_eq(redis_stat(&reader, "misses"), REDIS_CHUNKS);
    cr_assert_str_eq(sup_redis_cli(&redis, SUP_ARGS("dbsize")), "0");
    cr_assert_eq(sup_broker_stop(&reader), 0);
    struct sup_broker writer = redis_broker(
        redis.url, SUP_ARGS("--redis-mode", "write-only", "--redis-order", "redis-first"));
    redis_expect_all(&writer);
    redis_wait_for(&writer, "stores", REDIS_CHUNKS);
    redis_clear(&writer);
    redis_expect_all(&writer);
    cr_assert_eq(redis_stat(&writer, "hits") + redis_stat(&writer, "misses"), 0);
    cr_assert_eq(redis_disk_loads(&writer), 2 * REDIS_CHUNKS);
    cr_assert_eq(sup_broker_stop(&writer), 0);
}

static void expect_refused(const char *const words[], const char *text)
{
    const char *argv[24] = {"swbrokerd", "--chunks-dir", redis_models(), "--socket",
                            sup_path("refused.sock")};
    for (size_t i = 0; words[i]; i++)
        argv[5 + i] = words[i];
    struct sup_result result = sup_run(argv);
    cr_assert_neq(result.exit_code, 0);
    cr_assert_not_null(strstr(result.err, text), "%s", result.err);
    cr_assert_null(strstr(result.err, "secret"), "%s", result.err);
}

Test(redis_tier, invalid_options_are_refused_at_the_start)
{
    expect_refused(SUP_ARGS("--redis-url", "http://:secret@h"), "redis://");
    expect_refused(SUP_ARGS("--redis-url", "redis://:secret@h:0"), "port");
    expect_refused(SUP_ARGS("--redis-url", "redis://h", "--redis-mode", "both"), "read-write");
    expect_refused(SUP_ARGS("--redis-url", "redis://h", "--redis-order", "any"), "local-first");
    expect_refused(SUP_ARGS("--redis-url", "redis://h", "--redis-timeout", "0"), "from 1 to 60000");
    expect_refused(SUP_ARGS("--redis-url", "redis://h", "--redis-ttl", "-1"), "a number from 0");
    expect_refused(SUP_ARGS("--redis-url", "redis://h", "--redis-prefix", "a b"), "prefix");
}

/* ---- servers that refuse ---------------------------------------------------------------- */

/* The broker serves everything from its files, and logs what is wrong without the password. */
static void expect_service(struct sup_broker *broker, const char *logged)
{
    redis_expect_all(broker);
    cr_assert_eq(redis_disk_loads(broker), REDIS_CHUNKS);
    const char *log = sup_read(broker->log, NULL);
    cr_assert_not_null(strstr(log, logged), "%s", log);
    cr_assert_null(strstr(log, "secret"), "%s", log);
    cr_assert_eq(sup_broker_stop(broker), 0);
}

Test(redis_tier, a_wrong_password_is_logged)
{
    redis = sup_redis_start(SUP_ARGS("--requirepass", "good"));
    const char *url = sup_format("unix://:secret@%s", redis.socket);
    struct sup_broker broker = redis_broker_alone(url, FIRST);
    redis_wait_for_link(&broker, "reads", "refused", 3);
    expect_service(&broker, "WRONGPASS");
}

Test(redis_tier, a_missing_password_is_logged)
{
    redis = sup_redis_start(SUP_ARGS("--requirepass", "good"));
    struct sup_broker broker = redis_broker_alone(redis.url, FIRST);
    redis_wait_for_link(&broker, "writes", "refused", 1);
    redis_wait_for_link(&broker, "reads", "refused", 1);
    expect_service(&broker, "NOAUTH");
}

Test(redis_tier, user_and_password_are_accepted)
{
    redis = sup_redis_start(SUP_ARGS("--user", "me", "on", ">secret", "~*", "+@all"));
    struct sup_broker broker = redis_broker(sup_format("unix://me:secret@%s", redis.socket), FIRST);
    redis_expect_all(&broker);
    redis_wait_for(&broker, "stores", REDIS_CHUNKS);
    json_t *stats = sup_swctl(&broker, SUP_ARGS("stats"));
    char *text = json_dumps(stats, 0);
    cr_assert_null(strstr(text, "secret"));
    free(text);
    json_decref(stats);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

Test(redis_tier, a_full_redis_stops_only_writes)
{
    redis = sup_redis_start(SUP_ARGS("--maxmemory", "3mb", "--maxmemory-policy", "noeviction"));
    struct sup_broker broker = redis_broker(redis.url, FIRST);
    redis_expect_all(&broker);
    redis_wait_for(&broker, "out_of_memory", 1);
    redis_clear(&broker);
    redis_expect_all(&broker);
    cr_assert_str_eq(redis_breaker(&broker), "closed");
    cr_assert_eq(redis_link_stat(&broker, "writes", "closed"), 0);
    const char *log = sup_read(broker.log, NULL);
    cr_assert_not_null(strstr(log, "OOM command not allowed"), "%s", log);
    (void)sup_redis_cli(&redis, SUP_ARGS("config", "set", "maxmemory", "0"));
    redis_wait_for(&broker, "stores", 1); /* goes on by itself */
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

Test(redis_tier, a_read_only_replica_is_read)
{
    redis = sup_redis_start(NULL);
    redis_fill(&redis);
    (void)sup_redis_cli(&redis, SUP_ARGS("del", some_key("sw:chunk:*:3")));
    (void)sup_redis_cli(&redis, SUP_ARGS("replicaof", "127.0.0.1", "1"));
    struct sup_broker broker = redis_broker(redis.url, FIRST);
    redis_expect_all(&broker);
    cr_assert_eq(redis_stat(&broker, "hits"), REDIS_CHUNKS - 1);
    redis_wait_for(&broker, "read_only", 1);
    cr_assert_str_eq(redis_breaker(&broker), "closed");
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

/* ---- servers that go and come ---------------------------------------------------------------- */

Test(redis_tier, a_redis_that_is_down_costs_nothing_but_a_counter)
{
    struct sup_broker broker =
        redis_broker_alone(sup_format("unix://%s", sup_path("nobody.sock")), FIRST);
    redis_wait_for_link(&broker, "reads", "connect_failures", 3);
    cr_assert_gt(redis_link_stat(&broker, "reads", "breaker_opened"), 0);
    const char *metrics =
        sup_run_ok(SUP_ARGS("swctl", "--socket", broker.socket, "stats", "--format=prometheus"));
    static const char *const series[] = {"\nswbroker_redis_breaker_state{connection=\"reads\"} ",
                                         "\nswbroker_redis_breaker_state{connection=\"writes\"} ",
                                         ("\nswbroker_redis_connect_failures_total{"
                                          "connection=\"reads\"} "),
                                         "\nswbroker_disk_loads_total 0\n"};
    for (size_t i = 0; i < sizeof series / sizeof series[0]; i++)
        cr_assert_not_null(strstr(metrics, series[i]), "%s: %s", series[i], metrics);
    expect_service(&broker, "cannot connect");
}

Test(redis_tier, connects_to_a_tcp_address_and_a_name)
{
    redis = sup_redis_start(NULL);
    redis_fill(&redis);
    /* redis-server cannot listen on a port of the kernel's choice: try some */
    int port = 0;
    for (int i = 0; i < 50 && port == 0; i++) {
        int candidate = 20000 + (getpid() * 7 + i * 131) % 30000;
        if (strcmp(sup_redis_cli(&redis,
                                 SUP_ARGS("config", "set", "port", sup_format("%d", candidate))),
                   "OK") == 0)
            port = candidate;
    }
    cr_assert_neq(port, 0);
    const char *const hosts[] = {"127.0.0.1", "localhost"};
    for (size_t i = 0; i < 2; i++) {
        struct sup_broker broker = redis_broker(sup_format("redis://%s:%d", hosts[i], port), FIRST);
        redis_expect_all(&broker);
        cr_assert_eq(redis_disk_loads(&broker), 0);
        cr_assert_eq(sup_broker_stop(&broker), 0);
    }
}

Test(redis_tier, an_unresolvable_name_is_logged)
{
    struct sup_broker broker = redis_broker_alone("redis://no-such-host.invalid", FIRST);
    redis_wait_for_link(&broker, "reads", "connect_failures", 1);
    expect_service(&broker, "resolve");
}

Test(redis_tier, a_stopped_redis_delays_a_load_by_its_timeout_at_most_once)
{
    redis = sup_redis_start(NULL);
    redis_fill(&redis);
    struct sup_broker broker =
        redis_broker(redis.url, SUP_ARGS("--redis-order", "redis-first", "--redis-timeout", "300"));
    cr_assert_eq(kill(redis.pid, SIGSTOP), 0);
    redis_expect_all(&broker);
    cr_assert_eq(redis_disk_loads(&broker), REDIS_CHUNKS);
    cr_assert_eq(redis_link_stat(&broker, "reads", "timeouts"), 1);
    redis_wait_for_link(&broker, "reads", "breaker_opened", 1);
    cr_assert_eq(kill(redis.pid, SIGCONT), 0);
    redis_wait_for_link(&broker, "reads", "connects", 2);
    redis_clear(&broker);
    redis_expect_all(&broker); /* the first of it is the probe */
    cr_assert_gt(redis_stat(&broker, "hits"), 0);
    cr_assert_str_eq(redis_breaker(&broker), "closed");
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

Test(redis_tier, a_closed_idle_connection_is_reopened_without_a_failure)
{
    redis = sup_redis_start(NULL);
    struct sup_broker broker = redis_broker(redis.url, FIRST);
    for (int i = 1; i <= 5; i++) {
        (void)sup_redis_cli(&redis, SUP_ARGS("client", "kill", "type", "normal"));
        redis_wait_for_link(&broker, "reads", "connects", i + 1);
    }
    cr_assert_eq(redis_link_stat(&broker, "reads", "closed"), 5);
    cr_assert_eq(redis_link_stat(&broker, "reads", "breaker_opened"), 0);
    const char *log = sup_read(broker.log, NULL);
    cr_assert_null(strstr(log, "continuing without"), "%s", log);
    redis_expect_all(&broker);
    cr_assert_str_eq(redis_breaker(&broker), "closed");
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

static bool is_loading(void *context)
{
    return sup_stat(context, "loading") > 0;
}

Test(redis_tier, a_broker_stops_while_it_waits_for_its_redis)
{
    redis = sup_redis_start(NULL);
    redis_fill(&redis);
    struct sup_broker broker = redis_broker(redis.url, FIRST);
    cr_assert_eq(kill(redis.pid, SIGSTOP), 0);
    struct raw raw = raw_attach(&broker, "test");
    struct raw_model model = raw_open(&raw, "mini");
    const struct swi_wire_load load = {.incarnation = model.opened.incarnation,
                                       .model = model.opened.model,
                                       .chunk = model.ids[0]};
    cr_assert(raw_send(&raw, SWI_WIRE_LOAD, &load, sizeof load, NULL, 0));
    cr_assert(sup_until(is_loading, &broker, 20000), "no load is under way");
    cr_assert_eq(sup_broker_stop(&broker), 0, "%s", sup_read(broker.log, NULL));
    cr_assert_eq(kill(redis.pid, SIGCONT), 0);
}
