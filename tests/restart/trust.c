/* SPDX-License-Identifier: MIT */
/* What a successor makes of what it cannot trust: other layouts, overlaps, flipped bits, records
 * and pages that are not what they should be, brokers that died while they took it over. */
#include <criterion/criterion.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "restart/scene.h"

TestSuite(broker_restart_trust, .timeout = 240);

Test(broker_restart_trust, an_index_with_another_layout_is_dropped)
{
    struct scene scene = scene_open(SCENE_ROOM, NULL);
    scene_load_all(&scene);
    cr_assert_eq(managed_stop(&scene.managed), 0);
    uint32_t hash = SWI_LAYOUT_HASH + 1;
    scene_overwrite(&scene, "sw-index", offsetof(struct swi_index_header, layout_hash), &hash,
                    sizeof hash);
    scene_starts_empty(&scene);
}

Test(broker_restart_trust, an_index_that_points_outside_is_dropped)
{
    struct scene scene = scene_open(SCENE_ROOM, NULL);
    scene_load_all(&scene);
    cr_assert_eq(managed_stop(&scene.managed), 0);
    uint64_t offset = UINT64_C(1) << 40;
    scene_overwrite(&scene, "sw-index",
                    offsetof(struct swi_index, entry) +
                        scene.model.ids[1] * sizeof(struct swi_entry) +
                        offsetof(struct swi_entry, offset),
                    &offset, sizeof offset);
    scene_starts_empty(&scene);
}

Test(broker_restart_trust, a_ledger_with_part_of_a_page_reserved_is_dropped)
{
    struct scene scene = scene_open(SCENE_ROOM, NULL);
    scene_load_all(&scene);
    cr_assert_eq(managed_stop(&scene.managed), 0);
    uint64_t reserved = (32u << 20) - 1;
    scene_overwrite(&scene, "sw-ledger",
                    offsetof(struct ledger, header) +
                        offsetof(struct ledger_header, reserved_bytes),
                    &reserved, sizeof reserved);
    scene_starts_empty(&scene);
}

static bool no_tries(void *context)
{
    return scene_count_tries(context) == 0;
}

/* Until the broker is one of those whose death does not count. */
static void live_on(struct scene *scene)
{
    cr_assert(sup_until(no_tries, scene, 60000));
}

/* Whatever it is that ends them: it does not do so for ever. */
Test(broker_restart_trust, what_ends_every_broker_that_takes_it_over_is_given_up)
{
    struct scene scene = scene_open(SCENE_ROOM, NULL);
    scene_load_all(&scene);
    for (int i = 0; i < 8; i++) {
        managed_crash(&scene.managed);
        cr_assert_eq(sup_stat(&scene.managed.broker, "adopted_sessions"), 1);
        live_on(&scene); /* deaths such as these do not add up */
    }
    managed_kill(&scene.managed);
    scene_set_tries(&scene, LEDGER_TRIES_MAX);
    scene_starts_empty(&scene);
}

/* So long that after a stop in good order its hashing outlasts half a second by far: a MiB is
 * hashed every two milliseconds then, no faster. */
static struct scene open_large_scene(void)
{
    struct scene scene;
    const char *catalog = scene_models();
    (void)sup_synth(catalog, "tiny",
                    SUP_ARGS("--layers", "9", "--hidden", "1024", "--heads", "16", "--intermediate",
                             "4096", "--vocab-size", "1000"));
    scene.managed =
        managed_start(catalog, "512", SCENE_ROOM, false, SUP_ARGS("--max-pinned", "512"));
    scene.raw = raw_attach(&scene.managed.broker, "tester");
    scene.model = raw_open(&scene.raw, "tiny");
    return scene;
}

Test(broker_restart_trust, a_broker_is_counted_until_it_has_hashed_all_that_it_took_over)
{
    struct scene scene = open_large_scene();
    scene_load_all(&scene);
    managed_restart(&scene.managed);
    for (;;) {
        uint32_t counted =
            scene_count_tries(&scene); /* before it is known that some was left to hash */
        if (sup_stat(&scene.managed.broker, "unverified") == 0)
            break;
        cr_assert_eq(counted, 1, "the try is forgotten, although it may end it still");
    }
    live_on(&scene);
    scene_close(&scene);
}

