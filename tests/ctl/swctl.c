/* SPDX-License-Identifier: MIT */
/* swctl on a real broker: pins, verification, warm-ups, listings, traces. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/raw.h"

static struct sup_broker broker;
static const char *models;

static void start(void)
{
    models = sup_path("models");
    sup_mkdir(models);
    (void)sup_synth(models, "one", SUP_ARGS("--layers", "4", "--seed", "1"));
    (void)sup_synth(models, "two", SUP_ARGS("--layers", "2", "--seed", "2"));
    /* no revocation for clients that pin nearly the whole cache */
    broker = sup_broker_start(models, "32", SUP_ARGS("--max-pinned", "32M"));
}

static void stop(void)
{
    if (broker.pid)
        cr_assert_eq(sup_broker_stop(&broker), 0, "%s", sup_read(broker.log, NULL));
}

TestSuite(swctl_verbs, .init = start, .fini = stop, .timeout = 120);

static int64_t number(const json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);
    cr_assert(json_is_integer(value), "no integer %s", key);
    return json_integer_value(value);
}

/* One chunk of swctl ls; a new reference. */
static json_t *chunk(const char *target)
{
    json_t *reply = sup_swctl(&broker, SUP_ARGS("ls", target));
    json_t *list = json_object_get(reply, "chunks");
    cr_assert_eq(json_array_size(list), 1, "%s", target);
    json_t *row = json_incref(json_array_get(list, 0));
    json_decref(reply);
    return row;
}

static bool has_state(const char *target, const char *state)
{
    json_t *row = chunk(target);
    bool same = strcmp(json_string_value(json_object_get(row, "state")), state) == 0;
    json_decref(row);
    return same;
}

static bool is_resident(void *target)
{
    return has_state(target, "resident");
}

static struct sup_result expect_exit(int code, const char *const argv[])
{
    struct sup_result result = sup_run(argv);
    cr_assert_eq(result.exit_code, code, "%s %s: exit %d, not %d: %s", argv[1], argv[2],
                 result.exit_code, code, result.err);
    return result;
}

static void expect_words(const char *text, const char *word)
{
    cr_assert_not_null(strstr(text, word), "no \"%s\" in: %s", word, text);
}

/* ---- pins ------------------------------------------------------------------------------------ */

Test(swctl_verbs, a_pin_loads_and_keeps)
{
    expect_words(sup_run_ok(SUP_ARGS("swctl", "pin", "one/layer_1")), "pinned");
    cr_assert(has_state("one/layer_1", "resident"));
    json_t *row = chunk("one/layer_1");
    cr_assert(json_is_true(json_object_get(row, "pinned_by_operator")));
    int64_t bytes = number(row, "bytes");
    json_decref(row);
    cr_assert_eq(sup_stat(&broker, "pinned_bytes"), bytes);
    cr_assert_eq(sup_stat(&broker, "operator_pinned_chunks"), 1);
    expect_words(sup_run_ok(SUP_ARGS("swctl", "ls", "one")), "operator");
    (void)sup_run_ok(SUP_ARGS("swctl", "warm", "two"));
    json_t *cleared = sup_swctl(&broker, SUP_ARGS("clear"));
    cr_assert_eq(number(cleared, "operator_pinned_chunks"), 1);
    cr_assert_eq(number(cleared, "pinned_chunks"), 1);
    json_decref(cleared);
    expect_words(sup_run_ok(SUP_ARGS("swctl", "clear")), "by the operator");
    cr_assert(has_state("one/layer_1", "resident"));
    expect_words(sup_run_ok(SUP_ARGS("swctl", "unpin", "one")), "unpinned 1 chunk");
    cr_assert_eq(sup_stat(&broker, "pinned_bytes"), 0);
    (void)sup_run_ok(SUP_ARGS("swctl", "clear"));
    cr_assert(has_state("one/layer_1", "absent"));
    expect_words(expect_exit(1, SUP_ARGS("swctl", "unpin", "one")).err, "not pinned");
}

