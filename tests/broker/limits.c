/* SPDX-License-Identifier: MIT */
/* Clients that misbehave or die, and the limits that keep it from the others. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/raw.h"

static struct sup_broker broker;

static void start_with(const char *cache_size, const char *const extra[])
{
    sup_mkdir(sup_path("models"));
    (void)sup_synth(sup_path("models"), "tiny", SUP_ARGS("--layers", "3"));
    broker = sup_broker_start(sup_path("models"), cache_size, extra);
}

/* Every test ends here: whatever it did, the broker still serves, and ends cleanly. */
static void stop(void)
{
    struct raw good = raw_attach(&broker, "afterwards");
    struct raw_model model = raw_open(&good, "tiny");
    (void)raw_pin(&good, &model, raw_find(&model, "layer_2"));
    raw_close(&good);
    cr_assert_eq(sup_broker_stop(&broker), 0, "%s", sup_read(broker.log, NULL));
}

TestSuite(broker_limits, .timeout = 90);

struct wanted {
    const char *key;
    int64_t value;
};

static bool stat_is(void *context)
{
    const struct wanted *wanted = context;
    return sup_stat(&broker, wanted->key) == wanted->value;
}

static void expect_stat(const char *key, int64_t value)
{
    struct wanted wanted = {key, value};
    cr_assert(sup_until(stat_is, &wanted, 15000), "%s is %lld, not %lld", key,
              (long long)sup_stat(&broker, key), (long long)value);
}

/* In a child: attaches, pins everything, says so, waits for death. */
static void hold_and_wait(int say, bool fork_too)
{
    struct raw raw = raw_attach(&broker, "holder");
    struct raw_model model = raw_open(&raw, "tiny");
    for (uint32_t i = 0; i < model.opened.chunks; i++)
        (void)raw_pin(&raw, &model, i);
    pid_t child = fork_too ? fork() : 1;
    if (child == 0) { /* keeps the socket open after its parent's death */
        (void)prctl(PR_SET_PDEATHSIG, 0);
        sup_sleep_ms(60000);
        _exit(0);
    }
    (void)!write(say, &child, sizeof child);
    for (;;)
        pause();
}

/* Returns the holder; *ret_child is the process that it left its socket to. */
static pid_t start_holder(bool fork_too, pid_t *ret_child)
{
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        hold_and_wait(ends[1], fork_too);
    }
    cr_assert_eq(read(ends[0], ret_child, sizeof *ret_child), (ssize_t)sizeof *ret_child);
    close(ends[0]);
    close(ends[1]);
    return pid;
}

Test(broker_limits, takes_the_pins_of_a_killed_client_away)
{
    start_with("32", NULL);
    pid_t child;
    pid_t pid = start_holder(false, &child);
    cr_assert_gt(sup_stat(&broker, "pinned_bytes"), 0);
    json_t *cleared = sup_swctl(&broker, SUP_ARGS("clear"));
    cr_assert_eq(json_integer_value(json_object_get(cleared, "chunks")), 0);
    cr_assert_eq(json_integer_value(json_object_get(cleared, "pinned_chunks")), 5);
    json_decref(cleared);
    cr_assert_not_null(strstr(sup_run_ok(SUP_ARGS("swctl", "clear")), "; 5 ("));
    cr_assert_eq(kill(pid, SIGKILL), 0);
    cr_assert_eq(waitpid(pid, NULL, 0), pid);
    expect_stat("clients", 0);
    expect_stat("pinned_bytes", 0);
    cleared = sup_swctl(&broker, SUP_ARGS("clear"));
    cr_assert_eq(json_integer_value(json_object_get(cleared, "chunks")), 5);
    json_decref(cleared);
    expect_stat("chunks_resident", 0);
    stop();
}

Test(broker_limits, notices_a_death_while_a_child_keeps_the_socket)
{
    start_with("32", NULL);
    pid_t child;
    pid_t pid = start_holder(true, &child);
    cr_assert_gt(sup_stat(&broker, "pinned_bytes"), 0);
    cr_assert_eq(kill(pid, SIGKILL), 0);
    cr_assert_eq(waitpid(pid, NULL, 0), pid);
    expect_stat("clients", 0);
    expect_stat("pinned_bytes", 0);
    cr_assert_eq(kill(child, 0), 0, "the child has died as well: this shows nothing");
    cr_assert_eq(kill(child, SIGKILL), 0);
    stop();
}

