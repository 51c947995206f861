/* SPDX-License-Identifier: MIT */
/* The real redis-server in a test. */
#include "redis.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WORDS_MAX 48

static const char *server_path(void)
{
    static const char *const places[] = {"/usr/bin/redis-server", "/usr/local/bin/redis-server"};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        if (access(places[i], X_OK) == 0)
            return places[i];
    return NULL;
}

static bool answers(void *context)
{
    const struct sup_redis *redis = context;
    cr_assert_eq(sup_wait(redis->pid, 0), -1, "redis-server ended at once: %s",
                 sup_read(sup_path("redis.log"), NULL));
    return sup_run(SUP_ARGS("/usr/bin/redis-cli", "-s", redis->socket, "ping")).exit_code == 0;
}

void sup_redis_restart(struct sup_redis *redis)
{
    const char *words[WORDS_MAX] = {server_path(),
                                    "--port",
                                    "0",
                                    "--unixsocket",
                                    redis->socket,
                                    "--save",
                                    "",
                                    "--appendonly",
                                    "no",
                                    "--dir",
                                    sup_dir(),
                                    "--daemonize",
                                    "no",
                                    "--repl-diskless-load",
                                    "disabled"};
    size_t count = 0;
    while (words[count])
        count++;
    for (size_t i = 0; redis->extra && redis->extra[i]; i++)
        words[count++] = redis->extra[i];
    redis->pid = sup_spawn(words, sup_path("redis.log"), NULL);
    cr_assert(sup_until(answers, redis, 20000), "redis-server does not answer: %s",
              sup_read(sup_path("redis.log"), NULL));
}

struct sup_redis sup_redis_start(const char *const extra[])
{
    if (!server_path())
        cr_skip_test("redis-server is not installed (bash broker/dependencies.sh --tests)");
    static int started;
    const char *socket = sup_path("redis%d.sock", started++);
    struct sup_redis redis = {
        .socket = socket, .url = sup_format("unix://%s", socket), .extra = extra};
    sup_redis_restart(&redis);
    return redis;
}

void sup_redis_kill(struct sup_redis *redis)
{
    cr_assert_eq(kill(redis->pid, SIGKILL), 0, "kill: %m");
    cr_assert_eq(sup_wait(redis->pid, 20000), 128 + SIGKILL);
    redis->pid = 0;
}

char *sup_redis_cli(const struct sup_redis *redis, const char *const words[])
{
    const char *argv[WORDS_MAX] = {"/usr/bin/redis-cli", "-s", redis->socket};
    size_t count = 3;
    for (size_t i = 0; words[i]; i++)
        argv[count++] = words[i];
    char *text = sup_run_ok(argv);
    text[strcspn(text, "\n")] = 0;
    return text;
}
