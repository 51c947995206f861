/* SPDX-License-Identifier: MIT */
/* Brokers with a server that misbehaves as the real one cannot be made to: each kind of misbehaviour
 * costs a counter and a line in the log, and every load comes from its file. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "redis/fixture.h"

TestSuite(redis_fake, .timeout = 240);

static struct sup_broker with(struct sup_fake *fake, enum fake_manner manner)
{
    *fake = sup_fake_start(manner);
    return redis_broker_alone(fake->url,
                              SUP_ARGS("--redis-order", "redis-first", "--redis-timeout", "300"));
}

/* part: the connection that has the counter; NULL: the tier. */
static void expect_harmless(enum fake_manner manner, const char *part, const char *counter,
                            const char *logged)
{
    struct sup_fake fake = sup_fake_start(FAKE_NIL);
    const char *timeout_ms = strcmp(counter, "timeouts") == 0 ? "300" : "20000";
    struct sup_broker broker = redis_broker(
        fake.url, SUP_ARGS("--redis-order", "redis-first", "--redis-timeout", timeout_ms));
    sup_fake_set(&fake, manner);
    redis_expect_all(&broker);
    cr_assert_eq(redis_disk_loads(&broker), REDIS_CHUNKS);
    cr_assert_eq(sup_stat(&broker, "load_errors") + sup_stat(&broker, "digest_errors"), 0);
    redis_wait_for_link(&broker, part, counter, 1);
    const char *log = sup_read(broker.log, NULL);
    cr_assert_not_null(strstr(log, logged), "%s", log);
    cr_assert_eq(sup_broker_stop(&broker), 0, "%s", log);
}

#define HARMLESS(name, ...)                                                                        \
    Test(redis_fake, name)                                                                         \
    {                                                                                              \
        expect_harmless(__VA_ARGS__);                                                              \
    }

HARMLESS(no_protocol, FAKE_NO_PROTOCOL, "reads", "garbage", "violates the Redis protocol")
HARMLESS(a_status_for_a_value, FAKE_STATUS, NULL, "failures", "its answer to GET is invalid")
HARMLESS(a_number_for_a_value, FAKE_INTEGER, NULL, "failures", "its answer to GET is invalid")
HARMLESS(an_array_for_a_value, FAKE_ARRAY, NULL, "failures", "its answer to GET is invalid")
HARMLESS(an_array_without_end, FAKE_HUGE_ARRAY, "reads", "garbage", "larger than 1048576 bytes")
HARMLESS(a_value_without_end, FAKE_HUGE_VALUE, "reads", "garbage", "larger than 1048576 bytes")
HARMLESS(a_negative_length, FAKE_NEGATIVE, "reads", "garbage", "violates the Redis protocol")
HARMLESS(a_line_without_end, FAKE_ENDLESS_LINE, "reads", "garbage", "larger than 1048576 bytes")
HARMLESS(a_short_value, FAKE_SHORT, NULL, "wrong", "another length")
HARMLESS(other_bytes, FAKE_WRONG_BYTES, NULL, "wrong", "another length or digest")
HARMLESS(a_value_cut_in_half, FAKE_CUT, "reads", "closed", "it was closed")
HARMLESS(a_value_that_drips, FAKE_DRIP, "reads", "timeouts", "no answer within 300 ms")
HARMLESS(a_hang_up, FAKE_HANG_UP, "reads", "closed", "it was closed")
HARMLESS(silence, FAKE_SILENT, "reads", "timeouts", "no answer within 300 ms")
HARMLESS(an_unasked_answer, FAKE_UNASKED, "reads", "garbage", "unexpected answer")
HARMLESS(a_server_that_is_loading, FAKE_LOADING, NULL, "failures", "LOADING")
HARMLESS(no_room_for_a_set, FAKE_REFUSE_OOM, NULL, "out_of_memory", "OOM command not allowed")
HARMLESS(a_server_that_is_loading_when_it_is_written_to, FAKE_REFUSE_LOADING, "writes",
         "breaker_opened", "LOADING")
HARMLESS(an_odd_answer_to_a_set, FAKE_REFUSE_ODDLY, NULL, "store_failures",
         "its answer to SET is invalid")