Test(broker_limits, refuses_sessions_beyond_its_limit)
{
    start_with("32", SUP_ARGS("--max-sessions", "3"));
    struct raw raw[3];
    for (int i = 0; i < 3; i++)
        raw[i] = raw_attach(&broker, "one");
    struct raw late = raw_connect(&broker);
    struct swi_wire_hello hello = {.layout_version = SWI_LAYOUT_VERSION,
                                   .layout_hash = SWI_LAYOUT_HASH};
    cr_assert(raw_send(&late, SWI_WIRE_HELLO, &hello, sizeof hello, NULL, 0));
    const char *text;
    cr_assert_eq(raw_done(&late, &text), SW_EQUOTA);
    cr_assert_not_null(strstr(text, "--max-sessions"), "%s", text);
    raw_expect_hangup(&late);
    raw_close(&late);
    expect_stat("sessions_refused", 1);
    cr_assert_eq(sup_stat(&broker, "clients"), 3);
    for (int i = 0; i < 3; i++)
        raw_close(&raw[i]);
    expect_stat("clients", 0);
    stop();
}

Test(broker_limits, keeps_room_for_the_operator_under_silent_connections)
{
    start_with("32", SUP_ARGS("--max-sessions", "2"));
    struct raw silent[60];
    for (int i = 0; i < 60; i++)
        silent[i] = raw_connect(&broker);
    /* Those beyond the limit hear why. */
    const char *text;
    cr_assert_eq(raw_done(&silent[59], &text), SW_EQUOTA, "%s", text);
    /* The others are closed when their time to say something is over; then there is room again. */
    for (int i = 0; i < 60; i++) {
        raw_expect_hangup(&silent[i]);
        raw_close(&silent[i]);
    }
    cr_assert_gt(sup_stat(&broker, "silent_closed"), 0);
    cr_assert_gt(sup_stat(&broker, "sessions_refused"), 0);
    stop();
}

Test(broker_limits, closes_who_does_not_take_answers)
{
    start_with("32", NULL);
    struct raw raw = raw_attach(&broker, "deaf");
    struct raw_model model = raw_open(&raw, "tiny");
    cr_assert_eq(fcntl(raw.fd, F_SETFL, O_NONBLOCK), 0);
    struct swi_wire_table table = {.model = model.opened.model};
    /* Until the broker's answers, and then the questions, stop moving. */
    int sent = 0;
    for (int idle = 0; idle < 20; sent++) {
        if (!raw_send(&raw, SWI_WIRE_TABLE, &table, sizeof table, NULL, 0)) {
            idle++;
            sup_sleep_ms(10);
        }
    }
    cr_assert_gt(sent, 20);
    struct raw other = raw_attach(&broker, "polite");
    struct raw_model again = raw_open(&other, "tiny");
    cr_assert_eq(raw_load(&other, &again, 0, NULL), 0, "one deaf client keeps another waiting");
    expect_stat("slow_readers", 1);
    expect_stat("clients", 1);
    raw_close(&other);
    raw_close(&raw);
    stop();
}

static size_t make_ping(uint8_t *packet, size_t size, bool broken)
{
    static const char text[] = "{\"verb\":\"ping\"}";
    const struct swi_wire_text head = {.text_length = sizeof text - 1, .more = broken};
    struct swi_wire_out out;
    swi_wire_begin(&out, packet, size, SWI_WIRE_CONTROL, 1);
    swi_wire_put(&out, &head, sizeof head);
    swi_wire_put(&out, text, sizeof text - 1);
    return swi_wire_end(&out);
}

/* The dearest kind of request, and none waits for an answer before the next: a slow machine goes
 * over the rate as well. */
