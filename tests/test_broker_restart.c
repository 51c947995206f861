/* The broker under a service manager: what it is activated with, what it leaves behind, what its
 * successor makes of that. */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ledger.h"
#include "support/managed.h"
#include "support/raw.h"

TestSuite(broker_restart, .timeout = 240);

static const char *models(void)
{
    const char *path = sup_path("models");
    sup_mkdir(path);
    return path;
}

Test(broker_restart, is_activated_by_the_managers_socket)
{
    const char *catalog = models();
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
    struct managed managed = managed_prepare(models(), "16", 64, false, NULL);
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    managed_put(&managed, "sw-other", ends[0]);
    managed_put(&managed, "stored", ends[1]);
    managed_begin(&managed);
    cr_assert_eq(sup_run(SUP_ARGS("swctl", "ping")).exit_code, 0);
    cr_assert_eq(managed_count(&managed, "sw-other"), 0);
    cr_assert_eq(managed_count(&managed, "stored"), 0);
    cr_assert_not_null(strstr(sup_read(managed.broker.log, NULL), "of no use"));
    managed_end(&managed);
}

/* ---- what a client notices ------------------------------------------------------------------- */

#define ROOM  64u  /* descriptors that the manager keeps */
#define CACHE "32" /* MB; the model has about 9 */

struct scene {
    struct managed managed;
    struct raw raw;
    struct raw_model model;
};

static struct scene open_scene(unsigned max, const char *const extra[])
{
    struct scene scene;
    const char *catalog = models();
    (void)sup_synth(catalog, "tiny", SUP_ARGS("--layers", "4", "--force"));
    scene.managed = managed_start(catalog, CACHE, max, false, extra);
    scene.raw = raw_attach(&scene.managed.broker, "tester");
    scene.model = raw_open(&scene.raw, "tiny");
    return scene;
}

/* Until the broker is done with the last message, and not only has answered it: who is killed in
 * between lets its successor answer again. */
static void let_finish(const struct scene *scene)
{
    (void)sup_stat(&scene->managed.broker, "clients");
}

static void load_all(struct scene *scene)
{
    for (uint32_t i = 0; i < scene->model.opened.chunks; i++)
        cr_assert_eq(raw_load(&scene->raw, &scene->model, i, NULL), 0);
    let_finish(scene);
}

static enum swi_look look(const struct scene *scene, uint32_t ordinal, struct swi_sight *ret)
{
    return swi_pin_look(scene->raw.index, scene->raw.welcome.session, scene->raw.welcome.epoch,
                        scene->model.ids[ordinal], scene->model.opened.incarnation, ret);
}

static bool still_valid(const struct scene *scene, uint32_t ordinal, uint64_t generation)
{
    return swi_pin_valid(scene->raw.index, scene->raw.welcome.session, scene->raw.welcome.epoch,
                         scene->model.ids[ordinal], generation);
}

static void send_load(struct scene *scene, uint32_t ordinal)
{
    const struct swi_wire_load load = {.incarnation = scene->model.opened.incarnation,
                                       .model = scene->model.opened.model,
                                       .chunk = scene->model.ids[ordinal]};
    cr_assert(raw_send(&scene->raw, SWI_WIRE_LOAD, &load, sizeof load, NULL, 0));
}

static bool all_hashed(void *context)
{
    const struct scene *scene = context;
    return sup_stat(&scene->managed.broker, "unverified") == 0;
}

static void close_scene(struct scene *scene)
{
    raw_close(&scene->raw);
    managed_end(&scene->managed);
}

Test(broker_restart, leases_and_hits_outlive_a_stop)
{
    struct scene scene = open_scene(ROOM, NULL);
    load_all(&scene);
    uint32_t slot = raw_pin(&scene.raw, &scene.model, 1);
    struct swi_sight sight, other;
    cr_assert_eq(look(&scene, 1, &sight), SWI_LOOK_RESIDENT);
    for (int round = 0; round < 3; round++) {
        cr_assert_eq(managed_stop(&scene.managed), 0);
        cr_assert_eq(look(&scene, 2, &other), SWI_LOOK_RESIDENT, "a hit needs no broker");
        managed_begin(&scene.managed);
        cr_assert_eq(look(&scene, 2, &other), SWI_LOOK_RESIDENT, "a hit goes on at once");
        cr_assert(still_valid(&scene, 1, sight.generation));
        cr_assert_eq(sup_stat(&scene.managed.broker, "adopted_sessions"), 1);
        cr_assert_eq(sup_stat(&scene.managed.broker, "adopted_chunks"), scene.model.opened.chunks);
        cr_assert_eq(sup_stat(&scene.managed.broker, "restarts"), round + 1);
        cr_assert_gt(sup_stat(&scene.managed.broker, "pinned_bytes"), 0);
    }
    /* nobody reads from the disk for what is there, nor evicts what is held */
    load_all(&scene);
    cr_assert_eq(sup_stat(&scene.managed.broker, "loads"), 0);
    json_decref(sup_swctl(&scene.managed.broker, SUP_ARGS("clear")));
    cr_assert(still_valid(&scene, 1, sight.generation));
    cr_assert_eq(sup_stat(&scene.managed.broker, "chunks_resident"), 1);
    swi_pin_drop(scene.raw.page, slot);
    json_decref(sup_swctl(&scene.managed.broker, SUP_ARGS("clear")));
    cr_assert_eq(sup_stat(&scene.managed.broker, "chunks_resident"), 0);
    load_all(&scene);
    close_scene(&scene);
}

