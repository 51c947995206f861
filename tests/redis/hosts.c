/* SPDX-License-Identifier: MIT */
/* Brokers of two hosts and one Redis, with workers that compute: chunks from the Redis give the same
 * results, and whatever happens to the Redis, no forward fails or gives another result. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "redis/fixture.h"
#include "support/keep.h"

TestSuite(redis_hosts, .timeout = 230);

#define LINES 24

static const char *lines(size_t *ret_size)
{
    char *text = sup_keep(LINES * 64);
    size_t used = 0;
    for (int i = 0; i < LINES; i++)
        used +=
            (size_t)sprintf(text + used, "line %d of what the worker reads while it blows\n", i);
    *ret_size = used;
    return text;
}

static const char *embed(const struct sup_broker *broker)
{
    size_t size;
    const char *text = lines(&size);
    struct sup_result result = sup_run_input(
        SUP_ARGS("swbert", "embed", "--socket", broker->socket, "--model", "mini"), text, size);
    cr_assert_eq(result.exit_code, 0, "%s", result.err);
    cr_assert_gt(result.out_size, LINES * 1000);
    return result.out;
}

static struct sup_redis redis;

static void pause_it(void)
{
    cr_assert_eq(kill(redis.pid, SIGSTOP), 0);
}

static void go_on(void)
{
    cr_assert_eq(kill(redis.pid, SIGCONT), 0);
}

static void kill_it(void)
{
    sup_redis_kill(&redis);
}

static void restart_it(void)
{
    sup_redis_restart(&redis);
}

static void empty_it(void)
{
    (void)sup_redis_cli(&redis, SUP_ARGS("flushall"));
}

static void leave_it(void)
{
}

struct loads {
    const struct sup_broker *broker;
    int64_t least;
};

static bool has_loaded(void *context)
{
    const struct loads *loads = context;
    return sup_stat(loads->broker, "loads") >= loads->least;
}

/* Runs a worker in an arena that holds part of its model, so that it loads all the time. */
static void work_through(const struct sup_broker *broker, const char *expected, const char *what,
                         void (*act)(void))
{
    size_t size;
    const char *input = sup_path("input"), *output = sup_path("output"), *errors = sup_path("err");
    const char *text = lines(&size);
    sup_write(input, text, size);
    struct loads more = {broker, sup_stat(broker, "loads") + 2};
    pid_t worker =
        sup_spawn(SUP_ARGS("/bin/sh", "-c",
                           sup_format("exec %s/swbert embed --socket %s --model mini <%s",
                                      SW_BUILD_DIR, broker->socket, input)),
                  output, errors);
    cr_assert(sup_until(has_loaded, &more, 60000), "%s: the worker loads nothing", what);
    act();
    int code = sup_wait(worker, 60000);
    cr_assert_eq(code, 0, "%s: exit %d: %s", what, code, sup_read(errors, NULL));
    cr_assert_str_eq(sup_read(output, NULL), expected, "%s: another result", what);
    const char *wrong = "digest_errors";
    cr_assert_eq(sup_stat(broker, wrong), 0, "%s", what);
}

Test(redis_hosts, every_forward_is_right_whatever_happens_to_the_redis)
{
    static const struct {
        const char *what;
        void (*act)(void);
    } acts[] = {
        {"in peace", leave_it},    {"paused", pause_it},      {"still paused", leave_it},
        {"going on", go_on},       {"emptied", empty_it},     {"killed", kill_it},
        {"still dead", leave_it},  {"restarted", restart_it}, {"in peace again", leave_it},
        {"killed again", kill_it},
    };
    redis = sup_redis_start(NULL);
    struct sup_broker first = redis_broker(redis.url, NULL);
    const char *expected = embed(&first);
    redis_expect_all(&first);
    redis_wait_for(&first, "stores", REDIS_CHUNKS);
    struct sup_broker second = sup_broker_start(redis_models(), "12",
                                                SUP_ARGS("--redis-url", redis.url, "--redis-order",
                                                         "redis-first", "--redis-timeout", "5000"));
    redis_wait_for_link(&second, "reads", "connects", 1);
    cr_assert_str_eq(embed(&second), expected, "the second host's first result");
    cr_assert_eq(redis_disk_loads(&second), 0, "a cold start without its own disk");
    cr_assert_gt(redis_stat(&second, "hits"), 0);
    cr_assert_eq(sup_broker_stop(&second), 0);
    second = sup_broker_start(redis_models(), "12",
                              SUP_ARGS("--redis-url", redis.url, "--redis-order", "redis-first",
                                       "--redis-timeout", "300"));
    for (size_t i = 0; i < sizeof acts / sizeof acts[0]; i++)
        work_through(&second, expected, acts[i].what, acts[i].act);
    cr_assert_gt(sup_stat(&second, "evictions"), 0, "the arena was large enough for all of it");
    cr_assert_eq(sup_stat(&second, "load_errors"), 0);
    redis_wait_for_link(&second, "reads", "breaker_opened", 1); /* its tries go on failing */
    cr_assert_gt(redis_disk_loads(&second), 0);
    cr_assert_eq(sup_broker_stop(&second), 0, "%s", sup_read(second.log, NULL));
    cr_assert_eq(sup_broker_stop(&first), 0);
}