Test(broker_limits, slows_down_who_asks_too_fast_and_answers_all)
{
    enum { ROUNDS = 4, AT_ONCE = 50 };
    uint8_t packet[512];
    char answer[4096];
    start_with("32", NULL);
    struct raw raw = raw_connect(&broker);
    size_t size = make_ping(packet, sizeof packet, false);
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < AT_ONCE; i++)
            cr_assert(raw_send_bytes(&raw, packet, size, NULL, 0));
        for (int i = 0; i < AT_ONCE; i++)
            cr_assert_gt(recv(raw.fd, answer, sizeof answer, 0), 0, "recv: %m");
    }
    cr_assert_gt(sup_stat(&broker, "rate_limited"), 0);
    raw_close(&raw);
    stop();
}

static size_t make_hello(uint8_t *packet, size_t size)
{
    const struct swi_wire_hello hello = {.layout_version = SWI_LAYOUT_VERSION,
                                         .layout_hash = SWI_LAYOUT_HASH};
    struct swi_wire_out out;
    swi_wire_begin(&out, packet, size, SWI_WIRE_HELLO, 1);
    swi_wire_put(&out, &hello, sizeof hello);
    return swi_wire_end(&out);
}

/* That many good messages, then the one that ends it. */
static void ask_and_break(int good, bool hello)
{
    uint8_t packet[512];
    char answer[4096];
    struct raw raw = raw_connect(&broker);
    size_t size = make_ping(packet, sizeof packet, false);
    for (int i = 0; i < good; i++)
        cr_assert(raw_send_bytes(&raw, packet, size, NULL, 0));
    size = hello ? make_hello(packet, sizeof packet) : make_ping(packet, sizeof packet, true);
    cr_assert(raw_send_bytes(&raw, packet, size, NULL, 0));
    int answers = 0;
    ssize_t length;
    while ((length = recv(raw.fd, answer, sizeof answer, 0)) > 0)
        answers++;
    cr_assert_eq(length, 0, "recv: %m\n%s", sup_read(broker.log, NULL));
    cr_assert_eq(answers, good + 1, "%d answers", answers);
    raw_close(&raw);
}

/* About fifty of these spend what a client may at once. Wherever its last message comes, before
 * that or after it, nothing of the session is left behind in the broker. */
Test(broker_limits, a_message_that_ends_a_session_may_cost_its_last_token)
{
    start_with("32", NULL);
    for (int good = 36; good < 80; good++) {
        ask_and_break(good, false);
        ask_and_break(good, true);
    }
    cr_assert_eq(sup_stat(&broker, "protocol_errors"), 2 * (80 - 36));
    sup_sleep_ms(200); /* whatever waits for its time has it */
    stop();
}

Test(broker_limits, bounds_the_models_of_one_client)
{
    start_with("32", NULL);
    struct raw raw = raw_attach(&broker, "greedy");
    for (int i = 0; i < 64; i++)
        (void)raw_open(&raw, "tiny");
    cr_assert_eq(raw_open_status(&raw, "tiny"), SW_EQUOTA);
    expect_stat("requests_refused", 1);
    raw_close(&raw);
    stop();
}

/* Embeddings and one layer fill the arena, and both are pinned. */
Test(broker_limits, bounds_waiting_loads_and_names_who_fills_the_arena)
{
    start_with("8", NULL);
    struct raw holder = raw_attach(&broker, "holder");
    struct raw_model its = raw_open(&holder, "tiny");
    const uint32_t slots[] = {raw_pin(&holder, &its, 0), raw_pin(&holder, &its, 1)};
    struct raw raw = raw_attach(&broker, "queuer");
    struct raw_model model = raw_open(&raw, "tiny");
    const struct swi_wire_load load = {model.opened.incarnation, model.opened.model, model.ids[2]};
    for (int i = 0; i < 300; i++)
        cr_assert(raw_send(&raw, SWI_WIRE_LOAD, &load, sizeof load, NULL, 0));
    const char *text;
    for (int i = 0; i < 300 - 256; i++)
        cr_assert_eq(raw_done(&raw, &text), SW_EQUOTA, "%s", text);
    cr_assert_eq(sup_stat(&broker, "requests_refused"), 300 - 256);
    /* what is resident is served meanwhile */
    cr_assert_eq(raw_load(&holder, &its, 0, NULL), 0);
    for (int i = 0; i < 256; i++)
        cr_assert_eq(raw_done(&raw, &text), SW_EARENAFULL, "%s", text);
    cr_assert_not_null(strstr(text, "layer_1"), "%s", text);
    cr_assert_not_null(strstr(text, sup_format("session %u", holder.welcome.session)), "%s", text);
    for (int i = 0; i < 2; i++)
        swi_pin_drop(holder.page, slots[i]);
    (void)raw_pin(&raw, &model, 2);
    raw_close(&holder);
    raw_close(&raw);
    stop();
}