Test(broker_restart_trust, an_index_whose_chunks_overlap_is_dropped)
{
    struct scene scene = scene_open(SCENE_ROOM, NULL);
    scene_load_all(&scene);
    cr_assert_eq(managed_stop(&scene.managed), 0);
    struct swi_entry_value other = swi_entry_get(scene.raw.index, scene.model.ids[2]);
    scene_overwrite(&scene, "sw-index",
                    offsetof(struct swi_index, entry) +
                        scene.model.ids[1] * sizeof(struct swi_entry) +
                        offsetof(struct swi_entry, offset),
                    &other.offset, sizeof other.offset);
    scene_starts_empty(&scene);
}

Test(broker_restart_trust, another_arena_is_dropped)
{
    struct scene scene = scene_open(SCENE_ROOM, NULL);
    scene_load_all(&scene);
    cr_assert_eq(managed_stop(&scene.managed), 0);
    int fds[8];
    cr_assert_eq(managed_take(&scene.managed, "sw-arena", fds), 1);
    cr_assert_eq(ftruncate(fds[0], 8 << 20), 0);
    close(fds[0]);
    scene_starts_empty(&scene);
}

Test(broker_restart_trust, a_missing_ledger_or_a_second_one_is_noticed)
{
    struct scene scene = scene_open(SCENE_ROOM, NULL);
    scene_load_all(&scene);
    cr_assert_eq(managed_stop(&scene.managed), 0);
    cr_assert_str_eq(managed_tell(&scene.managed, "drop sw-ledger"), "1");
    scene_starts_empty(&scene);
    scene = scene_open(SCENE_ROOM, NULL);
    scene_load_all(&scene);
    cr_assert_eq(managed_stop(&scene.managed), 0);
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    managed_put(&scene.managed, "sw-index", ends[0]);
    scene_starts_empty(&scene);
}

/* ---- bits that flip -------------------------------------------------------------------------- */

#define FLIPS 40

struct place {
    const char *name;
    size_t from, bytes;
};

static uint64_t dice = 7;

static uint32_t roll(size_t below)
{
    dice = dice * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((dice >> 33) % below);
}

/* Where something is that a successor looks at. */
static struct place pick(const struct scene *scene)
{
    size_t id = scene->model.ids[roll(scene->model.opened.chunks)];
    size_t session = scene->raw.welcome.session * sizeof(struct ledger_session);
    const struct place places[] = {
        {"sw-ledger", LEDGER_AT(header), sizeof(struct ledger_header)},
        {"sw-ledger", LEDGER_AT(range), 2 * sizeof(struct ledger_range)},
        {"sw-ledger", LEDGER_AT(revision), 2 * sizeof(struct ledger_revision)},
        {"sw-ledger", LEDGER_AT(chunk) + id * sizeof(struct ledger_chunk),
         sizeof(struct ledger_chunk)},
        {"sw-ledger", LEDGER_AT(session) + session, 56 + 64 + 16},
        {"sw-ledger", LEDGER_AT(session) + session + offsetof(struct ledger_session, load), 64},
        {"sw-ledger", LEDGER_AT(huge), 16},
        {"sw-index", 0, sizeof(struct swi_index_header)},
        {"sw-index", offsetof(struct swi_index, epoch) + scene->raw.welcome.session * 8, 8},
        {"sw-index", offsetof(struct swi_index, entry) + id * sizeof(struct swi_entry),
         sizeof(struct swi_entry)},
        {"sw-index", offsetof(struct swi_index, entry) + id * sizeof(struct swi_entry), 8},
    };
    return places[roll(sizeof places / sizeof places[0])];
}

