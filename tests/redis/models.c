/* SPDX-License-Identifier: MIT */
/* Pushing a model into a Redis, and brokers that serve models from there without any file. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "redis/fixture.h"

TestSuite(redis_models, .timeout = 240);

static struct sup_redis redis;

static struct sup_broker diskless(const char *url, const char *models)
{
    return sup_broker_start(
        NULL, "64", SUP_ARGS("--redis-url", url, "--redis-timeout", "20000", "--models", models));
}

static json_t *push(struct sup_broker *broker)
{
    return sup_swctl(broker, SUP_ARGS("push", "mini"));
}

static int64_t member(const json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);
    cr_assert(json_is_integer(value), "no integer %s", key);
    return json_integer_value(value);
}

/* A broker with files has pushed "mini". */
static void fill(void)
{
    struct sup_broker broker = redis_broker(redis.url, SUP_ARGS("--redis-mode", "write-only"));
    json_t *reply = push(&broker);
    cr_assert_eq(member(reply, "chunks_written"), REDIS_CHUNKS);
    json_decref(reply);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

/* swctl models: the row of a model. */
static json_t *row_of(const struct sup_broker *broker, const char *name)
{
    json_t *reply = sup_swctl(broker, SUP_ARGS("models"));
    json_t *rows = json_object_get(reply, "models"), *row = NULL;
    for (size_t i = 0; i < json_array_size(rows); i++)
        if (strcmp(json_string_value(json_object_get(json_array_get(rows, i), "model")), name) == 0)
            row = json_array_get(rows, i);
    cr_assert_not_null(row, "%s is not in the catalog", name);
    json_incref(row);
    json_decref(reply);
    return row;
}

static bool is_served(void *context)
{
    json_t *row = row_of(context, "mini");
    bool served = json_object_get(row, "chunks") && !json_object_get(row, "error");
    json_decref(row);
    return served;
}

static void wait_served(struct sup_broker *broker)
{
    cr_assert(sup_until(is_served, broker, 30000), "%s", sup_read(broker->log, NULL));
}

static const char *embed(const struct sup_broker *broker)
{
    static const char text[] = "the quick brown fox\nweights surf on shared memory\n";
    struct sup_result result =
        sup_run_input(SUP_ARGS("swbert", "embed", "--socket", broker->socket, "--model", "mini"),
                      text, sizeof text - 1);
    cr_assert_eq(result.exit_code, 0, "%s", result.err);
    cr_assert_gt(result.out_size, 1000);
    return result.out;
}

Test(redis_models, a_broker_without_files_computes_the_same)
{
    redis = sup_redis_start(NULL);
    struct sup_broker local = redis_broker(redis.url, SUP_ARGS("--redis-mode", "write-only"));
    const char *expected = embed(&local);
    json_decref(push(&local));
    cr_assert_eq(sup_broker_stop(&local), 0);
    struct sup_broker remote = diskless(redis.url, "mini");
    wait_served(&remote);
    cr_assert_str_eq(embed(&remote), expected);
    cr_assert_eq(redis_disk_loads(&remote), 0);
    cr_assert_eq(redis_stat(&remote, "hits"), REDIS_CHUNKS);
    json_t *row = row_of(&remote, "mini");
    cr_assert_str_eq(json_string_value(json_object_get(row, "origin")), "redis");
    cr_assert(json_is_true(json_object_get(json_object_get(row, "redis"), "pushed")));
    json_decref(row);
    (void)sup_redis_cli(&redis, SUP_ARGS("del", "sw:model:mini"));
    row = row_of(&remote, "mini");
    cr_assert(json_is_false(json_object_get(json_object_get(row, "redis"), "pushed")));
    json_decref(row);
    cr_assert_eq(sup_broker_stop(&remote), 0);
}

Test(redis_models, a_second_push_writes_all_of_it_again)
{
    redis = sup_redis_start(NULL);
    fill();
    struct sup_broker broker = redis_broker(redis.url, NULL);
    json_t *reply = push(&broker);
    cr_assert_eq(member(reply, "chunks_written"), REDIS_CHUNKS);
    json_decref(reply);
    cr_assert_eq(redis_disk_loads(&broker), 0);
    cr_assert_eq(sup_stat(&broker, "chunks_resident"), 0, "a push leaves the arena alone");
    char *text = sup_run_ok(SUP_ARGS("swctl", "--socket", broker.socket, "push", "mini"));
    cr_assert_not_null(strstr(text, "mini"), "%s", text);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

Test(redis_models, small_files_come_along_and_cannot_be_written)
{
    redis = sup_redis_start(NULL);
    sup_mkdir(sup_format("%s/mini/1_Pooling", redis_models()));
    sup_write_text(sup_format("%s/mini/1_Pooling/config.json", redis_models()), "{\"pooling\":1}");
    sup_write_text(sup_format("%s/mini/.hidden", redis_models()), "secret");
    fill();
    struct sup_broker broker = diskless(redis.url, "mini");
    wait_served(&broker);
    struct raw raw = raw_attach(&broker, "test");
    struct raw_model model = raw_open(&raw, "mini");
    struct swi_wire_file file = {.model = model.opened.model, .path = "1_Pooling/config.json"};
    cr_assert(raw_send(&raw, SWI_WIRE_FILE, &file, sizeof file, NULL, 0));
    struct raw_answer *answer = raw_expect(&raw, SWI_WIRE_FILE_IS);
    cr_assert_eq(answer->fd_count, 1);
    char text[64] = "";
    cr_assert_eq(pread(answer->fds[0], text, sizeof text, 0), 13);
    cr_assert_str_eq(text, "{\"pooling\":1}");
    cr_assert_lt(write(answer->fds[0], "x", 1), 0);
    cr_assert_lt(pwrite(answer->fds[0], "x", 1, 0), 0);
    static const char *const absent[] = {".hidden", "../mini/config.json", "layer_0.safetensors",
                                         "1_Pooling", "no-such"};
    for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++) {
        (void)snprintf(file.path, sizeof file.path, "%s", absent[i]);
        cr_assert(raw_send(&raw, SWI_WIRE_FILE, &file, sizeof file, NULL, 0));
        cr_assert_eq(raw_done(&raw, NULL), SW_ENOCOMPONENT, "%s", absent[i]);
    }
    raw_close(&raw);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

Test(redis_models, a_redis_that_is_down_at_the_start_is_waited_for)
{
    redis = sup_redis_start(NULL);
    fill();
    (void)sup_redis_cli(&redis, SUP_ARGS("save"));
    sup_redis_kill(&redis);
    struct sup_broker broker = diskless(redis.url, "mini,other");
    struct sup_result result = sup_run_input(
        SUP_ARGS("swbert", "embed", "--socket", broker.socket, "--model", "mini"), "a\n", 2);
    cr_assert_neq(result.exit_code, 0);
    cr_assert_not_null(strstr(result.err, "Redis"), "%s", result.err);
    sup_redis_restart(&redis);
    wait_served(&broker);
    redis_expect_all(&broker);
    json_t *row = row_of(&broker, "other");
    const char *error = json_string_value(json_object_get(row, "error"));
    cr_assert(error && strstr(error, "swctl push other"), "%s", error);
    json_decref(row);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

Test(redis_models, a_model_that_is_pushed_later_is_found)
{
    redis = sup_redis_start(NULL);
    struct sup_broker broker = diskless(redis.url, "mini");
    struct raw raw = raw_attach(&broker, "test");
    cr_assert_lt(raw_open_status(&raw, "mini"), 0);
    cr_assert_eq(raw_open_status(&raw, "else"), SW_ENOMODEL);
    raw_close(&raw);
    fill();
    json_decref(sup_swctl(&broker, SUP_ARGS("reload")));
    wait_served(&broker);
    redis_expect_all(&broker);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

Test(redis_models, a_new_revision_is_served_after_a_reload)
{
    redis = sup_redis_start(NULL);
    fill();
    struct sup_broker broker = diskless(redis.url, "mini");
    wait_served(&broker);
    struct raw old = raw_attach(&broker, "old");
    struct raw_model old_model = raw_open(&old, "mini");
    const char *path = sup_format("%s/mini", redis_models());
    sup_remove_tree(path);
    (void)sup_run_ok(
        SUP_ARGS("swchunk", "synth", "minilm-l6", path, "--layers", "3", "--seed", "8"));
    fill();
    struct raw raw = raw_attach(&broker, "new");
    cr_assert_eq(raw_open(&raw, "mini").opened.incarnation, old_model.opened.incarnation);
    json_decref(sup_swctl(&broker, SUP_ARGS("reload")));
    struct raw_model model = old_model;
    for (int i = 0; i < 200 && model.opened.incarnation == old_model.opened.incarnation; i++) {
        sup_sleep_ms(50);
        raw_close(&raw);
        raw = raw_attach(&broker, "new");
        model = raw_open(&raw, "mini");
    }
    cr_assert_neq(model.opened.incarnation, old_model.opened.incarnation);
    static const char *const layers[] = {"layer_0", "layer_1", "layer_2"};
    for (size_t i = 0; i < sizeof layers / sizeof layers[0]; i++) { /* both fit the cache */
        (void)raw_pin(&raw, &model, raw_find(&model, layers[i]));
        (void)raw_pin(&old, &old_model, raw_find(&old_model, layers[i]));
    }
    raw_close(&raw);
    raw_close(&old);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

/* The key of mini's bundle. */
static const char *bundle_key(void)
{
    char *current = sup_redis_cli(&redis, SUP_ARGS("get", "sw:model:mini"));
    return sup_format("sw:model:mini:%.32s", current);
}

static void expect_unserved(const char *why)
{
    struct sup_broker broker = diskless(redis.url, "mini");
    json_t *row = NULL;
    for (int i = 0; i < 400; i++) {
        row = row_of(&broker, "mini");
        const char *error = json_string_value(json_object_get(row, "error"));
        if (error && strstr(error, why))
            break;
        json_decref(row);
        row = NULL;
        sup_sleep_ms(25);
    }
    cr_assert_not_null(row, "nobody said \"%s\": %s", why, sup_read(broker.log, NULL));
    cr_assert_null(json_object_get(row, "chunks"));
    json_decref(row);
    fill(); /* makes it good */
    wait_served(&broker);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

static void fill_bundle_only(void)
{
    struct sup_broker broker = redis_broker(redis.url, SUP_ARGS("--redis-mode", "write-only"));
    json_decref(push(&broker));
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

Test(redis_models, a_damaged_bundle_is_never_served)
{
    redis = sup_redis_start(NULL);
    fill();
    (void)sup_redis_cli(&redis, SUP_ARGS("setrange", bundle_key(), "500", "XYZ"));
    struct sup_broker broker = diskless(redis.url, "mini");
    sup_sleep_ms(300);
    cr_assert_not(is_served(&broker));
    fill_bundle_only();
    wait_served(&broker);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

Test(redis_models, a_missing_bundle_or_pointer_is_told)
{
    redis = sup_redis_start(NULL);
    expect_unserved("has no model mini");
    (void)sup_redis_cli(&redis, SUP_ARGS("flushall"));
    (void)sup_redis_cli(&redis, SUP_ARGS("set", "sw:model:mini", "nonsense"));
    expect_unserved("holds no revision of");
    (void)sup_redis_cli(&redis, SUP_ARGS("del", bundle_key()));
    struct sup_broker broker = diskless(redis.url, "mini");
    sup_sleep_ms(300);
    cr_assert_not(is_served(&broker));
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

Test(redis_models, an_evicted_chunk_is_an_error_that_says_what_to_do)
{
    redis = sup_redis_start(NULL);
    fill();
    struct sup_broker broker = diskless(redis.url, "mini");
    wait_served(&broker);
    const char *key = sup_redis_cli(&redis, SUP_ARGS("--scan", "--pattern", "sw:chunk:*:3"));
    (void)sup_redis_cli(&redis, SUP_ARGS("del", key));
    struct raw raw = raw_attach(&broker, "test");
    struct raw_model model = raw_open(&raw, "mini");
    unsigned failed = 0;
    for (uint32_t i = 0; i < model.opened.chunks; i++) {
        const char *text;
        int status = raw_load(&raw, &model, i, &text);
        if (status < 0) {
            failed++;
            cr_assert_not_null(strstr(text, "swctl push"), "%s", text);
        }
    }
    cr_assert_eq(failed, 1);
    struct sup_broker local = redis_broker(redis.url, SUP_ARGS("--redis-mode", "write-only"));
    json_t *reply = push(&local);
    cr_assert_eq(member(reply, "chunks_written"), REDIS_CHUNKS);
    json_decref(reply);
    cr_assert_eq(sup_broker_stop(&local), 0);
    for (uint32_t i = 0; i < model.opened.chunks; i++)
        (void)raw_pin(&raw, &model, i);
    raw_close(&raw);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

/* All keys are there, and two chunks cannot be served: a push makes them good. */
Test(redis_models, a_push_makes_good_what_is_damaged)
{
    redis = sup_redis_start(NULL);
    fill();
    static const char damage[] = "local keys = redis.call('keys', 'sw:chunk:*:1') table.sort(keys) "
                                 "redis.call('set', keys[1], 'rubbish') redis.call('del', keys[2]) "
                                 "redis.call('lpush', keys[2], 'rubbish') return #keys";
    cr_assert_geq(atoi(sup_redis_cli(&redis, SUP_ARGS("eval", damage, "0"))), 2);
    struct sup_broker broker = diskless(redis.url, "mini");
    wait_served(&broker);
    struct raw raw = raw_attach(&broker, "test");
    struct raw_model model = raw_open(&raw, "mini");
    unsigned failed = 0;
    for (uint32_t i = 0; i < model.opened.chunks; i++) {
        const char *text;
        if (raw_load(&raw, &model, i, &text) == 0)
            continue;
        failed++;
        cr_assert_not_null(strstr(text, "swctl push"), "%s", text);
    }
    cr_assert_eq(failed, 2);
    fill();
    for (uint32_t i = 0; i < model.opened.chunks; i++)
        (void)raw_pin(&raw, &model, i);
    raw_close(&raw);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

/* With nothing else to go on from, a load waits for a Redis that restarts. */
Test(redis_models, a_short_absence_is_waited_out)
{
    redis = sup_redis_start(NULL);
    fill();
    (void)sup_redis_cli(&redis, SUP_ARGS("save"));
    struct sup_broker broker = diskless(redis.url, "mini");
    wait_served(&broker);
    struct raw raw = raw_attach(&broker, "test");
    struct raw_model model = raw_open(&raw, "mini");
    sup_redis_kill(&redis);
    const struct swi_wire_load load = {.incarnation = model.opened.incarnation,
                                       .model = model.opened.model,
                                       .chunk = model.ids[0]};
    cr_assert(raw_send(&raw, SWI_WIRE_LOAD, &load, sizeof load, NULL, 0));
    sup_redis_restart(&redis);
    const char *text;
    cr_assert_eq(raw_done(&raw, &text), 0, "%s", text);
    raw_close(&raw);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

/* ---- pushes that cannot be ---------------------------------------------------------------------
 */

static void expect_no_push(struct sup_broker *broker, const char *model, const char *why)
{
    struct sup_result result =
        sup_run(SUP_ARGS("swctl", "--socket", broker->socket, "push", model));
    cr_assert_eq(result.exit_code, 1, "%s%s", result.out, result.err);
    cr_assert_not_null(strstr(result.err, why), "%s", result.err);
}

Test(redis_models, a_push_that_cannot_be_says_why)
{
    redis = sup_redis_start(NULL);
    struct sup_broker plain = sup_broker_start(redis_models(), "64", NULL);
    expect_no_push(&plain, "mini", "--redis-url");
    cr_assert_eq(sup_broker_stop(&plain), 0);
    struct sup_broker reader = redis_broker(redis.url, SUP_ARGS("--redis-mode", "read-only"));
    expect_no_push(&reader, "mini", "read-only");
    cr_assert_eq(sup_broker_stop(&reader), 0);
    struct sup_broker broker = redis_broker(redis.url, NULL);
    expect_no_push(&broker, "other", "no model other");
    fill();
    struct sup_broker remote = diskless(redis.url, "mini");
    wait_served(&remote);
    expect_no_push(&remote, "mini", "where its files are");
    cr_assert_eq(sup_broker_stop(&remote), 0);
    sup_redis_kill(&redis);
    expect_no_push(&broker, "mini", "Redis at");
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

Test(redis_models, a_damaged_file_is_not_pushed)
{
    redis = sup_redis_start(NULL);
    const char *file = sup_format("%s/mini/layer_1.safetensors", redis_models());
    size_t size;
    char *bytes = sup_read(file, &size);
    bytes[size / 2] ^= 1;
    sup_write(file, bytes, size);
    struct sup_broker broker = redis_broker(redis.url, NULL);
    expect_no_push(&broker, "mini", "layer_1");
    cr_assert_str_eq(sup_redis_cli(&redis, SUP_ARGS("exists", "sw:model:mini")), "0");
    bytes[size / 2] ^= 1;
    sup_write(file, bytes, size);
    json_t *reply = push(&broker);
    cr_assert_eq(member(reply, "chunks_written"), REDIS_CHUNKS);
    json_decref(reply);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

Test(redis_models, a_full_redis_ends_a_push)
{
    redis = sup_redis_start(SUP_ARGS("--maxmemory", "3mb", "--maxmemory-policy", "noeviction"));
    struct sup_broker broker = redis_broker(redis.url, NULL);
    expect_no_push(&broker, "mini", "OOM command not allowed");
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

/* Writing is paused for what the broker writes by itself, once and again for longer. */
static struct sup_broker paused(void)
{
    redis = sup_redis_start(SUP_ARGS("--maxmemory", "3mb", "--maxmemory-policy", "noeviction"));
    struct sup_broker broker = redis_broker(redis.url, NULL);
    redis_expect_all(&broker);
    redis_wait_for(&broker, "out_of_memory", 3);
    return broker;
}

Test(redis_models, a_push_does_not_wait_for_a_pause_and_a_redis_that_goes_away)
{
    struct sup_broker broker = paused();
    const char *errors = sup_path("errors");
    pid_t pusher =
        sup_spawn(SUP_ARGS("swctl", "--socket", broker.socket, "push", "mini"), NULL, errors);
    sup_sleep_ms(300);
    sup_redis_kill(&redis);
    cr_assert_eq(sup_wait(pusher, 30000), 1);
    cr_assert_not_null(strstr(sup_read(errors, NULL), "Redis"));
    expect_no_push(&broker, "mini", "Redis at");
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

Test(redis_models, a_push_finds_the_room_that_was_made_during_a_pause)
{
    struct sup_broker broker = paused();
    (void)sup_redis_cli(&redis, SUP_ARGS("config", "set", "maxmemory", "0"));
    json_t *reply = push(&broker);
    cr_assert_eq(member(reply, "chunks_written"), REDIS_CHUNKS);
    json_decref(reply);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

/* The next object that answers the last CONTROL. */
static json_t *next_answer(struct raw *raw)
{
    struct raw_answer *answer = raw_expect(raw, SWI_WIRE_CONTROL_PART);
    struct swi_wire_text head;
    (void)swi_wire_get(&answer->in, &head, sizeof head);
    cr_assert_eq(head.more, 0);
    size_t size;
    const char *text = swi_wire_rest(&answer->in, &size);
    json_t *object = json_loadb(text, size, 0, NULL);
    cr_assert(json_is_object(object), "%.*s", (int)size, text);
    return object;
}

Test(redis_models, a_push_tells_how_far_it_is_when_asked)
{
    static const char request[] = "{\"verb\":\"push\",\"model\":\"mini\",\"progress\":true}";
    redis = sup_redis_start(NULL);
    struct sup_broker broker = redis_broker(redis.url, NULL);
    struct raw raw = raw_connect(&broker);
    const struct swi_wire_text head = {.text_length = sizeof request - 1};
    cr_assert(raw_send(&raw, SWI_WIRE_CONTROL, &head, sizeof head, request, sizeof request - 1));
    json_t *object = next_answer(&raw);
    json_t *progress = json_object_get(object, "progress");
    cr_assert(json_is_object(progress), "the first chunk of seven is told of");
    cr_assert_eq(member(progress, "of_chunks"), REDIS_CHUNKS);
    cr_assert_geq(member(progress, "chunks"), 1);
    cr_assert_lt(member(progress, "bytes"), member(progress, "of_bytes"));
    while (json_object_get(object, "progress")) {
        json_decref(object);
        object = next_answer(&raw);
    }
    cr_assert(json_is_true(json_object_get(object, "ok")));
    json_decref(object);
    raw_close(&raw);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

Test(redis_models, a_push_ends_with_who_asked_for_it)
{
    redis = sup_redis_start(NULL);
    struct sup_broker broker = redis_broker(redis.url, NULL);
    cr_assert_eq(kill(redis.pid, SIGSTOP), 0);
    pid_t pusher =
        sup_spawn(SUP_ARGS("swctl", "--socket", broker.socket, "push", "mini"), NULL, NULL);
    sup_sleep_ms(300);
    cr_assert_eq(kill(pusher, SIGKILL), 0);
    cr_assert_eq(sup_wait(pusher, 10000), 128 + SIGKILL);
    cr_assert_eq(kill(redis.pid, SIGCONT), 0);
    json_t *reply = push(&broker); /* nothing is in its way */
    cr_assert_eq(member(reply, "chunks_written"), REDIS_CHUNKS);
    json_decref(reply);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

Test(redis_models, names_that_are_none_are_refused_at_the_start)
{
    static const char *const lists[] = {"", ",", "a,", "a,,b", "../a", ".a", "a/b"};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        struct sup_result result =
            sup_run(SUP_ARGS("swbrokerd", "--socket", sup_path("none.sock"), "--redis-url",
                             "redis://h", "--models", lists[i]));
        cr_assert_neq(result.exit_code, 0, "\"%s\"", lists[i]);
        cr_assert_not_null(strstr(result.err, "--models"), "%s", result.err);
    }
    struct sup_result lonely =
        sup_run(SUP_ARGS("swbrokerd", "--socket", sup_path("none.sock"), "--models", "a"));
    cr_assert_neq(lonely.exit_code, 0);
    cr_assert_not_null(strstr(lonely.err, "--redis-url"), "%s", lonely.err);
}