Test(swctl_verbs, pins_survive_pressure)
{
    (void)sup_run_ok(SUP_ARGS("swctl", "pin", "one"));
    for (int i = 0; i < 3; i++) { /* one and a half of these fit 32 MB */
        const char *name = sup_format("big%d", i);
        (void)sup_synth(models, name, SUP_ARGS("--layers", "6"));
        (void)sup_run_ok(SUP_ARGS("swctl", "warm", name));
    }
    cr_assert_gt(sup_stat(&broker, "evictions"), 0);
    static const char *const parts[] = {"embeddings", "layer_0", "layer_3", "pooler"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        cr_assert(has_state(sup_format("one/%s", parts[i]), "resident"), "%s", parts[i]);
    cr_assert_eq(sup_stat(&broker, "load_errors"), 0);
}

Test(swctl_verbs, pins_cannot_take_all_of_the_arena)
{
    (void)sup_run_ok(SUP_ARGS("swctl", "pin", "one"));
    struct sup_result result = expect_exit(1, SUP_ARGS("swctl", "pin", "two"));
    expect_words(result.err, "16.0 MiB, half of the cache");
    cr_assert_eq(sup_stat(&broker, "operator_pin_limit_bytes"), 16 << 20);
    cr_assert(has_state("two/layer_0", "unused") || has_state("two/layer_0", "absent"),
              "a refused pin loads nothing");
    /* a smaller cache would be over the limit */
    result = expect_exit(1, SUP_ARGS("swctl", "resize", "16"));
    expect_words(result.err, "unpin");
    cr_assert_eq(sup_stat(&broker, "arena_bytes"), 32 << 20);
    (void)sup_run_ok(SUP_ARGS("swctl", "unpin", "one"));
    (void)sup_run_ok(SUP_ARGS("swctl", "resize", "16"));
}

Test(swctl_verbs, a_resize_moves_pinned_chunks)
{
    (void)sup_run_ok(SUP_ARGS("swctl", "warm", "one", "two"));
    (void)sup_run_ok(SUP_ARGS("swctl", "pin", "two/layer_1"));
    json_t *row = chunk("two/layer_1");
    int64_t offset = number(row, "offset");
    json_decref(row);
    cr_assert_gt(offset, 4 << 20, "it lies where the resize cuts");
    (void)sup_run_ok(SUP_ARGS("swctl", "resize", "4"));
    char target[] = "two/layer_1";
    cr_assert(sup_until(is_resident, target, 20000), "it is not loaded again");
    row = chunk("two/layer_1");
    cr_assert_lt(number(row, "offset"), 4 << 20);
    json_decref(row);
}

Test(swctl_verbs, pins_follow_a_model_to_its_new_revision_and_end_with_it)
{
    (void)sup_run_ok(SUP_ARGS("swctl", "pin", "two"));
    json_t *row = chunk("two/layer_0");
    int64_t revision = number(row, "revision");
    json_decref(row);
    sup_remove_tree(sup_format("%s/two", models));
    (void)sup_synth(models, "two", SUP_ARGS("--layers", "3", "--seed", "9"));
    json_t *reply = sup_swctl(&broker, SUP_ARGS("reload"));
    cr_assert_eq(number(reply, "replaced"), 1);
    cr_assert_eq(number(reply, "pins_ended"), 0);
    json_decref(reply);
    char target[] = "two/layer_2"; /* new in this revision of the pinned model */
    cr_assert(sup_until(is_resident, target, 20000));
    row = chunk("two/layer_0");
    cr_assert_neq(number(row, "revision"), revision);
    cr_assert(json_is_true(json_object_get(row, "pinned_by_operator")));
    json_decref(row);
    sup_remove_tree(sup_format("%s/two", models));
    reply = sup_swctl(&broker, SUP_ARGS("reload"));
    cr_assert_eq(number(reply, "pins_ended"), 5);
    json_decref(reply);
    cr_assert_eq(sup_stat(&broker, "operator_pinned_bytes"), 0);
    cr_assert_eq(sup_stat(&broker, "pinned_bytes"), 0);
}

Test(swctl_verbs, a_pin_that_cannot_be_loaded_is_taken_back)
{
    const char *path = sup_format("%s/two/layer_1.safetensors", models);
    cr_assert_eq(truncate(path, 4096), 0);
    (void)expect_exit(1, SUP_ARGS("swctl", "pin", "two"));
    cr_assert_eq(sup_stat(&broker, "operator_pinned_chunks"), 0);
}

/* ---- verify ---------------------------------------------------------------------------------- */

/* Opens the broker's descriptor of the arena for writing, as the same user may. */
static int open_arena(void)
{
    const char *folder = sup_format("/proc/%d/fd", (int)broker.pid);
    DIR *list = opendir(folder);
    cr_assert_not_null(list);
    int fd = -1;
    for (struct dirent *entry; fd < 0 && (entry = readdir(list));) {
        char link[256] = "";
        const char *path = sup_format("%s/%s", folder, entry->d_name);
        if (readlink(path, link, sizeof link - 1) > 0 && strncmp(link, "/dev/shm/", 9) == 0)
            fd = open(path, O_RDWR | O_CLOEXEC);
    }
    closedir(list);
    cr_assert_geq(fd, 0, "the broker has no arena");
    return fd;
}

static void damage(const char *target)
{
    json_t *row = chunk(target);
    off_t at = number(row, "offset") + number(row, "bytes") - 3;
    json_decref(row);
    int fd = open_arena();
    uint8_t byte;
    cr_assert_eq(pread(fd, &byte, 1, at), 1);
    byte ^= 16;
    cr_assert_eq(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

Test(swctl_verbs, verify_finds_intact_chunks_intact)
{
    (void)sup_run_ok(SUP_ARGS("swctl", "warm", "one", "two"));
    json_t *reply = sup_swctl(&broker, SUP_ARGS("verify"));
    cr_assert_eq(number(reply, "chunks_verified"), 6 + 4);
    cr_assert_eq(number(reply, "mismatches"), 0);
    cr_assert_eq(number(reply, "bytes"), sup_stat(&broker, "resident_bytes"));
    json_decref(reply);
    reply = sup_swctl(&broker, SUP_ARGS("verify", "one/layer_2"));
    cr_assert_eq(number(reply, "chunks_verified"), 1);
    json_decref(reply);
    (void)sup_run_ok(SUP_ARGS("swctl", "clear"));
    reply = sup_swctl(&broker, SUP_ARGS("verify"));
    cr_assert_eq(number(reply, "chunks_verified"), 0);
    json_decref(reply);
    (void)expect_exit(1, SUP_ARGS("swctl", "verify", "nobody"));
}

Test(swctl_verbs, verify_withdraws_damaged_bytes_and_revokes_their_holder)
{
    struct raw holder = raw_attach(&broker, "holder"), other = raw_attach(&broker, "other");
    struct raw_model model = raw_open(&holder, "one");
    struct raw_model same = raw_open(&other, "one");
    uint32_t bad = raw_find(&model, "layer_1");
    (void)raw_pin(&holder, &model, bad);
    (void)raw_pin(&other, &same, raw_find(&same, "layer_0"));
    damage("one/layer_1");
    struct sup_result result = expect_exit(1, SUP_ARGS("swctl", "verify"));
    expect_words(result.out, "mismatch");
    expect_words(result.out, "holder/");
    expect_words(result.err, "1 of 2 chunks");
    uint32_t session = holder.welcome.session;
    cr_assert_neq(swi_session_epoch(holder.index, session), holder.welcome.epoch,
                  "what the holder computed must not count");
    const char *text;
    cr_assert_eq(raw_done(&holder, &text), SW_EREVOKED);
    expect_words(text, "one/layer_1");
    raw_expect_hangup(&holder);
    cr_assert_eq(swi_session_epoch(other.index, other.welcome.session), other.welcome.epoch,
                 "nobody else is revoked");
    cr_assert_eq(sup_stat(&broker, "digest_errors"), 1);
    cr_assert_eq(sup_stat(&broker, "damage_revoked"), 1);
    cr_assert(has_state("one/layer_1", "resident"), "it was read again");
    (void)raw_pin(&other, &same, bad); /* checks the bytes */
    (void)expect_exit(0, SUP_ARGS("swctl", "verify"));
    raw_close(&holder);
    raw_close(&other);
}

/* Sends a CONTROL without waiting for its answer. */
static void send_control(struct raw *raw, const char *text)
{
    struct swi_wire_text head = {.text_length = (uint32_t)strlen(text)};
    cr_assert(raw_send(raw, SWI_WIRE_CONTROL, &head, sizeof head, text, strlen(text)));
}

/* The next answer of any request, of one part. */
static json_t *receive_control(struct raw *raw)
{
    struct raw_answer *answer = raw_receive(raw);
    cr_assert(answer && answer->in.type == SWI_WIRE_CONTROL_PART);
    struct swi_wire_text head;
    (void)swi_wire_get(&answer->in, &head, sizeof head);
    size_t size;
    const char *text = swi_wire_rest(&answer->in, &size);
    return json_loadb(text, size, 0, NULL);
}

/* Sends verify and another request at the same time; the broker hashes 1 MiB per turn. Returns the
 * answer to verify. */
static json_t *verify_while(struct raw *raw, const char *other)
{
    cr_assert_eq(kill(broker.pid, SIGSTOP), 0);
    send_control(raw, "{\"verb\":\"verify\"}");
    send_control(raw, other);
    cr_assert_eq(kill(broker.pid, SIGCONT), 0);
    json_t *replies[2] = {receive_control(raw), receive_control(raw)};
    int verified = json_object_get(replies[1], "passed_over") != NULL;
    json_decref(replies[!verified]);
    return replies[verified];
}

static size_t count_left(const json_t *reply, const char *model, const char *reason)
{
    size_t i, count = 0;
    json_t *row;
    json_array_foreach(json_object_get(reply, "chunks"), i, row)
    {
        if (strcmp(json_string_value(json_object_get(row, "result")), "left") != 0)
            continue;
        cr_assert_neq(json_string_value(json_object_get(row, "component"))[0], 0);
        expect_words(json_string_value(json_object_get(row, "reason")), reason);
        cr_assert_str_eq(json_string_value(json_object_get(row, "model")), model);
        count++;
    }
    return count;
}

Test(swctl_verbs, verify_lists_skipped_chunks_with_reasons)
{
    struct raw raw = raw_connect(&broker);
    (void)sup_run_ok(SUP_ARGS("swctl", "warm", "one"));
    json_t *reply = verify_while(&raw, "{\"verb\":\"clear\"}");
    cr_assert(json_is_true(json_object_get(reply, "ok")));
    int64_t left = number(reply, "passed_over");
    cr_assert_geq(left, 1);
    cr_assert_eq(number(reply, "chunks_verified") + left, 6);
    cr_assert_eq(count_left(reply, "one", "evicted"), (size_t)left);
    json_decref(reply);
    /* a removed revision takes the names of its chunks along, and their ids may be reused */
    (void)sup_run_ok(SUP_ARGS("swctl", "warm", "one"));
    sup_remove_tree(sup_format("%s/one", models));
    reply = verify_while(&raw, "{\"verb\":\"reload\"}");
    left = number(reply, "passed_over");
    cr_assert_geq(left, 1);
    cr_assert_eq(count_left(reply, "one", "revision is gone"), (size_t)left);
    json_decref(reply);
    raw_close(&raw);
}

Test(swctl_verbs, verify_serves_nothing_when_the_file_is_damaged_too)
{
    (void)sup_run_ok(SUP_ARGS("swctl", "warm", "two"));
    damage("two/layer_0");
    cr_assert_eq(truncate(sup_format("%s/two/layer_0.safetensors", models), 8192), 0);
    struct sup_result result = expect_exit(1, SUP_ARGS("swctl", "--json", "verify", "two"));
    json_t *reply = json_loads(result.out, 0, NULL);
    cr_assert_eq(number(reply, "mismatches"), 1);
    json_decref(reply);
    cr_assert(has_state("two/layer_0", "absent"));
    (void)expect_exit(1, SUP_ARGS("swctl", "warm", "two/layer_0"));
}

/* ---- warm ------------------------------------------------------------------------------------ */

Test(swctl_verbs, warms_several_and_all)
{
    (void)expect_exit(2, SUP_ARGS("swctl", "warm"));
    (void)expect_exit(2, SUP_ARGS("swctl", "warm", "--all", "one"));
    json_t *reply = sup_swctl(&broker, SUP_ARGS("warm", "one/layer_0", "two/layer_1"));
    cr_assert_eq(json_array_size(json_object_get(reply, "warmed")), 2);
    json_decref(reply);
    cr_assert_eq(sup_stat(&broker, "chunks_resident"), 2);
    (void)sup_run_ok(SUP_ARGS("swctl", "warm", "--all"));
    cr_assert_eq(sup_stat(&broker, "chunks_resident"), 10);
    /* one that fails does not stop the others */
    (void)sup_run_ok(SUP_ARGS("swctl", "clear"));
    (void)expect_exit(1, SUP_ARGS("swctl", "warm", "nobody", "two"));
    cr_assert_eq(sup_stat(&broker, "chunks_resident"), 4);
    (void)sup_run_ok(SUP_ARGS("swctl", "resize", "8"));
    expect_words(expect_exit(1, SUP_ARGS("swctl", "warm", "--all")).err, "the cache 8.0 MiB");
}

Test(swctl_verbs, warming_all_fails_with_one_model_and_names_it)
{
    sup_mkdir(sup_format("%s/broken", models));
    sup_write_text(sup_format("%s/broken/chunk_info.json", models), "{");
    cr_assert_eq(truncate(sup_format("%s/two/layer_1.safetensors", models), 4096), 0);
    (void)sup_run_ok(SUP_ARGS("swctl", "reload"));
    struct sup_result result = expect_exit(1, SUP_ARGS("swctl", "warm", "--all"));
    expect_words(result.err, "warm: broken: ");
    expect_words(result.err, "warm: two: ");
    cr_assert_null(strstr(result.err, "warm: one"), "%s", result.err);
    expect_words(result.out, "one: loaded 6 chunks");
    cr_assert_eq(sup_stat(&broker, "chunks_resident"), 6 + 3);
    result = expect_exit(1, SUP_ARGS("swctl", "--json", "warm", "--all"));
    json_t *reply = json_loads(result.out, 0, NULL);
    cr_assert(json_is_false(json_object_get(reply, "ok")));
    cr_assert_eq(json_array_size(json_object_get(reply, "warmed")), 3);
    json_decref(reply);
}

static bool waits(void *unused)
{
    (void)unused;
    return sup_stat(&broker, "queued") > 0;
}

Test(swctl_verbs, a_cancelled_warm_up_leaves_nothing_queued)
{
    /* every byte of the cache is pinned, so requests stay queued */
    struct raw holder = raw_attach(&broker, "holder");
    (void)sup_run_ok(SUP_ARGS("swctl", "resize", "8"));
    struct raw_model model = raw_open(&holder, "one");
    (void)raw_pin(&holder, &model, raw_find(&model, "embeddings"));
    const char *err = sup_path("warm.err");
    pid_t pid = sup_spawn(SUP_ARGS("swctl", "warm", "two/embeddings"), NULL, err);
    cr_assert(sup_until(waits, NULL, 10000));
    cr_assert_eq(kill(pid, SIGINT), 0);
    int code = sup_wait(pid, 10000);
    cr_assert_eq(code, 130, "%d: %s", code, sup_read(err, NULL));
    expect_words(sup_read(err, NULL), "cancelled");
    for (int i = 0; i < 1000 && sup_stat(&broker, "queued") > 0; i++)
        sup_sleep_ms(5);
    cr_assert_eq(sup_stat(&broker, "queued"), 0);
    /* the same for a pin, which is taken back */
    (void)sup_run_ok(SUP_ARGS("swctl", "resize", "16"));
    (void)sup_run_ok(SUP_ARGS("swctl", "clear"));
    for (uint32_t i = 0; i < 3; i++)
        (void)raw_pin(&holder, &model, raw_find(&model, sup_format("layer_%u", i)));
    for (int i = 0; i < 2000 && sup_stat(&broker, "chunks_resident") < 4; i++)
        sup_sleep_ms(5); /* otherwise the pin's chunk would take their place */
    pid = sup_spawn(SUP_ARGS("swctl", "pin", "two/embeddings"), NULL, err);
    cr_assert(sup_until(waits, NULL, 10000));
    cr_assert_eq(sup_stat(&broker, "operator_pinned_chunks"), 1);
    cr_assert_eq(kill(pid, SIGINT), 0);
    code = sup_wait(pid, 10000);
    cr_assert_eq(code, 130, "%d: %s", code, sup_read(err, NULL));
    for (int i = 0; i < 1000 && sup_stat(&broker, "operator_pinned_chunks") > 0; i++)
        sup_sleep_ms(5);
    cr_assert_eq(sup_stat(&broker, "operator_pinned_chunks"), 0);
    raw_close(&holder);
}

/* ---- several targets ------------------------------------------------------------------------- */

/* The list of answers to a command with several targets. */
static void expect_answers(const char *const argv[], const char *key, size_t count)
{
    json_t *reply = sup_swctl(&broker, argv);
    cr_assert_eq(json_array_size(json_object_get(reply, key)), count, "%s", argv[0]);
    json_decref(reply);
}

Test(swctl_verbs, pin_verify_clear_and_unpin_take_several_targets)
{
    expect_answers(SUP_ARGS("pin", "one/layer_0", "two/layer_1"), "pinned", 2);
    cr_assert_eq(sup_stat(&broker, "operator_pinned_chunks"), 2);
    (void)sup_run_ok(SUP_ARGS("swctl", "warm", "one", "two"));
    expect_answers(SUP_ARGS("verify", "one/layer_0", "one/layer_1", "two"), "verified", 3);
    const char *text = sup_run_ok(SUP_ARGS("swctl", "clear", "one", "two/layer_0"));
    expect_words(text, "one: evicted 5 chunks");
    expect_words(text, "two/layer_0: evicted 1 chunk ");
    cr_assert_eq(sup_stat(&broker, "chunks_resident"), 1 + 3);
    /* a wrong word anywhere, and nothing is done */
    (void)expect_exit(2, SUP_ARGS("swctl", "unpin", "one", "two/"));
    cr_assert_eq(sup_stat(&broker, "operator_pinned_chunks"), 2);
    /* one that fails does not stop the others */
    struct sup_result result = expect_exit(1, SUP_ARGS("swctl", "unpin", "nobody", "one", "two"));
    expect_words(result.err, "unpin: nobody: ");
    expect_words(result.out, "two: unpinned 1 chunk");
    cr_assert_eq(sup_stat(&broker, "operator_pinned_chunks"), 0);
    json_t *single = sup_swctl(&broker, SUP_ARGS("clear", "two"));
    cr_assert_eq(number(single, "chunks"), 3);
    json_decref(single);
}

/* ---- ls -------------------------------------------------------------------------------------- */

Test(swctl_verbs, ls_filters_sorts_and_names_holders)
{
    (void)sup_run_ok(SUP_ARGS("swctl", "warm", "one", "two"));
    struct raw raw = raw_attach(&broker, "worker");
    struct raw_model model = raw_open(&raw, "one");
    uint32_t layer = raw_find(&model, "layer_2");
    (void)raw_pin(&raw, &model, layer);
    for (int i = 0; i < 3; i++)
        swi_page_note_hit(raw.page, raw.index, 0, model.ids[layer]);
    json_t *row = chunk("one/layer_2");
    cr_assert_eq(number(row, "pins"), 1);
    cr_assert_geq(number(row, "hits"), 2);
    const json_t *holder = json_array_get(json_object_get(row, "holders"), 0);
    cr_assert_str_eq(json_string_value(json_object_get(holder, "name")), "worker");
    cr_assert_eq(number(holder, "pid"), getpid());
    cr_assert_str_eq(json_string_value(json_object_get(row, "layout")), "panel");
    cr_assert_str_eq(json_string_value(json_object_get(row, "dtype")), "F16");
    cr_assert_not_null(json_object_get(row, "last_use_ms_ago"));
    json_decref(row);
    expect_words(sup_run_ok(SUP_ARGS("swctl", "ls")), sup_format("worker/%d", (int)getpid()));
    const char *names = sup_run_ok(SUP_ARGS("swctl", "ls", "two", "--names"));
    cr_assert_str_eq(names, "two/embeddings\ntwo/layer_0\ntwo/layer_1\ntwo/pooler\n");
    names = sup_run_ok(SUP_ARGS("swctl", "ls", "--names", "--sort", "hits"));
    cr_assert_eq(strncmp(names, "one/layer_2\n", 12), 0, "%s", names);
    names = sup_run_ok(SUP_ARGS("swctl", "ls", "--names", "--sort=size", "one"));
    cr_assert_eq(strncmp(names, "one/embeddings\n", 15), 0, "%s", names);
    (void)expect_exit(2, SUP_ARGS("swctl", "ls", "--sort", "beauty"));
    (void)expect_exit(1, SUP_ARGS("swctl", "ls", "nobody"));
    (void)expect_exit(1, SUP_ARGS("swctl", "ls", "one/nothing"));
    cr_assert_str_eq(sup_run_ok(SUP_ARGS("swctl", "models", "--names")), "one\ntwo\n");
    raw_close(&raw);
    /* hits of a departed client still count */
    row = chunk("one/layer_2");
    cr_assert_geq(number(row, "hits"), 2);
    json_decref(row);
}

static bool foresees(void *context)
{
    struct raw *raw = context;
    /* a pass goes on, one component each time */
    static struct swi_cursor_value cursor;
    struct swi_entry_value entry = swi_entry_get(raw->index, 0);
    cursor = (struct swi_cursor_value){.incarnation = entry.incarnation,
                                       .pass = cursor.pass + (cursor.component == 3),
                                       .step_ns = 50000000,
                                       .component = (cursor.component + 1) % 4};
    swi_cursor_put(raw->page, raw->index, 0, &cursor);
    json_t *row = chunk("one/pooler");
    bool known = json_object_get(row, "next_use_ms") != NULL;
    if (known)
        cr_assert_geq(number(row, "next_use_steps"), 1);
    json_decref(row);
    return known;
}

Test(swctl_verbs, ls_and_clients_show_where_a_pass_is)
{
    struct raw raw = raw_attach(&broker, "worker");
    struct raw_model model = raw_open(&raw, "one");
    (void)raw_pin(&raw, &model, 0);
    cr_assert_eq(model.ids[0], 0);
    cr_assert(sup_until(foresees, &raw, 20000), "the policy expects no next use");
    json_t *reply = sup_swctl(&broker, SUP_ARGS("clients"));
    const json_t *client = json_array_get(json_object_get(reply, "clients"), 0);
    const json_t *cursor = json_array_get(json_object_get(client, "cursors"), 0);
    cr_assert_str_eq(json_string_value(json_object_get(cursor, "model")), "one");
    cr_assert_eq(number(cursor, "components"), 6);
    cr_assert_lt(number(cursor, "at"), 4);
    json_decref(reply);
    raw_close(&raw);
}

/* ---- trace ----------------------------------------------------------------------------------- */

Test(swctl_verbs, shows_whether_a_trace_is_recorded)
{
    expect_words(sup_run_ok(SUP_ARGS("swctl", "trace", "status")), "no trace");
    (void)expect_exit(2, SUP_ARGS("swctl", "trace", "start"));
    stop();
    const char *path = sup_path("trace");
    broker = sup_broker_start(models, "32", SUP_ARGS("--trace", path));
    const char *status = sup_run_ok(SUP_ARGS("swctl", "trace"));
    expect_words(status, sup_format("recording to %s", path));
    cr_assert_null(strstr(status, "not visible"), "%s", status);
    /* as if the service had its own /tmp */
    cr_assert_eq(unlink(path), 0);
    expect_words(sup_run_ok(SUP_ARGS("swctl", "trace", "status")), "not visible from here");
}