static void flip(struct scene *scene)
{
    for (uint32_t i = 1 + roll(3); i > 0; i--) {
        struct place place = pick(scene);
        uint8_t byte;
        int fds[8];
        cr_assert_eq(managed_take(&scene->managed, place.name, fds), 1);
        off_t at = (off_t)(place.from + roll(place.bytes));
        cr_assert_eq(pread(fds[0], &byte, 1, at), 1);
        if (roll(2))
            byte = (uint8_t)(byte ^ (1u << roll(8)));
        else
            byte = (uint8_t)roll(256);
        cr_assert_eq(pwrite(fds[0], &byte, 1, at), 1);
        close(fds[0]);
    }
}

/* Whatever it finds it starts, and what it serves is right. */
Test(broker_restart_trust, bits_that_flip_cost_what_they_are_in)
{
    struct scene scene = scene_open(SCENE_ROOM, NULL);
    for (int i = 0; i < FLIPS; i++) {
        scene_load_all(&scene);
        (void)raw_pin(&scene.raw, &scene.model, 1);
        managed_kill(&scene.managed);
        flip(&scene);
        managed_begin(&scene.managed);
        raw_close(&scene.raw);
        scene.raw = raw_attach(&scene.managed.broker, "next");
        scene.model = raw_open(&scene.raw, "tiny");
        for (uint32_t k = 0; k < scene.model.opened.chunks; k++)
            swi_pin_drop(scene.raw.page, raw_pin(&scene.raw, &scene.model, k));
    }
    scene_close(&scene);
}

/* ---- deaths on the way ------------------------------------------------------------------------
 */

#define DEATHS 24

/* Brokers that die while they take it over, at any moment of it, cost nobody anything. */
Test(broker_restart_trust, deaths_while_taking_over_cost_nobody_a_lease)
{
    struct scene scene = scene_open(SCENE_ROOM, NULL);
    scene_load_all(&scene);
    (void)raw_pin(&scene.raw, &scene.model, 1);
    struct swi_sight held;
    cr_assert_eq(scene_look(&scene, 1, &held), SWI_LOOK_RESIDENT);
    for (int i = 0; i < DEATHS; i++) {
        if (i % 3 == 0)
            cr_assert_eq(managed_stop(&scene.managed), 0);
        else
            managed_kill(&scene.managed);
        for (uint32_t k = 1 + roll(LEDGER_TRIES_MAX - 2); k > 0; k--)
            (void)managed_tell(&scene.managed, "doomed %u", 1 + roll(40));
        managed_begin(&scene.managed);
        cr_assert_eq(sup_stat(&scene.managed.broker, "adopted_sessions"), 1);
        cr_assert(scene_still_valid(&scene, 1, held.generation));
        scene_load_all(&scene);
        cr_assert_eq(sup_stat(&scene.managed.broker, "loads"), 0);
        live_on(&scene);
    }
    scene_close(&scene);
}

/* The same with messages in the socket: each is answered, or its sender told to begin anew. */
Test(broker_restart_trust, deaths_with_messages_in_hand_leave_nobody_waiting)
{
    struct scene scene = scene_open(SCENE_ROOM, NULL);
    for (int i = 0; i < DEATHS; i++) {
        uint32_t ordinal = roll(scene.model.opened.chunks);
        json_decref(sup_swctl(&scene.managed.broker, SUP_ARGS("clear")));
        managed_kill(&scene.managed);
        scene_send_load(&scene, ordinal);
        struct swi_wire_open open = {.name = "tiny"};
        cr_assert(raw_send(&scene.raw, SWI_WIRE_OPEN, &open, sizeof open, NULL, 0));
        (void)managed_tell(&scene.managed, "doomed %u", 20 + roll(80));
        managed_begin(&scene.managed);
        /* a DONE and an OPENED, either of them twice at most; or the end */
        bool opened = false, ended = false;
        uint32_t handle = 0;
        while (!opened && !ended) {
            struct raw_answer *answer = raw_receive(&scene.raw);
            struct swi_wire_opened body;
            ended = !answer;
            opened =
                answer && answer->in.type == SWI_WIRE_OPENED && answer->in.tag == scene.raw.tag;
            if (opened && swi_wire_get(&answer->in, &body, sizeof body))
                handle = body.model;
        }
        struct swi_wire_close close_it = {.model = handle};
        if (opened)
            cr_assert(raw_send(&scene.raw, SWI_WIRE_CLOSE, &close_it, sizeof close_it, NULL, 0));
        raw_close(&scene.raw);
        scene.raw = raw_attach(&scene.managed.broker, "next");
        scene.model = raw_open(&scene.raw, "tiny");
        swi_pin_drop(scene.raw.page, raw_pin(&scene.raw, &scene.model, ordinal));
        live_on(&scene);
    }
    scene_close(&scene);
}

