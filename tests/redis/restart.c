/* SPDX-License-Identifier: MIT */
/* Brokers that are succeeded while a Redis has to do with it. */
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

#include "redis/fixture.h"
#include "support/managed.h"

TestSuite(redis_restart, .timeout = 240);

#define ROOM 64u /* descriptors that the manager keeps */

static bool both_up(void *context)
{
    return redis_is_up(context, "reads") && redis_is_up(context, "writes");
}

/* A question to Redis on its behalf dies with the broker: it would wait for ever. */
Test(redis_restart, a_client_whose_answer_was_lost_is_hung_up_on)
{
    struct sup_redis redis = sup_redis_start(NULL);
    struct managed managed =
        managed_start(redis_models(), "64", ROOM, false,
                      SUP_ARGS("--redis-url", redis.url, "--redis-timeout", "60000"));
    cr_assert(sup_until(both_up, &managed.broker, 60000), "%s", sup_read(managed.broker.log, NULL));
    struct raw raw = raw_attach(&managed.broker, "asking");
    cr_assert_eq(kill(redis.pid, SIGSTOP), 0);
    static const char text[] = "{\"verb\":\"models\"}";
    struct swi_wire_text head = {.text_length = sizeof text - 1};
    cr_assert(raw_send(&raw, SWI_WIRE_CONTROL, &head, sizeof head, text, sizeof text - 1));
    for (int i = 0; i < 3; i++) /* what it reads after that message */
        cr_assert_eq(sup_stat(&managed.broker, "clients"), 1);
    managed_kill(&managed);
    managed_begin(&managed);
    cr_assert_eq(sup_stat(&managed.broker, "adopted_sessions"), 0);
    raw_expect_hangup(&raw);
    raw_close(&raw);
    managed_end(&managed);
    cr_assert_eq(kill(redis.pid, SIGCONT), 0);
}

/* ---- models without files ---------------------------------------------------------------------
 */

#define FIRST 1u /* of the chunks, the one that is held */

struct scene {
    struct sup_redis redis;
    struct managed managed;
    struct raw raw;
    struct raw_model model;
    uint64_t generation; /* of the held chunk */
};

static bool is_served(void *context)
{
    bool served = false;
    json_t *reply = sup_swctl(context, SUP_ARGS("models"));
    json_t *rows = json_object_get(reply, "models");
    for (size_t i = 0; i < json_array_size(rows); i++) {
        json_t *row = json_array_get(rows, i);
        served = served || (json_object_get(row, "chunks") && !json_object_get(row, "error"));
    }
    json_decref(reply);
    return served;
}

static void push(const struct sup_redis *redis)
{
    struct sup_broker local = redis_broker(redis->url, SUP_ARGS("--redis-mode", "write-only"));
    json_decref(sup_swctl(&local, SUP_ARGS("push", "mini")));
    cr_assert_eq(sup_broker_stop(&local), 0);
}

/* Until the broker is done with the last message, and not only has answered it: who is killed in
 * between lets its successor answer again. */
static void let_finish(const struct scene *scene)
{
    (void)sup_stat(&scene->managed.broker, "clients");
}

/* A broker that has "mini" from Redis, and a client with one chunk loaded and held. */
static struct scene open_scene(unsigned room, const char *models)
{
    struct scene scene = {.redis = sup_redis_start(NULL)};
    push(&scene.redis);
    (void)sup_redis_cli(&scene.redis, SUP_ARGS("save"));
    scene.managed = managed_start(
        NULL, "64", room, false,
        SUP_ARGS("--redis-url", scene.redis.url, "--redis-timeout", "20000", "--models", models));
    cr_assert(sup_until(is_served, &scene.managed.broker, 30000), "%s",
              sup_read(scene.managed.broker.log, NULL));
    scene.raw = raw_attach(&scene.managed.broker, "tester");
    scene.model = raw_open(&scene.raw, "mini");
    (void)raw_pin(&scene.raw, &scene.model, FIRST);
    scene.generation = swi_entry_get(scene.raw.index, scene.model.ids[FIRST]).generation;
    let_finish(&scene);
    return scene;
}

static void expect_kept(const struct scene *scene)
{
    cr_assert_eq(sup_stat(&scene->managed.broker, "adopted_sessions"), 1);
    cr_assert(swi_pin_valid(scene->raw.index, scene->raw.welcome.session, scene->raw.welcome.epoch,
                            scene->model.ids[FIRST], scene->generation));
}

static void load_all(struct scene *scene)
{
    const char *text;
    for (uint32_t i = 0; i < scene->model.opened.chunks; i++)
        cr_assert_eq(raw_load(&scene->raw, &scene->model, i, &text), 0, "%s", text);
}

static void close_scene(struct scene *scene)
{
    raw_close(&scene->raw);
    managed_end(&scene->managed);
}

