/* SPDX-License-Identifier: MIT */
/* Restarts of brokers that use a Redis. */
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

/* Its answer was lost with the broker that asked the Redis: it would wait for ever. */
Test(redis_restart, a_client_whose_answer_was_lost_is_disconnected)
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

/* ---- models without files --------------------------------------------------------------------- */

/* The bundle does not outlive the broker: its successor asks for it again. A session goes on, and
 * what it had open of the model is stale. */
Test(redis_restart, a_successor_asks_for_its_models_again)
{
    struct sup_redis redis = sup_redis_start(NULL);
    redis_push_from_files(&redis);
    struct managed managed = managed_start(
        NULL, "64", ROOM, false,
        SUP_ARGS("--redis-url", redis.url, "--redis-timeout", "20000", "--models", "mini"));
    for (int round = 0; round < 3; round++) {
        redis_wait_served(&managed.broker);
        redis_expect_all(&managed.broker);
        struct raw raw = raw_attach(&managed.broker, "tester");
        struct raw_model model = raw_open(&raw, "mini");
        (void)sup_stat(&managed.broker, "clients"); /* it is done with that message */
        if (round % 2 == 0)
            managed_crash(&managed);
        else
            managed_restart(&managed);
        cr_assert_eq(sup_stat(&managed.broker, "adopted_sessions"), 1);
        cr_assert_eq(raw_load(&raw, &model, 0, NULL), SW_ESTALE);
        raw_close(&raw);
    }
    redis_wait_served(&managed.broker);
    managed_end(&managed);
}