static void loses_the_session(struct scene *scene, uint64_t generation)
{
    managed_begin(&scene->managed);
    cr_assert_eq(sup_stat(&scene->managed.broker, "adopted_sessions"), 0);
    cr_assert_eq(sup_stat(&scene->managed.broker, "adopted_chunks"), scene->model.opened.chunks);
    cr_assert_eq(sup_stat(&scene->managed.broker, "clients"), 0);
    cr_assert_not(scene_still_valid(scene, 1, generation), "its leases must be void");
    raw_expect_hangup(&scene->raw);
    raw_close(&scene->raw);
    cr_assert(sup_until(scene_nobody_is_stored, &scene->managed, 10000));
    scene->raw = raw_attach(&scene->managed.broker, "again");
    scene->model = raw_open(&scene->raw, "tiny");
    scene_load_all(scene);
    cr_assert_eq(sup_stat(&scene->managed.broker, "loads"), 0);
    scene_close(scene);
}

static bool is_socket(int fd)
{
    int type;
    socklen_t size = sizeof type;
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0;
}

/* Puts only one of a session's two descriptors back. */
static void keep_only(struct scene *scene, bool socket_too)
{
    const char *name = managed_name(&scene->managed, "sw-session-");
    int fds[8];
    cr_assert_eq(managed_take(&scene->managed, name, fds), 2);
    (void)managed_tell(&scene->managed, "drop %s", name);
    for (int i = 0; i < 2; i++) {
        if (is_socket(fds[i]) == socket_too)
            managed_put(&scene->managed, name, fds[i]);
        close(fds[i]);
    }
}

Test(broker_restart_trust, a_session_without_its_page_is_dropped)
{
    struct scene scene;
    uint64_t generation = scene_hold_and_stop(&scene);
    keep_only(&scene, true);
    loses_the_session(&scene, generation);
}

Test(broker_restart_trust, a_session_without_its_socket_is_dropped)
{
    struct scene scene;
    uint64_t generation = scene_hold_and_stop(&scene);
    keep_only(&scene, false);
    loses_the_session(&scene, generation);
}

Test(broker_restart_trust, a_session_with_another_page_is_dropped)
{
    struct scene scene;
    uint64_t generation = scene_hold_and_stop(&scene);
    const char *name = managed_name(&scene.managed, "sw-session-");
    keep_only(&scene, true);
    int fds[8];
    cr_assert_eq(managed_take(&scene.managed, "sw-ledger", fds), 1);
    managed_put(&scene.managed, name, fds[0]);
    close(fds[0]);
    loses_the_session(&scene, generation);
}

Test(broker_restart_trust, a_session_whose_page_is_garbage_is_dropped)
{
    struct scene scene;
    uint64_t generation = scene_hold_and_stop(&scene);
    memset(scene.raw.page, 0x5a, sizeof *scene.raw.page);
    loses_the_session(&scene, generation);
}

static void overwrite_record(struct scene *scene, size_t offset, const void *data, size_t size)
{
    scene_overwrite(scene, "sw-ledger",
                    offsetof(struct ledger, session) +
                        scene->raw.welcome.session * sizeof(struct ledger_session) + offset,
                    data, size);
}