Test(broker_restart, requests_of_the_meantime_are_answered)
{
    struct scene scene = open_scene(ROOM, NULL);
    cr_assert_eq(managed_stop(&scene.managed), 0);
    send_load(&scene, 0);
    managed_begin(&scene.managed);
    cr_assert_eq(raw_done(&scene.raw, NULL), 0);
    let_finish(&scene);
    managed_kill(&scene.managed);
    send_load(&scene, 1);
    managed_begin(&scene.managed);
    cr_assert_eq(raw_done(&scene.raw, NULL), 0);
    (void)raw_pin(&scene.raw, &scene.model, 0);
    (void)raw_pin(&scene.raw, &scene.model, 1);
    close_scene(&scene);
}

Test(broker_restart, a_waiting_load_is_asked_for_again)
{
    const char *catalog = models();
    (void)sup_synth(catalog, "tiny", SUP_ARGS("--layers", "12", "--vocab-size", "1000"));
    struct scene scene = {
        .managed = managed_start(catalog, "2", ROOM, false, SUP_ARGS("--max-pinned", "100"))};
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
    send_load(&scene, held);
    cr_assert_eq(sup_stat(&scene.managed.broker, "queued"), 1);
    cr_assert_eq(managed_stop(&scene.managed), 0);
    for (uint32_t i = 0; i < held; i++)
        swi_pin_drop(scene.raw.page, slots[i]);
    managed_begin(&scene.managed);
    cr_assert_eq(raw_done(&scene.raw, NULL), 0);
    close_scene(&scene);
}

Test(broker_restart, after_a_kill_nothing_is_leased_before_it_is_hashed)
{
    struct scene scene = open_scene(ROOM, NULL);
    load_all(&scene);
    (void)raw_pin(&scene.raw, &scene.model, 1);
    struct swi_sight held;
    cr_assert_eq(look(&scene, 1, &held), SWI_LOOK_RESIDENT);
    let_finish(&scene);
    managed_crash(&scene.managed);
    cr_assert(still_valid(&scene, 1, held.generation), "a lease from before goes on");
    load_all(&scene);
    for (uint32_t i = 0; i < scene.model.opened.chunks; i++)
        (void)raw_pin(&scene.raw, &scene.model, i);
    cr_assert_eq(sup_stat(&scene.managed.broker, "loads"), 0, "all of it was there");
    cr_assert_eq(sup_stat(&scene.managed.broker, "verified"), scene.model.opened.chunks);
    close_scene(&scene);
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
    struct scene scene = open_scene(ROOM, NULL);
    for (int clean = 0; clean < 2; clean++) {
        load_all(&scene);
        uint32_t slot = raw_pin(&scene.raw, &scene.model, 1);
        struct swi_sight held;
        cr_assert_eq(look(&scene, 1, &held), SWI_LOOK_RESIDENT);
        let_finish(&scene);
        if (clean)
            cr_assert_eq(managed_stop(&scene.managed), 0);
        else
            managed_kill(&scene.managed);
        damage(&scene, 1);
        managed_begin(&scene.managed);
        cr_assert(sup_until(all_hashed, &scene, 60000));
        cr_assert_not(still_valid(&scene, 1, held.generation), "its holder must hear of it");
        swi_pin_drop(scene.raw.page, slot);
        cr_assert_eq(sup_stat(&scene.managed.broker, "verify_errors"), 1);
        slot = raw_pin(&scene.raw, &scene.model, 1); /* checks the bytes */
        swi_pin_drop(scene.raw.page, slot);
        cr_assert_eq(sup_stat(&scene.managed.broker, "loads"), 1);
        cr_assert_eq(sup_stat(&scene.managed.broker, "clients"), 1);
    }
    close_scene(&scene);
}

/* ---- who is gone, what is wrong -------------------------------------------------------------- */

static bool nobody_is_stored(void *context)
{
    return managed_count(context, "sw-session-") == 0;
}

Test(broker_restart, a_client_that_died_meanwhile_holds_nothing)
{
    struct scene scene = open_scene(ROOM, NULL);
    load_all(&scene);
    (void)raw_pin(&scene.raw, &scene.model, 1);
    managed_kill(&scene.managed);
    raw_close(&scene.raw);
    managed_begin(&scene.managed);
    cr_assert_eq(sup_stat(&scene.managed.broker, "clients"), 0);
    json_decref(sup_swctl(&scene.managed.broker, SUP_ARGS("clear")));
    cr_assert_eq(sup_stat(&scene.managed.broker, "chunks_resident"), 0);
    cr_assert(sup_until(nobody_is_stored, &scene.managed, 10000));
    managed_end(&scene.managed);
}

Test(broker_restart, what_a_client_leaves_leaves_the_store)
{
    struct scene scene = open_scene(ROOM, NULL);
    cr_assert_eq(managed_count(&scene.managed, "sw-session-"), 2);
    raw_close(&scene.raw);
    cr_assert(sup_until(nobody_is_stored, &scene.managed, 10000));
    scene.raw = raw_attach(&scene.managed.broker, "next");
    cr_assert_eq(managed_count(&scene.managed, "sw-session-"), 2);
    close_scene(&scene);
}

/* The broker was stopped, what it left was changed: it starts empty, and who was attached is told.
 */
