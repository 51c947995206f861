/* SPDX-License-Identifier: MIT */
/* What may count against a Redis: that it cannot be asked, or serves nobody. What its keys hold may
 * not: with a real redis-server whose keys were tampered with. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "core/digest.h"
#include "redis/fixture.h"

TestSuite(redis_faults, .timeout = 240);

static struct sup_redis redis;

/* ---- chunks ---------------------------------------------------------------------------------- */

/* Does it to the first stripe of every chunk but one. */
static void spoil_all_but_one(const char *act)
{
    const char *script = sup_format("local keys = redis.call('keys', 'sw:chunk:*:0') "
                                    "for i = 2, #keys do local k = keys[i]; %s end return #keys",
                                    act);
    cr_assert_eq(atoi(sup_redis_cli(&redis, SUP_ARGS("eval", script, "0"))), REDIS_CHUNKS);
}

/* All but one chunk come from their files each time, and that one never does. */
static void expect_reads_go_on(const char *act, const char *counter)
{
    enum { ROUNDS = 4 };
    redis = sup_redis_start(NULL);
    redis_fill(&redis);
    spoil_all_but_one(act);
    struct sup_broker broker = redis_broker(
        redis.url, SUP_ARGS("--redis-order", "redis-first", "--redis-mode", "read-only"));
    for (int round = 0; round < ROUNDS; round++) {
        redis_expect_all(&broker);
        redis_clear(&broker);
    }
    cr_assert_eq(redis_link_stat(&broker, "reads", "breaker_opened"), 0);
    cr_assert_eq(redis_stat(&broker, "hits"), ROUNDS);
    cr_assert_eq(redis_stat(&broker, counter), ROUNDS * (REDIS_CHUNKS - 1));
    cr_assert_eq(redis_disk_loads(&broker), ROUNDS * (REDIS_CHUNKS - 1));
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

Test(redis_faults, keys_of_another_type_do_not_stop_the_reads)
{
    expect_reads_go_on("redis.call('del', k); redis.call('rpush', k, 'a')", "wrong");
}

Test(redis_faults, wrong_bytes_do_not_stop_the_reads)
{
    expect_reads_go_on("redis.call('setrange', k, 1000, 'XYZ')", "wrong");
}

Test(redis_faults, wrong_lengths_do_not_stop_the_reads)
{
    expect_reads_go_on("redis.call('append', k, 'more')", "wrong");
}

/* The user may read one chunk only. */
Test(redis_faults, unreadable_keys_do_not_stop_the_reads)
{
    redis = sup_redis_start(NULL);
    redis_fill(&redis);
    char *key = sup_redis_cli(&redis, SUP_ARGS("--scan", "--pattern", "sw:chunk:*:0"));
    const char *keys = sup_format("~%.41s*", key);
    (void)sup_redis_cli(&redis, SUP_ARGS("acl", "setuser", "me", "on", ">pass", keys, "+@all"));
    struct sup_broker broker =
        redis_broker(sup_format("unix://me:pass@%s", redis.socket),
                     SUP_ARGS("--redis-order", "redis-first", "--redis-mode", "read-only"));
    redis_expect_all(&broker);
    cr_assert_eq(redis_link_stat(&broker, "reads", "breaker_opened"), 0);
    cr_assert_eq(redis_stat(&broker, "hits"), 1);
    cr_assert_eq(redis_stat(&broker, "failures"), REDIS_CHUNKS - 1);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

/* ---- models ---------------------------------------------------------------------------------- */

/* How many commands of that name the server has been sent. */
static long calls_of(const char *command)
{
    return atol(sup_redis_cli(
        &redis, SUP_ARGS("eval",
                         sup_format("return string.match(redis.call('info', 'commandstats'), "
                                    "'cmdstat_%s:calls=(%%d+)') or '0'",
                                    command),
                         "0")));
}

struct calls {
    const char *command;
    long least;
};

static bool have_come(void *context)
{
    const struct calls *calls = context;
    return calls_of(calls->command) >= calls->least;
}

/* Asks again and again for a model of that name, which is of no use; "mini" is served all the
 * while. */
static void expect_bad_model(const char *name, const char *command)
{
    struct sup_broker broker =
        sup_broker_start(NULL, "64",
                         SUP_ARGS("--redis-url", redis.url, "--redis-timeout", "20000", "--models",
                                  sup_format("%s,mini", name)));
    redis_wait_served(&broker);
    for (int i = 0; i < 5; i++) {
        struct calls calls = {command, calls_of(command) + 1};
        json_decref(sup_swctl(&broker, SUP_ARGS("reload")));
        cr_assert(sup_until(have_come, &calls, 20000), "%s: nobody asked again", name);
    }
    redis_expect_all(&broker);
    cr_assert_eq(redis_link_stat(&broker, "reads", "breaker_opened"), 0, "%s: %s", name,
                 sup_read(broker.log, NULL));
    cr_assert_eq(redis_link_stat(&broker, "reads", "connects"), 1, "%s", name);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

Test(redis_faults, an_unusable_bundle_does_not_stop_the_reads)
{
    redis = sup_redis_start(NULL);
    redis_fill(&redis);
    redis_push_from_files(&redis);
    /* one that hashes to its name and is no bundle, one that does not, one that is a list */
    static const char junk[] = "no bundle at all";
    char hex[SWI_DIGEST_HEX];
    swi_digest_format(swi_digest_of(junk, sizeof junk - 1), hex);
    (void)sup_redis_cli(&redis, SUP_ARGS("set", "sw:model:junk", sup_format("%s 16", hex)));
    (void)sup_redis_cli(&redis, SUP_ARGS("set", sup_format("sw:model:junk:%s", hex), junk));
    expect_bad_model("junk", "getrange");
    (void)sup_redis_cli(&redis, SUP_ARGS("set", "sw:model:hurt", sup_format("%s 16", hex)));
    (void)sup_redis_cli(&redis,
                        SUP_ARGS("set", sup_format("sw:model:hurt:%s", hex), "no bundle at ALL"));
    expect_bad_model("hurt", "getrange");
    (void)sup_redis_cli(&redis, SUP_ARGS("set", "sw:model:list", sup_format("%s 16", hex)));
    (void)sup_redis_cli(&redis, SUP_ARGS("rpush", sup_format("sw:model:list:%s", hex), "a"));
    expect_bad_model("list", "getrange");
    (void)sup_redis_cli(&redis, SUP_ARGS("rpush", "sw:model:none", "a"));
    expect_bad_model("none", "get");
}

Test(redis_faults, a_push_overwrites_a_bundle_of_another_type)
{
    redis = sup_redis_start(NULL);
    redis_push_from_files(&redis);
    char *current = sup_redis_cli(&redis, SUP_ARGS("get", "sw:model:mini"));
    const char *key = sup_format("sw:model:mini:%.32s", current);
    char *length = sup_redis_cli(&redis, SUP_ARGS("strlen", key));
    (void)sup_redis_cli(&redis, SUP_ARGS("del", key));
    (void)sup_redis_cli(&redis, SUP_ARGS("rpush", key, "a"));
    redis_push_from_files(&redis);
    cr_assert_str_eq(sup_redis_cli(&redis, SUP_ARGS("strlen", key)), length);
}

Test(redis_faults, small_files_leave_the_broker_half_of_its_descriptors)
{
    redis = sup_redis_start(NULL);
    for (int i = 0; i < 60; i++)
        sup_write_text(sup_format("%s/mini/extra_%d.json", redis_models(), i), "{}");
    redis_push_from_files(&redis);
    const struct rlimit few = {100, 100};
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    struct sup_broker broker = sup_broker_start(
        NULL, "64", SUP_ARGS("--redis-url", redis.url, "--models", "mini", "--max-sessions", "8"));
    redis_wait_logged(&broker, "need a descriptor each");
    const char *log = sup_read(broker.log, NULL);
    cr_assert_not_null(strstr(log, "model mini: its 6"), "%s", log);
    cr_assert_not_null(strstr(log, "of at most 50"), "%s", log);
    cr_assert_not(redis_is_served(&broker));
    /* it is asked for again, and only a reload makes the broker fetch again what did not fit */
    long fetched = calls_of("getrange");
    struct calls asked = {"get", calls_of("get") + 2};
    cr_assert(sup_until(have_come, &asked, 30000));
    cr_assert_eq(calls_of("getrange"), fetched);
    struct calls again = {"getrange", fetched + 1};
    json_decref(sup_swctl(&broker, SUP_ARGS("reload")));
    cr_assert(sup_until(have_come, &again, 30000));
    cr_assert_eq(redis_link_stat(&broker, "reads", "breaker_opened"), 0);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

static unsigned descriptors_of(const struct sup_broker *broker)
{
    DIR *directory = opendir(sup_format("/proc/%d/fd", (int)broker->pid));
    cr_assert_not_null(directory);
    unsigned count = 0;
    while (readdir(directory))
        count++;
    (void)closedir(directory);
    return count - 2; /* . and .. */
}

/* Half of the descriptors would do for the small files; with those of the sessions they are too
 * many. */
Test(redis_faults, small_files_leave_sessions_the_last_descriptors)
{
    enum { SESSIONS_MAX = 24 };
    redis = sup_redis_start(NULL);
    for (int i = 0; i < 30; i++)
        sup_write_text(sup_format("%s/mini/extra_%d.json", redis_models(), i), "{}");
    redis_push_from_files(&redis);
    (void)sup_redis_cli(&redis, SUP_ARGS("rename", "sw:model:mini", "later"));
    const struct rlimit few = {100, 100};
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    struct sup_broker broker = sup_broker_start(
        NULL, "64", SUP_ARGS("--redis-url", redis.url, "--models", "mini", "--max-sessions", "24"));
    struct raw raws[SESSIONS_MAX];
    int sessions = 0;
    while (descriptors_of(&broker) < 46 && sessions < SESSIONS_MAX)
        raws[sessions++] = raw_attach(&broker, "test");
    cr_assert_geq(descriptors_of(&broker), 46);
    (void)sup_redis_cli(&redis, SUP_ARGS("rename", "later", "sw:model:mini"));
    json_decref(sup_swctl(&broker, SUP_ARGS("reload")));
    redis_wait_logged(&broker, "too few of 100 are free");
    while (sessions > 0)
        raw_close(&raws[--sessions]);
    json_decref(sup_swctl(&broker, SUP_ARGS("reload")));
    redis_wait_served(&broker);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}