/* The arena is full of pins, so no warm-up ends before the connection does. */
Test(broker_limits, bounds_the_answers_that_an_operator_waits_for)
{
    start_with("8", NULL);
    struct raw holder = raw_attach(&broker, "holder");
    struct raw_model its = raw_open(&holder, "tiny");
    (void)raw_pin(&holder, &its, 0);
    (void)raw_pin(&holder, &its, 1);
    struct raw raw = raw_connect(&broker);
    static const char text[] = "{\"verb\":\"warm\",\"model\":\"tiny\",\"component\":\"layer_2\"}";
    const struct swi_wire_text head = {.text_length = sizeof text - 1};
    for (int i = 0; i < 8 + 3; i++)
        cr_assert(raw_send(&raw, SWI_WIRE_CONTROL, &head, sizeof head, text, sizeof text - 1));
    for (int i = 0; i < 3; i++) {
        struct raw_answer *answer = raw_receive(&raw);
        cr_assert(answer && answer->in.type == SWI_WIRE_CONTROL_PART);
        struct swi_wire_text part;
        size_t size;
        (void)swi_wire_get(&answer->in, &part, sizeof part);
        const char *reply_text = swi_wire_rest(&answer->in, &size);
        json_t *reply = json_loadb(reply_text, size, 0, NULL);
        cr_assert_eq(json_integer_value(json_object_get(reply, "code")), SW_EQUOTA, "%.*s",
                     (int)size, reply_text);
        json_decref(reply);
    }
    raw_close(&raw);
    expect_stat("queued", 0); /* nobody waits for the load any more */
    raw_close(&holder);
    stop();
}

/* Requests of a client that left are nobody's: the broker neither answers nor leaks them. */
Test(broker_limits, forgets_the_requests_of_who_left)
{
    start_with("8", NULL);
    struct raw holder = raw_attach(&broker, "holder");
    struct raw_model its = raw_open(&holder, "tiny");
    (void)raw_pin(&holder, &its, 0);
    (void)raw_pin(&holder, &its, 1);
    for (int i = 0; i < 20; i++) {
        struct raw raw = raw_attach(&broker, "quitter");
        struct raw_model model = raw_open(&raw, "tiny");
        const struct swi_wire_load load = {model.opened.incarnation, model.opened.model,
                                           model.ids[2]};
        for (int k = 0; k < 5; k++)
            cr_assert(raw_send(&raw, SWI_WIRE_LOAD, &load, sizeof load, NULL, 0));
        raw_close(&raw);
    }
    expect_stat("clients", 1);
    raw_close(&holder);
    stop();
}

Test(broker_limits, revokes_who_pins_too_much_and_nobody_else)
{
    start_with("32", SUP_ARGS("--max-pinned", "8600K"));
    struct raw modest = raw_attach(&broker, "modest");
    struct raw_model its = raw_open(&modest, "tiny");
    uint32_t slot = raw_pin(&modest, &its, 1);
    struct raw greedy = raw_attach(&broker, "greedy");
    struct raw_model model = raw_open(&greedy, "tiny");
    uint64_t generation = 0;
    for (uint32_t i = 0; i < model.opened.chunks; i++)
        (void)raw_pin(&greedy, &model, i);
    generation = swi_entry_get(greedy.index, model.ids[0]).generation;
    const char *text;
    cr_assert_eq(raw_done(&greedy, &text), SW_EQUOTA);
    cr_assert_not_null(strstr(text, "--max-pinned"), "%s", text);
    raw_expect_hangup(&greedy);
    expect_stat("clients", 1);
    cr_assert_not(swi_pin_valid(greedy.index, greedy.welcome.session, greedy.welcome.epoch,
                                model.ids[0], generation),
                  "its release would not say that it was revoked");
    cr_assert_eq(sup_stat(&broker, "quota_revoked"), 1);
    cr_assert_eq(sup_stat(&broker, "revoked"), 1);
    json_t *cleared = sup_swctl(&broker, SUP_ARGS("clear"));
    cr_assert_eq(json_integer_value(json_object_get(cleared, "pinned_chunks")), 1);
    json_decref(cleared);
    cr_assert(swi_pin_valid(modest.index, modest.welcome.session, modest.welcome.epoch, its.ids[1],
                            swi_entry_get(modest.index, its.ids[1]).generation));
    swi_pin_drop(modest.page, slot);
    raw_close(&modest);
    raw_close(&greedy);
    stop();
}