Test(redis_fake, a_well_behaved_server_gets_every_chunk)
{
    struct sup_fake fake = sup_fake_start(FAKE_NIL);
    struct sup_broker broker = redis_broker(fake.url, SUP_ARGS("--redis-order", "redis-first"));
    redis_expect_all(&broker);
    redis_wait_for(&broker, "stores", REDIS_CHUNKS);
    cr_assert_eq(redis_stat(&broker, "misses"), REDIS_CHUNKS);
    cr_assert_gt(sup_fake_count(&fake, "SET"), 15);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

Test(redis_fake, an_interrupted_write_is_repeated)
{
    struct sup_fake fake = sup_fake_start(FAKE_HANG_UP_ONCE);
    struct sup_broker broker = redis_broker(fake.url, NULL);
    redis_expect_all(&broker);
    redis_wait_for(&broker, "stores", REDIS_CHUNKS);
    cr_assert_eq(redis_stat(&broker, "store_failures"), 1);
    cr_assert_eq(redis_link_stat(&broker, "writes", "closed"), 1);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

Test(redis_fake, a_silent_greeting_times_out)
{
    struct sup_fake fake;
    struct sup_broker broker = with(&fake, FAKE_SILENT_GREETING);
    redis_expect_all(&broker);
    redis_wait_for_link(&broker, "reads", "connect_failures", 1);
    cr_assert_not_null(strstr(sup_read(broker.log, NULL), "no connection in time"));
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

Test(redis_fake, an_invalid_greeting_is_logged)
{
    struct sup_fake fake;
    struct sup_broker broker = with(&fake, FAKE_ODD_GREETING);
    redis_wait_for_link(&broker, "reads", "garbage", 1);
    redis_expect_all(&broker);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

static struct sup_broker with_password(struct sup_fake *fake, enum fake_manner manner)
{
    *fake = sup_fake_start(manner);
    return redis_broker_alone(sup_format("unix://:hushhush@%s", fake->url + 7),
                              SUP_ARGS("--redis-order", "redis-first"));
}

static void expect_hushed(struct sup_broker *broker, const char *logged)
{
    json_t *stats = sup_swctl(broker, SUP_ARGS("stats"));
    json_decref(stats);
    const char *log = sup_read(broker->log, NULL);
    cr_assert_not_null(strstr(log, logged), "%s", log);
    cr_assert_null(strstr(log, "hush"), "%s", log);
    cr_assert_eq(sup_broker_stop(broker), 0);
}

Test(redis_fake, the_log_does_not_repeat_a_refused_password)
{
    struct sup_fake fake;
    struct sup_broker broker = with_password(&fake, FAKE_ECHO_AUTH);
    redis_wait_for_link(&broker, "reads", "refused", 1);
    expect_hushed(&broker, "refuses the broker");
}

Test(redis_fake, the_log_does_not_repeat_a_password_from_a_greeting)
{
    struct sup_fake fake;
    struct sup_broker broker = with_password(&fake, FAKE_ECHO_PING);
    redis_wait_for_link(&broker, "reads", "refused", 1);
    expect_hushed(&broker, "refuses the broker");
}

Test(redis_fake, the_log_does_not_repeat_a_password_from_an_answer)
{
    struct sup_fake fake;
    struct sup_broker broker = with_password(&fake, FAKE_ECHO_GET);
    redis_wait_for_link(&broker, "reads", "connects", 1);
    struct raw raw = raw_attach(&broker, "test");
    struct raw_model model = raw_open(&raw, "mini");
    cr_assert_eq(remove(sup_format("%s/mini/layer_1.safetensors", redis_models())), 0);
    const char *text;
    cr_assert_lt(raw_load(&raw, &model, raw_find(&model, "layer_1"), &text), 0);
    cr_assert_not_null(strstr(text, "answers: ERR"), "%s", text);
    cr_assert_null(strstr(text, "hush"), "%s", text);
    raw_close(&raw);
    expect_hushed(&broker, "answers: ERR");
}

/* The breaker has opened, and the next connection finds the fake in this manner. */
static struct raw_model open_breaker(struct sup_fake *fake, struct sup_broker *broker,
                                     struct raw *raw, enum fake_manner manner)
{
    redis_wait_for_link(broker, "reads", "connects", 1);
    struct raw_model model = raw_open(raw, "mini");
    for (uint32_t i = 0; i < 3; i++) {
        redis_wait_for_link(broker, "reads", "connects", i + 1);
        (void)raw_pin(raw, &model, i);
    }
    cr_assert_eq(redis_link_stat(broker, "reads", "breaker_opened"), 1);
    sup_fake_set(fake, manner);
    redis_wait_for_link(broker, "reads", "connects", 4);
    return model;
}

/* Garbage three times in a row opens the breaker: later loads do not ask the server. */
Test(redis_fake, garbage_opens_the_breaker_and_an_answer_closes_it)
{
    struct sup_fake fake;
    struct sup_broker broker = with(&fake, FAKE_HANG_UP);
    struct raw raw = raw_attach(&broker, "test");
    struct raw_model model = open_breaker(&fake, &broker, &raw, FAKE_NIL);
    (void)raw_pin(&raw, &model, 3);
    cr_assert_str_eq(redis_breaker(&broker), "closed");
    cr_assert_eq(redis_stat(&broker, "misses"), 1);
    raw_close(&raw);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

/* Without a model there is no question, so nothing is proved. */
Test(redis_fake, an_empty_catalog_does_not_close_the_breaker)
{
    struct sup_fake fake;
    struct sup_broker broker = with(&fake, FAKE_HANG_UP);
    struct raw raw = raw_attach(&broker, "test");
    (void)open_breaker(&fake, &broker, &raw, FAKE_NIL);
    raw_close(&raw);
    sup_remove_tree(sup_format("%s/mini", redis_models()));
    json_decref(sup_swctl(&broker, SUP_ARGS("reload")));
    json_t *reply = sup_swctl(&broker, SUP_ARGS("models"));
    cr_assert_eq(json_array_size(json_object_get(reply, "models")), 0);
    json_decref(reply);
    cr_assert_str_eq(redis_breaker(&broker), "half-open");
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

static bool breaker_is_closed(void *context)
{
    return strcmp(redis_breaker(context), "closed") == 0;
}

/* The probe is a long load of many stripes: others need not wait for its end. */
Test(redis_fake, the_first_answer_closes_the_breaker)
{
    struct sup_fake fake = sup_fake_start(FAKE_HANG_UP);
    struct sup_broker broker = redis_broker_alone(
        fake.url, SUP_ARGS("--redis-order", "redis-first", "--redis-timeout", "20000"));
    struct raw raw = raw_attach(&broker, "test");
    struct raw_model model = open_breaker(&fake, &broker, &raw, FAKE_FIRST_ONLY);
    const struct swi_wire_load load = {.incarnation = model.opened.incarnation,
                                       .model = model.opened.model,
                                       .chunk = model.ids[3]};
    cr_assert(raw_send(&raw, SWI_WIRE_LOAD, &load, sizeof load, NULL, 0));
    cr_assert(sup_until(breaker_is_closed, &broker, 15000), "%s", sup_read(broker.log, NULL));
    cr_assert_eq(redis_link_stat(&broker, "reads", "timeouts"), 0, "only with the probe's end");
    raw_close(&raw);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}
