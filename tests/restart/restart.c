/* SPDX-License-Identifier: MIT */
/* The broker under a service manager: what it is activated with, what it leaves behind, and what
 * its clients notice of a successor: nothing. What is wrong with what it left:
 * restart/trust.c; how a successor starts: restart/start.c. */
#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

#include "restart/scene.h"

#include "support/raw.h"

TestSuite(broker_restart, .timeout = 240);

Test(broker_restart, is_activated_by_the_managers_socket)
{
    const char *catalog = scene_models();
    (void)sup_synth(catalog, "tiny", SUP_ARGS("--layers", "1"));
    struct managed managed = managed_start(catalog, "16", 0, true, NULL);
    cr_assert_eq(sup_stat(&managed.broker, "models"), 1);
    cr_assert_eq(managed_stop(&managed), 0);
    cr_assert(sup_exists(managed.broker.socket), "it removed a socket that is not its own");
    managed_begin(&managed);
    cr_assert_eq(sup_stat(&managed.broker, "models"), 1);
    managed_end(&managed);
}

Test(broker_restart, refuses_descriptors_that_it_does_not_know)
{
    struct managed managed = managed_prepare(scene_models(), "16", 64, false, NULL);
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    managed_put(&managed, "sw-other", ends[0]);
    managed_put(&managed, "stored", ends[1]);
    managed_begin(&managed);
    cr_assert_eq(sup_run(SUP_ARGS("swctl", "ping")).exit_code, 0);
    cr_assert_eq(managed_count(&managed, "sw-other"), 0);
    cr_assert_eq(managed_count(&managed, "stored"), 0);
    cr_assert_not_null(strstr(sup_read(managed.broker.log, NULL), "unknown descriptor"));
    managed_end(&managed);
}

/* ---- what a client notices ------------------------------------------------------------------- */

static bool all_hashed(void *context)
{
    const struct scene *scene = context;
    return sup_stat(&scene->managed.broker, "unverified") == 0;
}

Test(broker_restart, leases_and_hits_outlive_a_stop)
{
    struct scene scene = scene_open(SCENE_ROOM, NULL);
    scene_load_all(&scene);
    uint32_t slot = raw_pin(&scene.raw, &scene.model, 1);
    struct swi_sight sight, other;
    cr_assert_eq(scene_look(&scene, 1, &sight), SWI_LOOK_RESIDENT);
    for (int round = 0; round < 3; round++) {
        cr_assert_eq(managed_stop(&scene.managed), 0);
        cr_assert_eq(scene_look(&scene, 2, &other), SWI_LOOK_RESIDENT, "a hit needs no broker");
        managed_begin(&scene.managed);
        cr_assert_eq(scene_look(&scene, 2, &other), SWI_LOOK_RESIDENT, "a hit goes on at once");
        cr_assert(scene_still_valid(&scene, 1, sight.generation));
        cr_assert_eq(sup_stat(&scene.managed.broker, "adopted_sessions"), 1);
        cr_assert_eq(sup_stat(&scene.managed.broker, "adopted_chunks"), scene.model.opened.chunks);
        cr_assert_eq(sup_stat(&scene.managed.broker, "restarts"), round + 1);
        cr_assert_gt(sup_stat(&scene.managed.broker, "pinned_bytes"), 0);
    }
    /* nobody reads from the disk for what is there, nor evicts what is held */
    scene_load_all(&scene);
    cr_assert_eq(sup_stat(&scene.managed.broker, "loads"), 0);
    json_decref(sup_swctl(&scene.managed.broker, SUP_ARGS("clear")));
    cr_assert(scene_still_valid(&scene, 1, sight.generation));
    cr_assert_eq(sup_stat(&scene.managed.broker, "chunks_resident"), 1);
    swi_pin_drop(scene.raw.page, slot);
    json_decref(sup_swctl(&scene.managed.broker, SUP_ARGS("clear")));
    cr_assert_eq(sup_stat(&scene.managed.broker, "chunks_resident"), 0);
    scene_load_all(&scene);
    scene_close(&scene);
}

Test(broker_restart, requests_of_the_meantime_are_answered)
{
    struct scene scene = scene_open(SCENE_ROOM, NULL);
    cr_assert_eq(managed_stop(&scene.managed), 0);
    scene_send_load(&scene, 0);
    managed_begin(&scene.managed);
    cr_assert_eq(raw_done(&scene.raw, NULL), 0);
    scene_let_finish(&scene);
    managed_kill(&scene.managed);
    scene_send_load(&scene, 1);
    managed_begin(&scene.managed);
    cr_assert_eq(raw_done(&scene.raw, NULL), 0);
    (void)raw_pin(&scene.raw, &scene.model, 0);
    (void)raw_pin(&scene.raw, &scene.model, 1);
    scene_close(&scene);
}