Test(broker_limits, bears_a_page_full_of_garbage)
{
    start_with("32", NULL);
    struct raw raw = raw_attach(&broker, "scribbler");
    struct raw_model model = raw_open(&raw, "tiny");
    memset(raw.page, 0xee, sizeof *raw.page);
    expect_stat("page_garbage", 1);
    cr_assert_eq(raw_load(&raw, &model, 2, NULL), 0);
    json_decref(sup_swctl(&broker, SUP_ARGS("stats")));
    json_decref(sup_swctl(&broker, SUP_ARGS("clients")));
    json_decref(sup_swctl(&broker, SUP_ARGS("ls")));
    /* valid ids of chunks that it never opened pin them, no more */
    for (uint32_t i = 0; i < SWI_SLOTS; i++) {
        struct swi_slot slot = {0};
        memcpy((uint8_t *)raw.page + offsetof(struct swi_page, slot) + i * sizeof slot, &slot,
               sizeof slot);
    }
    uint32_t hint = 0;
    for (uint32_t i = 0; i < SWI_SLOTS; i++)
        cr_assert_geq(swi_pin_claim(raw.page, i * 509 % SWI_CHUNKS, &hint), 0);
    cr_assert_eq(sup_run(SUP_ARGS("swctl", "clear")).exit_code, 0);
    raw_close(&raw);
    stop();
}

Test(broker_limits, believes_no_hits_that_nobody_can_have_had)
{
    start_with("16", NULL);
    struct raw raw = raw_attach(&broker, "boaster");
    struct raw_model model = raw_open(&raw, "tiny");
    uint32_t slot = raw_pin(&raw, &model, 1);
    for (int i = 0; i < 1000; i++)
        swi_page_note_hit(raw.page, raw.index, slot, model.ids[1]);
    cr_assert_eq(sup_stat(&broker, "hits"), 1000);
    for (uint32_t i = 0; i < SWI_SLOTS; i++) /* more than there can be, fewer than there were */
        raw.page->slot[i].hits = i % 2 ? UINT64_C(1) << 62 : 7;
    cr_assert_leq(sup_stat(&broker, "hits"), 1000 + 7 * SWI_SLOTS);
    expect_stat("page_garbage", 1);
    json_t *reply = sup_swctl(&broker, SUP_ARGS("clients"));
    json_t *row = json_array_get(json_object_get(reply, "clients"), 0);
    cr_assert_leq(json_integer_value(json_object_get(row, "hits")), 1000 + 7 * SWI_SLOTS);
    json_decref(reply);
    int64_t before = sup_stat(&broker, "hits");
    for (int i = 0; i < 10; i++) /* and goes on from there */
        swi_page_note_hit(raw.page, raw.index, slot, model.ids[1]);
    cr_assert_eq(sup_stat(&broker, "hits"), before + 10);
    raw_close(&raw);
    expect_stat("clients", 0);
    cr_assert_eq(sup_stat(&broker, "hits"), before + 10);
    stop();
}

