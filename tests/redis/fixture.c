/* SPDX-License-Identifier: MIT */
/* What the tests of the Redis tier with real brokers share. */
#include "redis/fixture.h"

#include <criterion/criterion.h>
#include <string.h>

const char *redis_models(void)
{
    const char *models = sup_path("models");
    if (sup_exists(models))
        return models;
    sup_mkdir(models);
    redis_make_model("7");
    return models;
}

void redis_make_model(const char *seed)
{
    const char *path = sup_format("%s/mini", sup_path("models"));
    sup_remove_tree(path);
    (void)sup_run_ok(SUP_ARGS("swchunk", "synth", "minilm-l6", path, "--layers", "3",
                              "--vocab-size", "8000", "--seed", seed));
}

json_t *redis_row(const struct sup_broker *broker, const char *model)
{
    json_t *reply = sup_swctl(broker, SUP_ARGS("models"));
    json_t *rows = json_object_get(reply, "models"), *row, *found = NULL;
    size_t i;
    json_array_foreach(rows, i, row)
    {
        if (!found && strcmp(json_string_value(json_object_get(row, "model")), model) == 0)
            found = json_incref(row);
    }
    json_decref(reply);
    cr_assert_not_null(found, "%s is not in the catalog", model);
    return found;
}

static bool is_served(void *context)
{
    return redis_is_served(context);
}

bool redis_is_served(const struct sup_broker *broker)
{
    json_t *row = redis_row(broker, "mini");
    bool served = json_object_get(row, "chunks") && !json_object_get(row, "error");
    json_decref(row);
    return served;
}

void redis_wait_served(struct sup_broker *broker)
{
    cr_assert(sup_until(is_served, broker, 30000), "%s", sup_read(broker->log, NULL));
}

struct logged {
    const struct sup_broker *broker;
    const char *text;
};

static bool is_logged(void *context)
{
    const struct logged *logged = context;
    return strstr(sup_read(logged->broker->log, NULL), logged->text) != NULL;
}

void redis_wait_logged(const struct sup_broker *broker, const char *text)
{
    struct logged logged = {broker, text};
    cr_assert(sup_until(is_logged, &logged, 30000), "no \"%s\": %s", text,
              sup_read(broker->log, NULL));
}

json_t *redis_push(const struct sup_broker *broker)
{
    return sup_swctl(broker, SUP_ARGS("push", "mini"));
}

void redis_push_from_files(const struct sup_redis *redis)
{
    struct sup_broker broker = redis_broker(redis->url, SUP_ARGS("--redis-mode", "write-only"));
    json_t *reply = redis_push(&broker);
    cr_assert_eq(json_integer_value(json_object_get(reply, "chunks_written")), REDIS_CHUNKS);
    json_decref(reply);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

struct sup_broker redis_broker_alone(const char *url, const char *const extra[])
{
    const char *words[32] = {"--redis-url", url, "--redis-timeout", "20000"};
    size_t count = 4;
    for (size_t i = 0; extra && extra[i]; i++)
        words[count++] = extra[i];
    return sup_broker_start(redis_models(), "64", words);
}

static json_t *part_of(const struct sup_broker *broker, const char *part)
{
    json_t *stats = sup_swctl(broker, SUP_ARGS("stats"));
    json_t *redis = json_object_get(stats, "redis");
    cr_assert(json_is_object(redis), "stats has no redis");
    json_t *object = part ? json_object_get(redis, part) : redis;
    cr_assert_not_null(object, "stats has no redis.%s", part);
    json_incref(object);
    json_decref(stats);
    return object;
}

static int64_t number(json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);
    cr_assert(json_is_integer(value), "no integer %s", key);
    int64_t result = json_integer_value(value);
    json_decref(object);
    return result;
}

int64_t redis_stat(const struct sup_broker *broker, const char *key)
{
    return number(part_of(broker, NULL), key);
}

int64_t redis_link_stat(const struct sup_broker *broker, const char *part, const char *key)
{
    return number(part_of(broker, part), key);
}

const char *redis_breaker(const struct sup_broker *broker)
{
    json_t *object = part_of(broker, NULL);
    const char *state = sup_format("%s", json_string_value(json_object_get(object, "breaker")));
    json_decref(object);
    return state;
}

int64_t redis_disk_loads(const struct sup_broker *broker)
{
    json_t *stats = sup_swctl(broker, SUP_ARGS("stats"));
    json_t *disk = json_object_get(stats, "disk");
    json_incref(disk);
    json_decref(stats);
    return number(disk, "loads");
}

bool redis_is_up(const struct sup_broker *broker, const char *part)
{
    json_t *object = part_of(broker, part);
    bool up = json_is_null(object) || json_is_true(json_object_get(object, "up"));
    json_decref(object);
    return up;
}

static bool both_up(void *context)
{
    return redis_is_up(context, "reads") && redis_is_up(context, "writes");
}

struct sup_broker redis_broker(const char *url, const char *const extra[])
{
    struct sup_broker broker = redis_broker_alone(url, extra);
    cr_assert(sup_until(both_up, &broker, 60000), "not connected: %s", sup_read(broker.log, NULL));
    return broker;
}

void redis_expect_all(const struct sup_broker *broker)
{
    struct raw raw = raw_attach(broker, "test");
    struct raw_model model = raw_open(&raw, "mini");
    cr_assert_eq(model.opened.chunks, REDIS_CHUNKS);
    for (uint32_t i = 0; i < model.opened.chunks; i++)
        (void)raw_pin(&raw, &model, i);
    raw_close(&raw);
}

struct goal {
    const struct sup_broker *broker;
    const char *part, *key;
    int64_t least;
};

static bool reached(void *context)
{
    const struct goal *goal = context;
    return number(part_of(goal->broker, goal->part), goal->key) >= goal->least;
}

void redis_wait_for_link(const struct sup_broker *broker, const char *part, const char *key,
                         int64_t least)
{
    struct goal goal = {broker, part, key, least};
    cr_assert(sup_until(reached, &goal, 60000), "%s never reached %lld: %s", key, (long long)least,
              sup_read(broker->log, NULL));
}

void redis_wait_for(const struct sup_broker *broker, const char *key, int64_t least)
{
    redis_wait_for_link(broker, NULL, key, least);
}

static bool clear_all(void *context)
{
    json_t *reply = sup_swctl(context, SUP_ARGS("clear"));
    bool all = json_integer_value(json_object_get(reply, "pinned_chunks")) == 0;
    json_decref(reply);
    return all;
}

void redis_clear(struct sup_broker *broker)
{
    cr_assert(sup_until(clear_all, broker, 20000));
}

void redis_fill(const struct sup_redis *redis)
{
    struct sup_broker broker = redis_broker(redis->url, NULL);
    redis_expect_all(&broker);
    redis_wait_for(&broker, "stores", REDIS_CHUNKS);
    cr_assert_eq(redis_disk_loads(&broker), REDIS_CHUNKS);
    cr_assert_eq(redis_stat(&broker, "store_bytes"), sup_stat(&broker, "load_bytes"));
    cr_assert_eq(sup_broker_stop(&broker), 0);
}