static void set_in_hand(struct scene *scene, uint32_t tries)
{
    overwrite_record(scene, offsetof(struct ledger_session, in_hand), &tries, sizeof tries);
}

Test(broker_restart_trust, a_message_that_ended_two_brokers_is_not_tried_again)
{
    struct scene scene;
    uint64_t generation = scene_hold_and_stop(&scene);
    set_in_hand(&scene, 1);
    managed_begin(&scene.managed);
    cr_assert_eq(sup_stat(&scene.managed.broker, "adopted_sessions"), 1);
    cr_assert(scene_still_valid(&scene, 1, generation));
    cr_assert_eq(managed_stop(&scene.managed), 0);
    set_in_hand(&scene, 2);
    loses_the_session(&scene, generation);
}

/* Its broker died after it had made a handle and before the message was off the socket. */
Test(broker_restart_trust, a_model_that_was_being_opened_has_one_handle)
{
    struct scene scene = scene_open(SCENE_ROOM, NULL);
    uint64_t incarnation = scene.model.opened.incarnation;
    uint32_t handle = scene.model.opened.model;
    for (int same = 0; same < 2; same++) {
        cr_assert_eq(managed_stop(&scene.managed), 0);
        struct swi_wire_open open = {.name = "tiny"};
        cr_assert(raw_send(&scene.raw, SWI_WIRE_OPEN, &open, sizeof open, NULL, 0));
        uint32_t opened = LEDGER_OPENED(scene.raw.tag + !same, handle + 1);
        uint32_t tries = 1;
        overwrite_record(&scene,
                         offsetof(struct ledger_session, model) + (handle + 1) * sizeof incarnation,
                         &incarnation, sizeof incarnation);
        overwrite_record(&scene, offsetof(struct ledger_session, opened), &opened, sizeof opened);
        overwrite_record(&scene, offsetof(struct ledger_session, in_hand), &tries, sizeof tries);
        managed_begin(&scene.managed);
        struct raw_answer *answer = raw_expect(&scene.raw, SWI_WIRE_OPENED);
        struct swi_wire_opened body;
        cr_assert(swi_wire_get(&answer->in, &body, sizeof body));
        cr_assert_eq(body.model, same ? handle + 1 : handle + 2, "round %d: handle %u", same,
                     body.model);
        cr_assert_eq(body.incarnation, incarnation);
    }
    cr_assert_eq(raw_open(&scene.raw, "tiny").opened.model, handle + 3);
    scene_close(&scene);
}

Test(broker_restart_trust, who_was_answered_everything_is_not_dropped)
{
    struct scene scene = scene_open(SCENE_ROOM, NULL);
    json_t *reply = raw_control(&scene.raw, "{\"verb\":\"verify\",\"model\":\"tiny\"}");
    cr_assert(json_is_true(json_object_get(reply, "ok")));
    json_decref(reply);
    json_decref(sup_swctl(&scene.managed.broker, SUP_ARGS("clear")));
    reply = raw_control(&scene.raw, "{\"verb\":\"warm\",\"model\":\"tiny\"}");
    cr_assert(json_is_true(json_object_get(reply, "ok")));
    json_decref(reply);
    managed_restart(&scene.managed);
    cr_assert_eq(sup_stat(&scene.managed.broker, "adopted_sessions"), 1);
    scene_load_all(&scene);
    scene_close(&scene);
}

Test(broker_restart_trust, wild_pins_of_a_stored_page_do_no_harm)
{
    struct scene scene;
    uint64_t generation = scene_hold_and_stop(&scene);
    memset(scene.raw.page->slot + 8, 0x5a,
           sizeof scene.raw.page->slot - 8 * sizeof(struct swi_slot));
    memset((void *)(uintptr_t)scene.raw.page->cursor, 0x5a, sizeof scene.raw.page->cursor);
    managed_begin(&scene.managed);
    cr_assert_eq(sup_stat(&scene.managed.broker, "adopted_sessions"), 1);
    cr_assert(scene_still_valid(&scene, 1, generation));
    scene_close(&scene);
}