static void starts_empty(struct scene *scene)
{
    managed_begin(&scene->managed);
    cr_assert_eq(sup_stat(&scene->managed.broker, "adopted_sessions"), 0);
    cr_assert_eq(sup_stat(&scene->managed.broker, "chunks_resident"), 0);
    cr_assert_not_null(strstr(sup_read(scene->managed.broker.log, NULL), "starting empty"));
    raw_expect_hangup(&scene->raw);
    raw_close(&scene->raw);
    cr_assert_eq(managed_count(&scene->managed, "sw-session-"), 0);
    /* and what it has now can be taken over */
    scene->raw = raw_attach(&scene->managed.broker, "again");
    scene->model = raw_open(&scene->raw, "tiny");
    load_all(scene);
    managed_restart(&scene->managed);
    cr_assert_eq(sup_stat(&scene->managed.broker, "adopted_sessions"), 1);
    load_all(scene);
    cr_assert_eq(sup_stat(&scene->managed.broker, "loads"), 0);
    close_scene(scene);
}

#define LEDGER_AT(member) offsetof(struct ledger, member)

static void overwrite(struct scene *scene, const char *name, size_t offset, const void *data,
                      size_t size)
{
    int fds[8];
    cr_assert_eq(managed_take(&scene->managed, name, fds), 1);
    cr_assert_eq(pwrite(fds[0], data, size, (off_t)offset), (ssize_t)size, "pwrite: %m");
    close(fds[0]);
}

Test(broker_restart, an_index_with_another_layout_is_dropped)
{
    struct scene scene = open_scene(ROOM, NULL);
    load_all(&scene);
    cr_assert_eq(managed_stop(&scene.managed), 0);
    uint32_t hash = SWI_LAYOUT_HASH + 1;
    overwrite(&scene, "sw-index", offsetof(struct swi_index_header, layout_hash), &hash,
              sizeof hash);
    starts_empty(&scene);
}

Test(broker_restart, an_index_that_points_outside_is_dropped)
{
    struct scene scene = open_scene(ROOM, NULL);
    load_all(&scene);
    cr_assert_eq(managed_stop(&scene.managed), 0);
    uint64_t offset = UINT64_C(1) << 40;
    overwrite(&scene, "sw-index",
              offsetof(struct swi_index, entry) + scene.model.ids[1] * sizeof(struct swi_entry) +
                  offsetof(struct swi_entry, offset),
              &offset, sizeof offset);
    starts_empty(&scene);
}

Test(broker_restart, a_ledger_with_part_of_a_page_reserved_is_dropped)
{
    struct scene scene = open_scene(ROOM, NULL);
    load_all(&scene);
    cr_assert_eq(managed_stop(&scene.managed), 0);
    uint64_t reserved = (32u << 20) - 1;
    overwrite(&scene, "sw-ledger",
              offsetof(struct ledger, header) + offsetof(struct ledger_header, reserved_bytes),
              &reserved, sizeof reserved);
    starts_empty(&scene);
}

static uint32_t count_tries(struct scene *scene)
{
    struct ledger_header header;
    int fds[8];
    cr_assert_eq(managed_take(&scene->managed, "sw-ledger", fds), 1);
    cr_assert_eq(pread(fds[0], &header, sizeof header, LEDGER_AT(header)), (ssize_t)sizeof header);
    close(fds[0]);
    return header.clean / LEDGER_TRY;
}

static void set_tries(struct scene *scene, uint32_t count)
{
    uint32_t clean = count * LEDGER_TRY;
    overwrite(scene, "sw-ledger", LEDGER_AT(header) + offsetof(struct ledger_header, clean), &clean,
              sizeof clean);
}

static bool no_tries(void *context)
{
    return count_tries(context) == 0;
}

/* Until the broker is one of those whose death does not count. */
static void live_on(struct scene *scene)
{
    cr_assert(sup_until(no_tries, scene, 60000));
}

/* Whatever it is that ends them: it does not do so for ever. */
Test(broker_restart, what_ends_every_broker_that_takes_it_over_is_given_up)
{
    struct scene scene = open_scene(ROOM, NULL);
    load_all(&scene);
    for (int i = 0; i < 8; i++) {
        managed_crash(&scene.managed);
        cr_assert_eq(sup_stat(&scene.managed.broker, "adopted_sessions"), 1);
        live_on(&scene); /* deaths such as these do not add up */
    }
    managed_kill(&scene.managed);
    set_tries(&scene, LEDGER_TRIES_MAX);
    starts_empty(&scene);
}

/* So long that after a stop in good order its hashing outlasts half a second by far: a MiB is
 * hashed every two milliseconds then, no faster. */
static struct scene open_large_scene(void)
{
    struct scene scene;
    const char *catalog = models();
    (void)sup_synth(catalog, "tiny",
                    SUP_ARGS("--layers", "9", "--hidden", "1024", "--heads", "16", "--intermediate",
                             "4096", "--vocab-size", "1000"));
    scene.managed = managed_start(catalog, "512", ROOM, false, SUP_ARGS("--max-pinned", "512"));
    scene.raw = raw_attach(&scene.managed.broker, "tester");
    scene.model = raw_open(&scene.raw, "tiny");
    return scene;
}

Test(broker_restart, a_broker_is_counted_until_it_has_hashed_all_that_it_took_over)
{
    struct scene scene = open_large_scene();
    load_all(&scene);
    managed_restart(&scene.managed);
    for (;;) {
        uint32_t counted = count_tries(&scene); /* before it is known that some was left to hash */
        if (sup_stat(&scene.managed.broker, "unverified") == 0)
            break;
        cr_assert_eq(counted, 1, "the try is forgotten, although it may end it still");
    }
    live_on(&scene);
    close_scene(&scene);
}

