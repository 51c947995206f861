/* SPDX-License-Identifier: MIT */
/* A broker in the background of a test. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "keep.h"
#include "support.h"

#define ARGS_MAX 64

static void add_words(const char *argv[ARGS_MAX], size_t *count, const char *const words[])
{
    for (size_t i = 0; words && words[i]; i++) {
        cr_assert_lt(*count, ARGS_MAX - 1, "too many arguments");
        argv[(*count)++] = words[i];
    }
    argv[*count] = NULL;
}

static bool answers(void *context)
{
    const struct sup_broker *broker = context;
    cr_assert_eq(sup_wait(broker->pid, 0), -1, "swbrokerd ended at once: %s",
                 sup_read(broker->log, NULL));
    return sup_run(SUP_ARGS("swctl", "--socket", broker->socket, "ping")).exit_code == 0;
}

struct sup_broker sup_broker_start(const char *chunks_dir, const char *cache_size,
                                   const char *const extra[])
{
    static int started;
    struct sup_broker broker = {.socket = sup_path("broker%d.sock", started),
                                .log = sup_path("broker%d.log", started)};
    started++;
    const char *argv[ARGS_MAX];
    size_t count = 0;
    add_words(argv, &count,
              SUP_ARGS("swbrokerd", "--cache-size", cache_size, "--socket", broker.socket));
    if (chunks_dir)
        add_words(argv, &count, SUP_ARGS("--chunks-dir", chunks_dir));
    const char *engine = getenv("SW_TEST_IO_ENGINE");
    if (engine)
        add_words(argv, &count, SUP_ARGS("--io-engine", engine));
    add_words(argv, &count, extra);
    cr_assert_eq(setenv("SW_SOCKET", broker.socket, 1), 0);
    broker.pid = sup_spawn(argv, NULL, broker.log);
    cr_assert(sup_until(answers, &broker, 20000), "swbrokerd does not answer: %s",
              sup_read(broker.log, NULL));
    return broker;
}

int sup_broker_stop(struct sup_broker *broker)
{
    if (broker->pid == 0)
        return 0;
    cr_assert_eq(kill(broker->pid, SIGTERM), 0, "kill: %m");
    int code = sup_wait(broker->pid, 20000);
    cr_assert_neq(code, -1, "swbrokerd does not stop");
    broker->pid = 0;
    return code;
}

void sup_broker_kill(struct sup_broker *broker)
{
    if (broker->pid == 0)
        return;
    cr_assert_eq(kill(broker->pid, SIGKILL), 0, "kill: %m");
    cr_assert_eq(sup_wait(broker->pid, 20000), 128 + SIGKILL);
    broker->pid = 0;
}

json_t *sup_swctl(const struct sup_broker *broker, const char *const words[])
{
    const char *argv[ARGS_MAX];
    size_t count = 0;
    add_words(argv, &count, SUP_ARGS("swctl", "--socket", broker->socket, "--json"));
    add_words(argv, &count, words);
    const char *text = sup_run_ok(argv);
    json_error_t error;
    json_t *object = json_loads(text, 0, &error);
    cr_assert(json_is_object(object), "swctl %s printed no JSON object (%s): %s", words[0],
              error.text, text);
    return object;
}

int64_t sup_stat(const struct sup_broker *broker, const char *key)
{
    json_t *stats = sup_swctl(broker, SUP_ARGS("stats"));
    json_t *value = json_object_get(stats, key);
    cr_assert(json_is_integer(value), "stats has no integer %s", key);
    int64_t result = json_integer_value(value);
    json_decref(stats);
    return result;
}

const char *sup_synth(const char *catalog, const char *name, const char *const extra[])
{
    const char *path = sup_format("%s/%s", catalog, name);
    const char *argv[ARGS_MAX];
    size_t count = 0;
    add_words(argv, &count, SUP_ARGS("swchunk", "synth", "bert-tiny", path));
    add_words(argv, &count, extra);
    (void)sup_run_ok(argv);
    return path;
}