Test(redis_restart, who_has_a_model_from_redis_open_notices_nothing)
{
    struct scene scene = open_scene(ROOM, "mini");
    for (int round = 0; round < 4; round++) {
        if (round % 2)
            managed_crash(&scene.managed);
        else
            managed_restart(&scene.managed);
        expect_kept(&scene);
        cr_assert_eq(raw_load(&scene.raw, &scene.model, 2 + (uint32_t)round, NULL), 0);
        let_finish(&scene);
        cr_assert_eq(managed_count(&scene.managed, "sw-model-"), 1);
    }
    load_all(&scene);
    cr_assert_eq(raw_open(&scene.raw, "mini").opened.incarnation, scene.model.opened.incarnation);
    close_scene(&scene);
}

Test(redis_restart, a_restart_while_redis_is_away_costs_no_model)
{
    struct scene scene = open_scene(ROOM, "mini");
    sup_redis_kill(&scene.redis);
    managed_crash(&scene.managed);
    expect_kept(&scene);
    cr_assert_eq(raw_load(&scene.raw, &scene.model, FIRST, NULL), 0, "it was hashed, and is there");
    struct raw other = raw_attach(&scene.managed.broker, "other");
    struct raw_model model = raw_open(&other, "mini");
    cr_assert_eq(model.opened.incarnation, scene.model.opened.incarnation);
    (void)raw_pin(&other, &model, FIRST);
    raw_close(&other);
    sup_redis_restart(&scene.redis);
    cr_assert(sup_until(is_served, &scene.managed.broker, 30000));
    load_all(&scene);
    close_scene(&scene);
}

Test(redis_restart, a_new_revision_takes_the_place_of_the_kept_one)
{
    struct scene scene = open_scene(ROOM, "mini");
    cr_assert_eq(managed_stop(&scene.managed), 0);
    const char *path = sup_format("%s/mini", redis_models());
    sup_remove_tree(path);
    (void)sup_run_ok(
        SUP_ARGS("swchunk", "synth", "minilm-l6", path, "--layers", "3", "--seed", "8"));
    push(&scene.redis);
    managed_begin(&scene.managed);
    expect_kept(&scene);
    struct raw_model model = scene.model;
    for (int i = 0; i < 400 && model.opened.incarnation == scene.model.opened.incarnation; i++) {
        sup_sleep_ms(50);
        struct raw other = raw_attach(&scene.managed.broker, "other");
        model = raw_open(&other, "mini");
        raw_close(&other);
    }
    cr_assert_neq(model.opened.incarnation, scene.model.opened.incarnation);
    cr_assert_eq(managed_count(&scene.managed, "sw-model-"), 1);
    cr_assert_eq(raw_load(&scene.raw, &scene.model, FIRST, NULL), 0, "the old one is open still");
    managed_restart(&scene.managed);
    cr_assert_eq(raw_open(&scene.raw, "mini").opened.incarnation, model.opened.incarnation);
    close_scene(&scene);
}

/* What is stored under such a name and is not what it should be is dropped, and Redis asked. */
Test(redis_restart, kept_models_that_are_not_in_order_are_dropped)
{
    struct scene scene = open_scene(ROOM, "mini,absent");
    cr_assert_eq(managed_stop(&scene.managed), 0);
    const char *name = managed_name(&scene.managed, "sw-model-");
    int fds[8], ends[2];
    cr_assert_eq(managed_take(&scene.managed, name, fds), 1);
    (void)managed_tell(&scene.managed, "drop %s", name);
    cr_assert_eq(pipe(ends), 0);
    managed_put(&scene.managed, name, ends[0]);
    managed_put(&scene.managed, "sw-model-00000000000000000000000000000000", fds[0]);
    managed_put(&scene.managed, "sw-model-", ends[1]);
    managed_begin(&scene.managed);
    cr_assert(sup_until(is_served, &scene.managed.broker, 30000));
    cr_assert_eq(managed_count(&scene.managed, "sw-model-"), 1);
    cr_assert_str_eq(managed_name(&scene.managed, "sw-model-"), name);
    struct raw other = raw_attach(&scene.managed.broker, "other");
    struct raw_model model = raw_open(&other, "mini");
    (void)raw_pin(&other, &model, FIRST);
    raw_close(&other);
    close_scene(&scene);
}

Test(redis_restart, too_small_a_store_keeps_sessions_before_models)
{
    struct scene scene = open_scene(4 + 2, "mini");
    cr_assert_eq(managed_count(&scene.managed, "sw-model-"), 0);
    cr_assert_eq(managed_count(&scene.managed, "sw-session-"), 2);
    cr_assert_not_null(strstr(sup_read(scene.managed.broker.log, NULL), "FileDescriptorStoreMax"));
    close_scene(&scene);
}