Test(broker_restart, a_waiting_load_is_asked_for_again)
{
    const char *catalog = scene_models();
    (void)sup_synth(catalog, "tiny", SUP_ARGS("--layers", "12", "--vocab-size", "1000"));
    struct scene scene = {
        .managed = managed_start(catalog, "2", SCENE_ROOM, false, SUP_ARGS("--max-pinned", "100"))};
    scene.raw = raw_attach(&scene.managed.broker, "holder");
    scene.model = raw_open(&scene.raw, "tiny");
    uint32_t slots[64];
    uint32_t held = 0;
    uint64_t bytes = 0;
    while (bytes + scene.model.bytes[held] + 4096 * (held + 1) < (2u << 20)) {
        bytes += scene.model.bytes[held];
        slots[held] = raw_pin(&scene.raw, &scene.model, held);
        held++;
        cr_assert_lt(held, scene.model.opened.chunks, "the model is too small for this test");
    }
    scene_send_load(&scene, held);
    cr_assert_eq(sup_stat(&scene.managed.broker, "queued"), 1);
    cr_assert_eq(managed_stop(&scene.managed), 0);
    for (uint32_t i = 0; i < held; i++)
        swi_pin_drop(scene.raw.page, slots[i]);
    managed_begin(&scene.managed);
    cr_assert_eq(raw_done(&scene.raw, NULL), 0);
    scene_close(&scene);
}

Test(broker_restart, after_a_kill_nothing_is_leased_before_it_is_hashed)
{
    struct scene scene = scene_open(SCENE_ROOM, NULL);
    scene_load_all(&scene);
    (void)raw_pin(&scene.raw, &scene.model, 1);
    struct swi_sight held;
    cr_assert_eq(scene_look(&scene, 1, &held), SWI_LOOK_RESIDENT);
    scene_let_finish(&scene);
    managed_crash(&scene.managed);
    cr_assert(scene_still_valid(&scene, 1, held.generation), "a lease from before goes on");
    scene_load_all(&scene);
    for (uint32_t i = 0; i < scene.model.opened.chunks; i++)
        (void)raw_pin(&scene.raw, &scene.model, i);
    cr_assert_eq(sup_stat(&scene.managed.broker, "loads"), 0, "all of it was there");
    cr_assert_eq(sup_stat(&scene.managed.broker, "verified"), scene.model.opened.chunks);
    scene_close(&scene);
}

/* Writes over a chunk's first bytes, behind the broker's back. */
static void damage(struct scene *scene, uint32_t ordinal)
{
    int fds[8];
    struct swi_entry_value entry = swi_entry_get(scene->raw.index, scene->model.ids[ordinal]);
    cr_assert_eq(managed_take(&scene->managed, "sw-arena", fds), 1);
    static const char bytes[] = "not what the manifest says";
    cr_assert_eq(pwrite(fds[0], bytes, sizeof bytes, (off_t)entry.offset), (ssize_t)sizeof bytes);
    close(fds[0]);
}

Test(broker_restart, damaged_chunks_are_found_and_read_again)
{
    struct scene scene = scene_open(SCENE_ROOM, NULL);
    for (int clean = 0; clean < 2; clean++) {
        scene_load_all(&scene);
        uint32_t slot = raw_pin(&scene.raw, &scene.model, 1);
        struct swi_sight held;
        cr_assert_eq(scene_look(&scene, 1, &held), SWI_LOOK_RESIDENT);
        scene_let_finish(&scene);
        if (clean)
            cr_assert_eq(managed_stop(&scene.managed), 0);
        else
            managed_kill(&scene.managed);
        damage(&scene, 1);
        managed_begin(&scene.managed);
        cr_assert(sup_until(all_hashed, &scene, 60000));
        cr_assert_not(scene_still_valid(&scene, 1, held.generation), "its holder must hear of it");
        swi_pin_drop(scene.raw.page, slot);
        cr_assert_eq(sup_stat(&scene.managed.broker, "verify_errors"), 1);
        slot = raw_pin(&scene.raw, &scene.model, 1); /* checks the bytes */
        swi_pin_drop(scene.raw.page, slot);
        cr_assert_eq(sup_stat(&scene.managed.broker, "loads"), 1);
        cr_assert_eq(sup_stat(&scene.managed.broker, "clients"), 1);
    }
    scene_close(&scene);
}

/* ---- who is gone, what is wrong -------------------------------------------------------------- */

Test(broker_restart, a_client_that_died_meanwhile_holds_nothing)
{
    struct scene scene = scene_open(SCENE_ROOM, NULL);
    scene_load_all(&scene);
    (void)raw_pin(&scene.raw, &scene.model, 1);
    managed_kill(&scene.managed);
    raw_close(&scene.raw);
    managed_begin(&scene.managed);
    cr_assert_eq(sup_stat(&scene.managed.broker, "clients"), 0);
    json_decref(sup_swctl(&scene.managed.broker, SUP_ARGS("clear")));
    cr_assert_eq(sup_stat(&scene.managed.broker, "chunks_resident"), 0);
    cr_assert(sup_until(scene_nobody_is_stored, &scene.managed, 10000));
    managed_end(&scene.managed);
}

Test(broker_restart, what_a_client_leaves_leaves_the_store)
{
    struct scene scene = scene_open(SCENE_ROOM, NULL);
    cr_assert_eq(managed_count(&scene.managed, "sw-session-"), 2);
    raw_close(&scene.raw);
    cr_assert(sup_until(scene_nobody_is_stored, &scene.managed, 10000));
    scene.raw = raw_attach(&scene.managed.broker, "next");
    cr_assert_eq(managed_count(&scene.managed, "sw-session-"), 2);
    scene_close(&scene);
}