Test(broker_limits, isolation_says_who_shares_its_user)
{
    start_with("32", NULL);
    struct raw raw = raw_attach(&broker, "same");
    json_t *stats = sup_swctl(&broker, SUP_ARGS("stats"));
    const char *isolation = json_string_value(json_object_get(stats, "isolation"));
    cr_assert_str_eq(isolation, "none: broker shares its uid with 1 client");
    json_decref(stats);
    raw_close(&raw);
    stop();
}

/* In a child that is another user; returns its exit code, 77 when all is as it should be. */
static int be_a_stranger(void)
{
    static const uid_t nobody = 65534;
    if (setgid(nobody) || setuid(nobody))
        return 99;
    struct raw raw = raw_attach(&broker, "stranger");
    static const char *const verbs[] = {"clear", "reload", "resize", "warm", "ping"};
    for (int i = 0; i < 5; i++) {
        json_t *reply = raw_control(
            &raw, sup_format("{\"verb\":\"%s\",\"model\":\"tiny\",\"bytes\":1048576}", verbs[i]));
        bool refused = json_integer_value(json_object_get(reply, "code")) == -EPERM;
        json_decref(reply);
        if (refused != (i < 4))
            return i;
    }
    /* The kernel keeps the arena and the index read-only for it, also through /proc. */
    for (int i = 0; i < 2; i++)
        if (open(sup_format("/proc/self/fd/%d", raw.fds[i]), O_RDWR | O_CLOEXEC) >= 0)
            return 50 + i;
    json_t *stats = raw_control(&raw, "{\"verb\":\"stats\"}");
    bool isolated = strcmp(json_string_value(json_object_get(stats, "isolation")), "uid") == 0;
    json_decref(stats);
    raw_close(&raw);
    return isolated ? 77 : 60;
}

Test(broker_limits, another_user_reads_and_changes_nothing)
{
    if (geteuid() != 0)
        cr_skip_test("needs root to become another user\n");
    start_with("32", SUP_ARGS("--socket-mode", "0666"));
    cr_assert_eq(chmod(sup_dir(), 0755), 0);
    pid_t pid = fork();
    if (pid == 0)
        _exit(be_a_stranger());
    cr_assert_eq(sup_wait(pid, 30000), 77);
    stop();
}

Test(broker_limits, many_come_and_go)
{
    start_with("32", NULL);
    for (int round = 0; round < 10; round++) {
        struct raw raws[40];
        for (int i = 0; i < 40; i++) {
            raws[i] = raw_attach(&broker, "passer-by");
            struct raw_model model = raw_open(&raws[i], "tiny");
            uint32_t ordinal = (uint32_t)(round + i) % model.opened.chunks;
            (void)raw_pin(&raws[i], &model, ordinal);
        }
        for (int i = 0; i < 40; i++)
            raw_close(&raws[i]);
    }
    expect_stat("clients", 0);
    expect_stat("pinned_bytes", 0);
    cr_assert_eq(sup_stat(&broker, "sessions"), 400);
    stop();
}

/* Each model has more files than half of the descriptors that the broker may have. */
Test(broker_limits, files_of_large_models_leave_descriptors_for_sessions)
{
    const char *const shape[] = {"--layers",       "60", "--hidden",     "32",  "--heads", "2",
                                 "--intermediate", "64", "--vocab-size", "300", NULL};
    const struct rlimit few = {96, 96};
    start_with("16", NULL);
    cr_assert_eq(sup_broker_stop(&broker), 0);
    (void)sup_synth(sup_path("models"), "first", shape);
    (void)sup_synth(sup_path("models"), "second", shape);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    broker = sup_broker_start(sup_path("models"), "16", SUP_ARGS("--max-sessions", "8"));
    for (int i = 0; i < 4; i++) {
        struct raw raw = raw_attach(&broker, "many");
        struct raw_model first = raw_open(&raw, "first"), second = raw_open(&raw, "second");
        for (uint32_t k = 0; k < 8; k++) {
            cr_assert_eq(raw_load(&raw, &first, k, NULL), 0);
            cr_assert_eq(raw_load(&raw, &second, second.opened.chunks - 1 - k, NULL), 0);
        }
    }
    cr_assert_eq(sup_stat(&broker, "load_errors"), 0);
    cr_assert_eq(sup_stat(&broker, "clients"), 4);
    stop();
}