Test(broker_restart, an_index_whose_chunks_overlap_is_dropped)
{
    struct scene scene = open_scene(ROOM, NULL);
    load_all(&scene);
    cr_assert_eq(managed_stop(&scene.managed), 0);
    struct swi_entry_value other = swi_entry_get(scene.raw.index, scene.model.ids[2]);
    overwrite(&scene, "sw-index",
              offsetof(struct swi_index, entry) + scene.model.ids[1] * sizeof(struct swi_entry) +
                  offsetof(struct swi_entry, offset),
              &other.offset, sizeof other.offset);
    starts_empty(&scene);
}

Test(broker_restart, another_arena_is_dropped)
{
    struct scene scene = open_scene(ROOM, NULL);
    load_all(&scene);
    cr_assert_eq(managed_stop(&scene.managed), 0);
    int fds[8];
    cr_assert_eq(managed_take(&scene.managed, "sw-arena", fds), 1);
    cr_assert_eq(ftruncate(fds[0], 8 << 20), 0);
    close(fds[0]);
    starts_empty(&scene);
}

Test(broker_restart, a_missing_ledger_or_a_second_one_is_noticed)
{
    struct scene scene = open_scene(ROOM, NULL);
    load_all(&scene);
    cr_assert_eq(managed_stop(&scene.managed), 0);
    cr_assert_str_eq(managed_tell(&scene.managed, "drop sw-ledger"), "1");
    starts_empty(&scene);
    scene = open_scene(ROOM, NULL);
    load_all(&scene);
    cr_assert_eq(managed_stop(&scene.managed), 0);
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    managed_put(&scene.managed, "sw-index", ends[0]);
    starts_empty(&scene);
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
Test(broker_restart, bits_that_flip_cost_what_they_are_in)
{
    struct scene scene = open_scene(ROOM, NULL);
    for (int i = 0; i < FLIPS; i++) {
        load_all(&scene);
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
    close_scene(&scene);
}

/* ---- deaths on the way ------------------------------------------------------------------------
 */

#define DEATHS 24

/* Brokers that die while they take it over, at any moment of it, cost nobody anything. */
Test(broker_restart, deaths_while_taking_over_cost_nobody_a_lease)
{
    struct scene scene = open_scene(ROOM, NULL);
    load_all(&scene);
    (void)raw_pin(&scene.raw, &scene.model, 1);
    struct swi_sight held;
    cr_assert_eq(look(&scene, 1, &held), SWI_LOOK_RESIDENT);
    for (int i = 0; i < DEATHS; i++) {
        if (i % 3 == 0)
            cr_assert_eq(managed_stop(&scene.managed), 0);
        else
            managed_kill(&scene.managed);
        for (uint32_t k = 1 + roll(LEDGER_TRIES_MAX - 2); k > 0; k--)
            (void)managed_tell(&scene.managed, "doomed %u", 1 + roll(40));
        managed_begin(&scene.managed);
        cr_assert_eq(sup_stat(&scene.managed.broker, "adopted_sessions"), 1);
        cr_assert(still_valid(&scene, 1, held.generation));
        load_all(&scene);
        cr_assert_eq(sup_stat(&scene.managed.broker, "loads"), 0);
        live_on(&scene);
    }
    close_scene(&scene);
}

/* The same with messages in the socket: each is answered, or its sender told to begin anew. */
Test(broker_restart, deaths_with_messages_in_hand_leave_nobody_waiting)
{
    struct scene scene = open_scene(ROOM, NULL);
    for (int i = 0; i < DEATHS; i++) {
        uint32_t ordinal = roll(scene.model.opened.chunks);
        json_decref(sup_swctl(&scene.managed.broker, SUP_ARGS("clear")));
        managed_kill(&scene.managed);
        send_load(&scene, ordinal);
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
    close_scene(&scene);
}

/* ---- an arena that cannot be taken over, and is mapped still --------------------------------- */

static void private_dev_shm(const char *size)
{
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("tmpfs", "/dev/shm", "tmpfs", 0, sup_format("size=%s", size)) < 0)
        cr_skip_test("cannot mount a private /dev/shm here: %m");
}

static bool all_reserved(void *context)
{
    return sup_stat(context, "reserved_bytes") == sup_stat(context, "arena_bytes");
}

/* The workers of a broker of another version go on with its arena, until they have another one. */
static void starts_beside_the_old_arena(const char *dev_shm, int64_t at_first)
{
    private_dev_shm(dev_shm);
    struct scene scene = open_scene(ROOM, NULL);
    load_all(&scene);
    cr_assert_eq(managed_stop(&scene.managed), 0);
    uint32_t hash = SWI_LAYOUT_HASH + 1;
    overwrite(&scene, "sw-index", offsetof(struct swi_index_header, layout_hash), &hash,
              sizeof hash);
    managed_begin(&scene.managed);
    cr_assert_eq(sup_stat(&scene.managed.broker, "reserved_bytes"), at_first);
    const char *log = sup_read(scene.managed.broker.log, NULL);
    cr_assert_not_null(strstr(log, "Starting with"), "%s", log);
    struct raw next = raw_attach(&scene.managed.broker, "next");
    raw_close(&scene.raw); /* lets go of its mapping */
    cr_assert(sup_until(all_reserved, &scene.managed.broker, 20000), "%s", log);
    scene.raw = next;
    scene.model = raw_open(&scene.raw, "tiny");
    load_all(&scene);
    for (uint32_t i = 0; i < scene.model.opened.chunks; i++)
        (void)raw_pin(&scene.raw, &scene.model, i);
    close_scene(&scene);
}

Test(broker_restart, beside_an_arena_that_is_mapped_still_it_starts_smaller)
{
    starts_beside_the_old_arena("40M", 8 << 20);
}

Test(broker_restart, with_no_memory_at_all_it_starts_and_waits)
{
    starts_beside_the_old_arena("32M", 0);
}

/* The same without a manager that keeps anything: the old mappings are all that is left. */
Test(broker_restart, after_a_crash_without_a_store_it_starts_smaller)
{
    private_dev_shm("40M");
    struct scene scene = open_scene(0, NULL);
    load_all(&scene);
    managed_crash(&scene.managed);
    cr_assert_eq(sup_stat(&scene.managed.broker, "reserved_bytes"), 8 << 20);
    raw_close(&scene.raw);
    cr_assert(sup_until(all_reserved, &scene.managed.broker, 20000));
    managed_end(&scene.managed);
}

Test(broker_restart, a_manager_that_forgets_slowly_keeps_nobody_waiting)
{
    struct scene scene = open_scene(ROOM, NULL);
    load_all(&scene);
    cr_assert_eq(managed_stop(&scene.managed), 0);
    uint32_t hash = SWI_LAYOUT_HASH + 1;
    overwrite(&scene, "sw-index", offsetof(struct swi_index_header, layout_hash), &hash,
              sizeof hash);
    (void)managed_tell(&scene.managed, "slow 5000");
    managed_begin(&scene.managed);
    cr_assert_not_null(strstr(sup_read(scene.managed.broker.log, NULL), "has not let go"));
    raw_close(&scene.raw);
    scene.raw = raw_attach(&scene.managed.broker, "again");
    close_scene(&scene);
}

/* Its session is not taken over: its client is told, its pins do not count, the arena stays. */
static void loses_the_session(struct scene *scene, uint64_t generation)
{
    managed_begin(&scene->managed);
    cr_assert_eq(sup_stat(&scene->managed.broker, "adopted_sessions"), 0);
    cr_assert_eq(sup_stat(&scene->managed.broker, "adopted_chunks"), scene->model.opened.chunks);
    cr_assert_eq(sup_stat(&scene->managed.broker, "clients"), 0);
    cr_assert_not(still_valid(scene, 1, generation), "its leases must be void");
    raw_expect_hangup(&scene->raw);
    raw_close(&scene->raw);
    cr_assert(sup_until(nobody_is_stored, &scene->managed, 10000));
    scene->raw = raw_attach(&scene->managed.broker, "again");
    scene->model = raw_open(&scene->raw, "tiny");
    load_all(scene);
    cr_assert_eq(sup_stat(&scene->managed.broker, "loads"), 0);
    close_scene(scene);
}

static uint64_t hold_and_stop(struct scene *scene)
{
    *scene = open_scene(ROOM, NULL);
    load_all(scene);
    (void)raw_pin(&scene->raw, &scene->model, 1);
    struct swi_sight held;
    cr_assert_eq(look(scene, 1, &held), SWI_LOOK_RESIDENT);
    cr_assert_eq(managed_stop(&scene->managed), 0);
    return held.generation;
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

Test(broker_restart, a_session_without_its_page_is_dropped)
{
    struct scene scene;
    uint64_t generation = hold_and_stop(&scene);
    keep_only(&scene, true);
    loses_the_session(&scene, generation);
}

Test(broker_restart, a_session_without_its_socket_is_dropped)
{
    struct scene scene;
    uint64_t generation = hold_and_stop(&scene);
    keep_only(&scene, false);
    loses_the_session(&scene, generation);
}

Test(broker_restart, a_session_with_another_page_is_dropped)
{
    struct scene scene;
    uint64_t generation = hold_and_stop(&scene);
    const char *name = managed_name(&scene.managed, "sw-session-");
    keep_only(&scene, true);
    int fds[8];
    cr_assert_eq(managed_take(&scene.managed, "sw-ledger", fds), 1);
    managed_put(&scene.managed, name, fds[0]);
    close(fds[0]);
    loses_the_session(&scene, generation);
}

Test(broker_restart, a_session_whose_page_is_garbage_is_dropped)
{
    struct scene scene;
    uint64_t generation = hold_and_stop(&scene);
    memset(scene.raw.page, 0x5a, sizeof *scene.raw.page);
    loses_the_session(&scene, generation);
}

static void overwrite_record(struct scene *scene, size_t offset, const void *data, size_t size)
{
    overwrite(scene, "sw-ledger",
              offsetof(struct ledger, session) +
                  scene->raw.welcome.session * sizeof(struct ledger_session) + offset,
              data, size);
}

static void set_in_hand(struct scene *scene, uint32_t tries)
{
    overwrite_record(scene, offsetof(struct ledger_session, in_hand), &tries, sizeof tries);
}

Test(broker_restart, a_message_that_ended_two_brokers_is_not_tried_again)
{
    struct scene scene;
    uint64_t generation = hold_and_stop(&scene);
    set_in_hand(&scene, 1);
    managed_begin(&scene.managed);
    cr_assert_eq(sup_stat(&scene.managed.broker, "adopted_sessions"), 1);
    cr_assert(still_valid(&scene, 1, generation));
    cr_assert_eq(managed_stop(&scene.managed), 0);
    set_in_hand(&scene, 2);
    loses_the_session(&scene, generation);
}

/* Its broker died after it had made a handle and before the message was off the socket. */
Test(broker_restart, a_model_that_was_being_opened_has_one_handle)
{
    struct scene scene = open_scene(ROOM, NULL);
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
    close_scene(&scene);
}

Test(broker_restart, who_was_answered_everything_is_not_dropped)
{
    struct scene scene = open_scene(ROOM, NULL);
    json_t *reply = raw_control(&scene.raw, "{\"verb\":\"verify\",\"model\":\"tiny\"}");
    cr_assert(json_is_true(json_object_get(reply, "ok")));
    json_decref(reply);
    json_decref(sup_swctl(&scene.managed.broker, SUP_ARGS("clear")));
    reply = raw_control(&scene.raw, "{\"verb\":\"warm\",\"model\":\"tiny\"}");
    cr_assert(json_is_true(json_object_get(reply, "ok")));
    json_decref(reply);
    managed_restart(&scene.managed);
    cr_assert_eq(sup_stat(&scene.managed.broker, "adopted_sessions"), 1);
    load_all(&scene);
    close_scene(&scene);
}

Test(broker_restart, wild_pins_of_a_stored_page_do_no_harm)
{
    struct scene scene;
    uint64_t generation = hold_and_stop(&scene);
    memset(scene.raw.page->slot + 8, 0x5a,
           sizeof scene.raw.page->slot - 8 * sizeof(struct swi_slot));
    memset((void *)(uintptr_t)scene.raw.page->cursor, 0x5a, sizeof scene.raw.page->cursor);
    managed_begin(&scene.managed);
    cr_assert_eq(sup_stat(&scene.managed.broker, "adopted_sessions"), 1);
    cr_assert(still_valid(&scene, 1, generation));
    close_scene(&scene);
}

Test(broker_restart, the_store_limits_sessions)
{
    struct scene scene = open_scene(4 + 2, NULL);
    struct raw second = raw_connect(&scene.managed.broker);
    struct swi_wire_hello hello = {.layout_version = SWI_LAYOUT_VERSION,
                                   .layout_hash = SWI_LAYOUT_HASH};
    cr_assert(raw_send(&second, SWI_WIRE_HELLO, &hello, sizeof hello, NULL, 0));
    const char *text;
    cr_assert_eq(raw_done(&second, &text), SW_EQUOTA);
    cr_assert_not_null(strstr(text, "FileDescriptorStoreMax"), "%s", text);
    raw_close(&second);
    raw_close(&scene.raw);
    cr_assert(sup_until(nobody_is_stored, &scene.managed, 10000));
    scene.raw = raw_attach(&scene.managed.broker, "next");
    close_scene(&scene);
}

Test(broker_restart, a_manager_that_does_not_listen_keeps_nobody_waiting)
{
    struct scene scene = open_scene(ROOM, NULL);
    (void)managed_tell(&scene.managed, "deaf 1");
    struct raw second = raw_connect(&scene.managed.broker);
    struct swi_wire_hello hello = {.layout_version = SWI_LAYOUT_VERSION,
                                   .layout_hash = SWI_LAYOUT_HASH};
    cr_assert(raw_send(&second, SWI_WIRE_HELLO, &hello, sizeof hello, NULL, 0));
    load_all(&scene); /* the others are served meanwhile */
    cr_assert_eq(raw_done(&second, NULL), -ETIMEDOUT);
    raw_close(&second);
    (void)managed_tell(&scene.managed, "deaf 0");
    second = raw_attach(&scene.managed.broker, "third");
    raw_close(&second);
    close_scene(&scene);
}

Test(broker_restart, a_replaced_model_is_stale_for_who_had_it)
{
    struct scene scene = open_scene(ROOM, NULL);
    load_all(&scene);
    uint32_t slot = raw_pin(&scene.raw, &scene.model, 1);
    struct swi_sight held;
    cr_assert_eq(look(&scene, 1, &held), SWI_LOOK_RESIDENT);
    cr_assert_eq(managed_stop(&scene.managed), 0);
    sup_remove_tree(sup_path("models/tiny"));
    (void)sup_synth(models(), "tiny", SUP_ARGS("--layers", "4", "--seed", "77"));
    managed_begin(&scene.managed);
    cr_assert_eq(sup_stat(&scene.managed.broker, "adopted_sessions"), 1);
    cr_assert(still_valid(&scene, 1, held.generation), "what is held stays");
    struct swi_sight sight;
    cr_assert_eq(look(&scene, 2, &sight), SWI_LOOK_STALE);
    cr_assert_eq(raw_load(&scene.raw, &scene.model, 2, NULL), SW_ESTALE);
    swi_pin_drop(scene.raw.page, slot);
    struct raw_model now = raw_open(&scene.raw, "tiny");
    cr_assert_neq(now.opened.model, scene.model.opened.model, "the handle is taken still");
    for (uint32_t i = 0; i < now.opened.chunks; i++)
        swi_pin_drop(scene.raw.page, raw_pin(&scene.raw, &now, i));
    struct swi_wire_close close_it = {.model = scene.model.opened.model};
    cr_assert(raw_send(&scene.raw, SWI_WIRE_CLOSE, &close_it, sizeof close_it, NULL, 0));
    cr_assert_eq(raw_load(&scene.raw, &now, 0, NULL), 0);
    managed_restart(&scene.managed);
    cr_assert_eq(raw_open(&scene.raw, "tiny").opened.model, scene.model.opened.model,
                 "a handle that was closed is free in the next life too");
    close_scene(&scene);
}

Test(broker_restart, sizes_may_change_with_it)
{
    const char *catalog = models();
    (void)sup_synth(catalog, "tiny", SUP_ARGS("--layers", "4"));
    struct scene scene = {.managed = managed_start(catalog, CACHE, ROOM, false, NULL)};
    scene.raw = raw_attach(&scene.managed.broker, "tester");
    scene.model = raw_open(&scene.raw, "tiny");
    json_decref(sup_swctl(&scene.managed.broker, SUP_ARGS("resize", "8")));
    load_all(&scene);
    managed_restart(&scene.managed); /* back to 32 */
    cr_assert_eq(sup_stat(&scene.managed.broker, "arena_bytes"), 32 << 20);
    load_all(&scene);
    managed_restart(&scene.managed);
    cr_assert_eq(sup_stat(&scene.managed.broker, "chunks_resident"), scene.model.opened.chunks);
    close_scene(&scene);
}

/* The unit's FDSTORE= was taken out, but the manager still has what an earlier broker gave it. */
Test(broker_restart, a_broker_that_keeps_nothing_frees_what_was_kept)
{
    struct scene scene = open_scene(ROOM, NULL);
    load_all(&scene);
    cr_assert_eq(managed_stop(&scene.managed), 0);
    (void)managed_tell(&scene.managed, "max 0");
    managed_begin(&scene.managed);
    cr_assert_eq(sup_stat(&scene.managed.broker, "chunks_resident"), 0);
    raw_expect_hangup(&scene.raw);
    raw_close(&scene.raw);
    cr_assert_eq(managed_count(&scene.managed, "sw-"), 0);
    scene.raw = raw_attach(&scene.managed.broker, "again");
    scene.model = raw_open(&scene.raw, "tiny");
    load_all(&scene);
    close_scene(&scene);
}

static void link_program(const char *name)
{
    const char *path = sup_path("program");
    (void)unlink(path);
    cr_assert_eq(symlink(sup_format("%s/%s", SW_BUILD_DIR, name), path), 0, "symlink: %m");
}

/* swbrokerd with more on its command line, in the place of link_program's. */
static void add_arguments(const char *arguments)
{
    const char *path = sup_path("program");
    const char *text =
        sup_format("#!/bin/sh\nexec '%s/swbrokerd' \"$@\" %s\n", SW_BUILD_DIR, arguments);
    (void)unlink(path);
    sup_write_text(path, text);
    cr_assert_eq(chmod(path, 0700), 0);
}

/* For this process and all that it starts. */
static void forbid_io_uring(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog forbidding = {.len = sizeof filter / sizeof filter[0], .filter = filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &forbidding) != 0)
        cr_skip_test("seccomp is not available here: %m");
    (void)unsetenv("SW_TEST_IO_ENGINE");
}

/* A start that fails of what it is told to do, and not of what it takes over. */
static void fails_to_start(struct scene *scene, const char *arguments, const char *why)
{
    add_arguments(arguments);
    (void)managed_tell(&scene->managed, "doomed 4000");
    const char *log = sup_read(scene->managed.broker.log, NULL);
    cr_assert_not_null(strstr(log, why), "%s", log);
    cr_assert_null(strstr(log, "starting empty"), "%s", log);
    cr_assert(sup_exists(scene->managed.broker.socket), "nobody can wait for the next one");
    link_program("swbrokerd");
}

/* The next one has everything, as if there had been no other in between. */
static void goes_on(struct scene *scene, uint64_t generation)
{
    struct swi_sight sight;
    managed_begin(&scene->managed);
    cr_assert_eq(look(scene, 2, &sight), SWI_LOOK_RESIDENT, "a hit goes on at once");
    cr_assert(still_valid(scene, 1, generation));
    cr_assert_eq(sup_stat(&scene->managed.broker, "adopted_sessions"), 1);
    cr_assert_eq(sup_stat(&scene->managed.broker, "adopted_chunks"), scene->model.opened.chunks);
    const char *log = sup_read(scene->managed.broker.log, NULL);
    cr_assert_null(strstr(log, "was killed"), "%s", log);
    load_all(scene);
    cr_assert_eq(sup_stat(&scene->managed.broker, "loads"), 0);
    close_scene(scene);
}

/* More than a catalog has room for: each is a model that cannot be served. */
static void fill_catalog(bool fill)
{
    for (int i = 0; i < 4100; i++) {
        const char *path = sup_path("models/link-%d", i);
        cr_assert_eq(fill ? symlink("/", path) : unlink(path), 0, "%s: %m", path);
    }
}

Test(broker_restart, a_start_that_fails_before_it_resumes_leaves_a_clean_end_clean)
{
    struct scene scene;
    managed_program(sup_path("program"));
    link_program("swbrokerd");
    uint64_t generation = hold_and_stop(&scene);
    fill_catalog(true);
    fails_to_start(&scene, "", "models at most");
    fill_catalog(false);
    goes_on(&scene, generation);
}

Test(broker_restart, a_start_that_cannot_have_its_loader_leaves_the_arena_alone)
{
    struct scene scene;
    forbid_io_uring();
    link_program("swbrokerd");
    managed_program(sup_path("program"));
    uint64_t generation = hold_and_stop(&scene);
    fails_to_start(&scene, "--io-engine uring", "--io-engine threads");
    cr_assert_eq(count_tries(&scene), 1);
    fails_to_start(&scene, "--io-engine uring", "--io-engine threads");
    cr_assert_eq(count_tries(&scene), 2);
    goes_on(&scene, generation);
}

static size_t count_hits(const char *trace)
{
    const char *text = sup_read(trace, NULL);
    size_t count = 0;
    for (const char *line = text; (line = strstr(line, "\nhit ")); line++)
        count++;
    cr_assert_not_null(strstr(text, "\nend "), "%s does not end", trace);
    return count;
}

Test(broker_restart, a_trace_begins_where_its_broker_does)
{
    const char *first = sup_path("first.trace"), *second = sup_path("second.trace");
    managed_program(sup_path("program"));
    add_arguments(sup_format("--trace '%s'", first));
    struct scene scene = open_scene(ROOM, NULL);
    uint32_t slot = raw_pin(&scene.raw, &scene.model, 1);
    for (int i = 0; i < 7; i++)
        swi_page_note_hit(scene.raw.page, scene.raw.index, slot, scene.model.ids[1]);
    sup_sleep_ms(300); /* it looks every few milliseconds */
    let_finish(&scene);
    add_arguments(sup_format("--trace '%s'", second));
    managed_restart(&scene.managed);
    cr_assert_eq(sup_stat(&scene.managed.broker, "adopted_sessions"), 1);
    sup_sleep_ms(300);
    let_finish(&scene);
    cr_assert_eq(managed_stop(&scene.managed), 0);
    cr_assert_eq(count_hits(first), 7);
    cr_assert_eq(count_hits(second), 0);
    close_scene(&scene);
}

/* As many as there are, of which it may have one. */
Test(broker_restart, more_sessions_than_it_may_have_leave_room_for_the_operator)
{
    struct raw others[39];
    const size_t count = sizeof others / sizeof others[0];
    managed_program(sup_path("program"));
    add_arguments("");
    struct scene scene = open_scene((unsigned)(4 + 2 * (count + 1)), NULL);
    for (size_t i = 0; i < count; i++)
        others[i] = raw_attach(&scene.managed.broker, "other");
    let_finish(&scene);
    add_arguments("--max-sessions 1");
    managed_restart(&scene.managed);
    cr_assert_eq(sup_stat(&scene.managed.broker, "adopted_sessions"), (int64_t)count + 1);
    cr_assert_eq(sup_run(SUP_ARGS("swctl", "ping")).exit_code, 0);
    load_all(&scene);
    for (size_t i = 0; i < count; i++)
        raw_close(&others[i]);
    close_scene(&scene);
}

static gid_t group_of(const char *path)
{
    struct stat status;
    cr_assert_eq(stat(path, &status), 0, "%s: %m", path);
    return status.st_gid;
}

Test(broker_restart, a_group_that_may_use_the_socket_no_more_loses_it)
{
    if (geteuid() != 0)
        cr_skip_test("needs root to give files to any group\n");
    managed_program(sup_path("program"));
    add_arguments("--socket-group 1 --socket-mode 0660");
    struct scene scene = open_scene(ROOM, NULL);
    cr_assert_eq(group_of(scene.managed.broker.socket), 1);
    managed_restart(&scene.managed);
    cr_assert_eq(group_of(scene.managed.broker.socket), 1);
    add_arguments("--socket-mode 0660");
    managed_restart(&scene.managed);
    cr_assert_eq(group_of(scene.managed.broker.socket), getegid());
    cr_assert_eq(sup_stat(&scene.managed.broker, "adopted_sessions"), 1);
    load_all(&scene);
    close_scene(&scene);
}

Test(broker_restart, an_arena_that_no_start_can_have_is_given_up)
{
    struct scene scene;
    forbid_io_uring();
    link_program("swbrokerd");
    managed_program(sup_path("program"));
    (void)hold_and_stop(&scene);
    set_tries(&scene, LEDGER_TRIES_MAX - 1);
    fails_to_start(&scene, "--io-engine uring", "--io-engine threads");
    cr_assert_eq(count_tries(&scene), LEDGER_TRIES_MAX);
    starts_empty(&scene);
}

/* The same manager, and a broker that cannot give it anything: it serves, says so, and lets go of
 * what one that could has left. */
Test(broker_restart, a_build_without_libsystemd_serves_and_keeps_nothing)
{
    link_program("sw-brokerd-plain");
    managed_program(sup_path("program"));
    struct scene scene = open_scene(ROOM, NULL);
    cr_assert_not_null(strstr(sup_read(scene.managed.broker.log, NULL), "without libsystemd"));
    load_all(&scene);
    cr_assert_eq(managed_stop(&scene.managed), 0);
    raw_close(&scene.raw);
    cr_assert_eq(managed_count(&scene.managed, "sw-"), 0);
    link_program("swbrokerd");
    managed_begin(&scene.managed);
    scene.raw = raw_attach(&scene.managed.broker, "kept");
    scene.model = raw_open(&scene.raw, "tiny");
    load_all(&scene);
    cr_assert_eq(managed_stop(&scene.managed), 0);
    cr_assert_gt(managed_count(&scene.managed, "sw-"), 4);
    link_program("sw-brokerd-plain");
    managed_begin(&scene.managed);
    raw_expect_hangup(&scene.raw);
    raw_close(&scene.raw);
    cr_assert_eq(managed_count(&scene.managed, "sw-"), 0);
    cr_assert_eq(sup_stat(&scene.managed.broker, "chunks_resident"), 0);
    scene.raw = raw_attach(&scene.managed.broker, "again");
    scene.model = raw_open(&scene.raw, "tiny");
    load_all(&scene);
    close_scene(&scene);
}

Test(broker_restart, a_build_without_libsystemd_is_activated_too)
{
    managed_program("sw-brokerd-plain");
    struct managed managed = managed_start(models(), "16", 0, true, NULL);
    cr_assert_eq(sup_stat(&managed.broker, "models"), 0);
    managed_restart(&managed);
    cr_assert_eq(sup_stat(&managed.broker, "models"), 0);
    managed_end(&managed);
}

Test(broker_restart, without_a_store_all_goes_with_the_broker)
{
    struct scene scene = open_scene(0, NULL);
    load_all(&scene);
    cr_assert_eq(managed_count(&scene.managed, "sw-"), 0);
    managed_restart(&scene.managed);
    cr_assert_eq(sup_stat(&scene.managed.broker, "chunks_resident"), 0);
    raw_expect_hangup(&scene.raw);
    close_scene(&scene);
}
