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

static int64_t member(const json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);
    cr_assert(json_is_integer(value), "no integer %s", key);
    return json_integer_value(value);
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
    json_decref(redis_push(&local));
    cr_assert_eq(sup_broker_stop(&local), 0);
    struct sup_broker remote = diskless(redis.url, "mini");
    redis_wait_served(&remote);
    cr_assert_str_eq(embed(&remote), expected);
    cr_assert_eq(redis_disk_loads(&remote), 0);
    cr_assert_eq(redis_stat(&remote, "hits"), REDIS_CHUNKS);
    json_t *row = redis_row(&remote, "mini");
    cr_assert_str_eq(json_string_value(json_object_get(row, "origin")), "redis");
    cr_assert(json_is_true(json_object_get(json_object_get(row, "redis"), "pushed")));
    json_decref(row);
    (void)sup_redis_cli(&redis, SUP_ARGS("del", "sw:model:mini"));
    row = redis_row(&remote, "mini");
    cr_assert(json_is_false(json_object_get(json_object_get(row, "redis"), "pushed")));
    json_decref(row);
    cr_assert_eq(sup_broker_stop(&remote), 0);
}

Test(redis_models, a_second_push_writes_all_of_it_again)
{
    redis = sup_redis_start(NULL);
    redis_push_from_files(&redis);
    struct sup_broker broker = redis_broker(redis.url, NULL);
    json_t *reply = redis_push(&broker);
    cr_assert_eq(member(reply, "chunks_written"), REDIS_CHUNKS);
    json_decref(reply);
    cr_assert_eq(redis_disk_loads(&broker), 0);
    cr_assert_eq(sup_stat(&broker, "chunks_resident"), 0, "a push leaves the arena alone");
    char *text = sup_run_ok(SUP_ARGS("swctl", "--socket", broker.socket, "push", "mini"));
    cr_assert_not_null(strstr(text, "mini"), "%s", text);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

Test(redis_models, small_files_are_served_read_only)
{
    redis = sup_redis_start(NULL);
    sup_mkdir(sup_format("%s/mini/1_Pooling", redis_models()));
    sup_write_text(sup_format("%s/mini/1_Pooling/config.json", redis_models()), "{\"pooling\":1}");
    sup_write_text(sup_format("%s/mini/.hidden", redis_models()), "secret");
    redis_push_from_files(&redis);
    struct sup_broker broker = diskless(redis.url, "mini");
    redis_wait_served(&broker);
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

Test(redis_models, a_broker_waits_for_a_redis_that_is_down_at_the_start)
{
    redis = sup_redis_start(NULL);
    redis_push_from_files(&redis);
    (void)sup_redis_cli(&redis, SUP_ARGS("save"));
    sup_redis_kill(&redis);
    struct sup_broker broker = diskless(redis.url, "mini,other");
    struct sup_result result = sup_run_input(
        SUP_ARGS("swbert", "embed", "--socket", broker.socket, "--model", "mini"), "a\n", 2);
    cr_assert_neq(result.exit_code, 0);
    cr_assert_not_null(strstr(result.err, "Redis"), "%s", result.err);
    sup_redis_restart(&redis);
    redis_wait_served(&broker);
    redis_expect_all(&broker);
    json_t *row = redis_row(&broker, "other");
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
    redis_push_from_files(&redis);
    json_decref(sup_swctl(&broker, SUP_ARGS("reload")));
    redis_wait_served(&broker);
    redis_expect_all(&broker);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

struct newer {
    const struct sup_broker *broker;
    int64_t than; /* incarnation */
};

static bool is_newer(void *context)
{
    const struct newer *newer = context;
    json_t *row = redis_row(newer->broker, "mini");
    bool is = member(row, "revision") != newer->than;
    json_decref(row);
    return is;
}

Test(redis_models, a_new_revision_is_served_after_a_reload)
{
    redis = sup_redis_start(NULL);
    redis_push_from_files(&redis);
    struct sup_broker broker = diskless(redis.url, "mini");
    redis_wait_served(&broker);
    struct raw old = raw_attach(&broker, "old");
    struct raw_model old_model = raw_open(&old, "mini");
    redis_make_model("8");
    redis_push_from_files(&redis);
    struct raw raw = raw_attach(&broker, "new");
    cr_assert_eq(raw_open(&raw, "mini").opened.incarnation, old_model.opened.incarnation);
    json_decref(sup_swctl(&broker, SUP_ARGS("reload")));
    struct newer newer = {&broker, (int64_t)old_model.opened.incarnation};
    cr_assert(sup_until(is_newer, &newer, 20000), "%s", sup_read(broker.log, NULL));
    raw_close(&raw);
    raw = raw_attach(&broker, "new");
    struct raw_model model = raw_open(&raw, "mini");
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

struct told {
    const struct sup_broker *broker;
    const char *why;
};

static bool is_told(void *context)
{
    const struct told *told = context;
    json_t *row = redis_row(told->broker, "mini");
    const char *error = json_string_value(json_object_get(row, "error"));
    bool found = error && strstr(error, told->why);
    cr_assert_null(json_object_get(row, "chunks"), "it is served");
    json_decref(row);
    return found;
}

/* A broker without files says why it does not serve the model; a push repairs it. */
static void expect_unserved(const char *why, bool reload)
{
    struct sup_broker broker = diskless(redis.url, "mini");
    struct told told = {&broker, why};
    cr_assert(sup_until(is_told, &told, 20000), "nobody said \"%s\": %s", why,
              sup_read(broker.log, NULL));
    redis_push_from_files(&redis);
    if (reload)
        json_decref(sup_swctl(&broker, SUP_ARGS("reload")));
    redis_wait_served(&broker);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

Test(redis_models, a_damaged_bundle_is_never_served)
{
    redis = sup_redis_start(NULL);
    redis_push_from_files(&redis);
    (void)sup_redis_cli(&redis, SUP_ARGS("setrange", bundle_key(), "500", "XYZ"));
    expect_unserved("are damaged", false); /* it is looked for again by itself */
}

Test(redis_models, a_missing_bundle_or_name_is_reported)
{
    redis = sup_redis_start(NULL);
    expect_unserved("has no model mini", true);
    (void)sup_redis_cli(&redis, SUP_ARGS("del", bundle_key()));
    expect_unserved("lacks its manifest", true);
    (void)sup_redis_cli(&redis, SUP_ARGS("set", "sw:model:mini", "nonsense"));
    expect_unserved("holds no revision of", true);
}

Test(redis_models, the_error_for_an_evicted_chunk_says_what_to_do)
{
    redis = sup_redis_start(NULL);
    redis_push_from_files(&redis);
    struct sup_broker broker = diskless(redis.url, "mini");
    redis_wait_served(&broker);
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
    json_t *reply = redis_push(&local);
    cr_assert_eq(member(reply, "chunks_written"), REDIS_CHUNKS);
    json_decref(reply);
    cr_assert_eq(sup_broker_stop(&local), 0);
    for (uint32_t i = 0; i < model.opened.chunks; i++)
        (void)raw_pin(&raw, &model, i);
    raw_close(&raw);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

/* All keys are there, but two chunks are damaged: a push repairs them. */
Test(redis_models, a_push_repairs_damage)
{
    redis = sup_redis_start(NULL);
    redis_push_from_files(&redis);
    static const char damage[] = "local keys = redis.call('keys', 'sw:chunk:*:1') table.sort(keys) "
                                 "redis.call('set', keys[1], 'rubbish') redis.call('del', keys[2]) "
                                 "redis.call('lpush', keys[2], 'rubbish') return #keys";
    cr_assert_geq(atoi(sup_redis_cli(&redis, SUP_ARGS("eval", damage, "0"))), 2);
    struct sup_broker broker = diskless(redis.url, "mini");
    redis_wait_served(&broker);
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
    redis_push_from_files(&redis);
    for (uint32_t i = 0; i < model.opened.chunks; i++)
        (void)raw_pin(&raw, &model, i);
    raw_close(&raw);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

/* Without another origin, a load waits for a Redis that restarts. */
Test(redis_models, a_load_waits_for_a_redis_that_restarts)
{
    redis = sup_redis_start(NULL);
    redis_push_from_files(&redis);
    (void)sup_redis_cli(&redis, SUP_ARGS("save"));
    struct sup_broker broker = diskless(redis.url, "mini");
    redis_wait_served(&broker);
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

/* ---- impossible pushes ------------------------------------------------------------------- */

static void expect_no_push(struct sup_broker *broker, const char *model, const char *why)
{
    struct sup_result result =
        sup_run(SUP_ARGS("swctl", "--socket", broker->socket, "push", model));
    cr_assert_eq(result.exit_code, 1, "%s%s", result.out, result.err);
    cr_assert_not_null(strstr(result.err, why), "%s", result.err);
}

Test(redis_models, an_impossible_push_says_why)
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
    redis_push_from_files(&redis);
    struct sup_broker remote = diskless(redis.url, "mini");
    redis_wait_served(&remote);
    expect_no_push(&remote, "mini", "that has its files");
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
    json_t *reply = redis_push(&broker);
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

/* The writeback is paused, for the second time, for longer. */
static struct sup_broker paused(void)
{
    redis = sup_redis_start(SUP_ARGS("--maxmemory", "3mb", "--maxmemory-policy", "noeviction"));
    struct sup_broker broker = redis_broker(redis.url, NULL);
    redis_expect_all(&broker);
    redis_wait_for(&broker, "out_of_memory", 2);
    return broker;
}

Test(redis_models, a_push_fails_at_once_if_the_redis_is_full_or_gone)
{
    struct sup_broker broker = paused();
    expect_no_push(&broker, "mini", "OOM command not allowed");
    sup_redis_kill(&redis);
    expect_no_push(&broker, "mini", "Redis at");
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

Test(redis_models, a_push_ends_a_pause)
{
    struct sup_broker broker = paused();
    (void)sup_redis_cli(&redis, SUP_ARGS("config", "set", "maxmemory", "0"));
    json_t *reply = redis_push(&broker);
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

static void ask_push(struct raw *raw)
{
    static const char request[] = "{\"verb\":\"push\",\"model\":\"mini\",\"progress\":true}";
    const struct swi_wire_text head = {.text_length = sizeof request - 1};
    cr_assert(raw_send(raw, SWI_WIRE_CONTROL, &head, sizeof head, request, sizeof request - 1));
}

Test(redis_models, a_push_reports_progress)
{
    redis = sup_redis_start(NULL);
    struct sup_broker broker = redis_broker(redis.url, NULL);
    struct raw raw = raw_connect(&broker);
    ask_push(&raw);
    json_t *object = next_answer(&raw);
    json_t *progress = json_object_get(object, "progress");
    cr_assert(json_is_object(progress), "the first chunk is told of");
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

Test(redis_models, a_push_ends_with_its_connection)
{
    redis = sup_redis_start(NULL);
    struct sup_broker broker = redis_broker(redis.url, NULL);
    cr_assert_eq(kill(redis.pid, SIGSTOP), 0);
    struct raw raw = raw_connect(&broker);
    ask_push(&raw);
    for (int i = 0; i < 3; i++) /* what the broker reads after that message */
        (void)sup_stat(&broker, "clients");
    expect_no_push(&broker, "mini", "another push is under way");
    raw_close(&raw);
    cr_assert_eq(kill(redis.pid, SIGCONT), 0);
    json_t *reply = redis_push(&broker); /* nothing is in its way */
    cr_assert_eq(member(reply, "chunks_written"), REDIS_CHUNKS);
    json_decref(reply);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

Test(redis_models, invalid_names_are_refused_at_the_start)
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
