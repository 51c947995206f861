/* SPDX-License-Identifier: MIT */
/* How a successor starts: with memory that clients of the old arena hold, other settings, a start
 * that fails, more clients than it may have, and without a store or libsystemd. */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "restart/scene.h"

TestSuite(broker_restart_start, .timeout = 240);

/* ---- an arena that cannot be taken over, and is mapped still --------------------------------- */

static bool all_reserved(void *context)
{
    return sup_stat(context, "reserved_bytes") == sup_stat(context, "arena_bytes");
}

/* The workers of a broker of another version go on with its arena, until they have another one. */
static void starts_beside_the_old_arena(const char *dev_shm, int64_t at_first)
{
    sup_private_dev_shm(dev_shm);
    struct scene scene = scene_open(SCENE_ROOM, NULL);
    scene_load_all(&scene);
    cr_assert_eq(managed_stop(&scene.managed), 0);
    uint32_t hash = SWI_LAYOUT_HASH + 1;
    scene_overwrite(&scene, "sw-index", offsetof(struct swi_index_header, layout_hash), &hash,
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
    scene_load_all(&scene);
    for (uint32_t i = 0; i < scene.model.opened.chunks; i++)
        (void)raw_pin(&scene.raw, &scene.model, i);
    scene_close(&scene);
}

Test(broker_restart_start, beside_an_arena_that_is_mapped_still_it_starts_smaller)
{
    starts_beside_the_old_arena("40M", 8 << 20);
}

Test(broker_restart_start, with_no_memory_at_all_it_starts_and_waits)
{
    starts_beside_the_old_arena("32M", 0);
}

/* The same without a manager that keeps anything: the old mappings are all that is left. */
Test(broker_restart_start, after_a_crash_without_a_store_it_starts_smaller)
{
    sup_private_dev_shm("40M");
    struct scene scene = scene_open(0, NULL);
    scene_load_all(&scene);
    managed_crash(&scene.managed);
    cr_assert_eq(sup_stat(&scene.managed.broker, "reserved_bytes"), 8 << 20);
    raw_close(&scene.raw);
    cr_assert(sup_until(all_reserved, &scene.managed.broker, 20000));
    managed_end(&scene.managed);
}

Test(broker_restart_start, a_manager_that_forgets_slowly_keeps_nobody_waiting)
{
    struct scene scene = scene_open(SCENE_ROOM, NULL);
    scene_load_all(&scene);
    cr_assert_eq(managed_stop(&scene.managed), 0);
    uint32_t hash = SWI_LAYOUT_HASH + 1;
    scene_overwrite(&scene, "sw-index", offsetof(struct swi_index_header, layout_hash), &hash,
                    sizeof hash);
    (void)managed_tell(&scene.managed, "slow 5000");
    managed_begin(&scene.managed);
    cr_assert_not_null(strstr(sup_read(scene.managed.broker.log, NULL), "did not close"));
    raw_close(&scene.raw);
    scene.raw = raw_attach(&scene.managed.broker, "again");
    scene_close(&scene);
}

/* Its session is not taken over: its client is told, its pins do not count, the arena stays. */

Test(broker_restart_start, the_store_limits_sessions)
{
    struct scene scene = scene_open(4 + 2, NULL);
    struct raw second = raw_connect(&scene.managed.broker);
    struct swi_wire_hello hello = {.layout_version = SWI_LAYOUT_VERSION,
                                   .layout_hash = SWI_LAYOUT_HASH};
    cr_assert(raw_send(&second, SWI_WIRE_HELLO, &hello, sizeof hello, NULL, 0));
    const char *text;
    cr_assert_eq(raw_done(&second, &text), SW_EQUOTA);
    cr_assert_not_null(strstr(text, "FileDescriptorStoreMax"), "%s", text);
    raw_close(&second);
    raw_close(&scene.raw);
    cr_assert(sup_until(scene_nobody_is_stored, &scene.managed, 10000));
    scene.raw = raw_attach(&scene.managed.broker, "next");
    scene_close(&scene);
}

Test(broker_restart_start, a_manager_that_does_not_listen_keeps_nobody_waiting)
{
    struct scene scene = scene_open(SCENE_ROOM, NULL);
    (void)managed_tell(&scene.managed, "deaf 1");
    struct raw second = raw_connect(&scene.managed.broker);
    struct swi_wire_hello hello = {.layout_version = SWI_LAYOUT_VERSION,
                                   .layout_hash = SWI_LAYOUT_HASH};
    cr_assert(raw_send(&second, SWI_WIRE_HELLO, &hello, sizeof hello, NULL, 0));
    scene_load_all(&scene); /* the others are served meanwhile */
    cr_assert_eq(raw_done(&second, NULL), -ETIMEDOUT);
    raw_close(&second);
    (void)managed_tell(&scene.managed, "deaf 0");
    second = raw_attach(&scene.managed.broker, "third");
    raw_close(&second);
    scene_close(&scene);
}

Test(broker_restart_start, a_replaced_model_is_stale_for_who_had_it)
{
    struct scene scene = scene_open(SCENE_ROOM, NULL);
    scene_load_all(&scene);
    uint32_t slot = raw_pin(&scene.raw, &scene.model, 1);
    struct swi_sight held;
    cr_assert_eq(scene_look(&scene, 1, &held), SWI_LOOK_RESIDENT);
    cr_assert_eq(managed_stop(&scene.managed), 0);
    sup_remove_tree(sup_path("models/tiny"));
    (void)sup_synth(scene_models(), "tiny", SUP_ARGS("--layers", "4", "--seed", "77"));
    managed_begin(&scene.managed);
    cr_assert_eq(sup_stat(&scene.managed.broker, "adopted_sessions"), 1);
    cr_assert(scene_still_valid(&scene, 1, held.generation), "what is held stays");
    struct swi_sight sight;
    cr_assert_eq(scene_look(&scene, 2, &sight), SWI_LOOK_STALE);
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
    scene_close(&scene);
}

Test(broker_restart_start, sizes_may_change_with_it)
{
    const char *catalog = scene_models();
    (void)sup_synth(catalog, "tiny", SUP_ARGS("--layers", "4"));
    struct scene scene = {.managed = managed_start(catalog, SCENE_CACHE, SCENE_ROOM, false, NULL)};
    scene.raw = raw_attach(&scene.managed.broker, "tester");
    scene.model = raw_open(&scene.raw, "tiny");
    json_decref(sup_swctl(&scene.managed.broker, SUP_ARGS("resize", "8")));
    scene_load_all(&scene);
    managed_restart(&scene.managed); /* back to 32 */
    cr_assert_eq(sup_stat(&scene.managed.broker, "arena_bytes"), 32 << 20);
    scene_load_all(&scene);
    managed_restart(&scene.managed);
    cr_assert_eq(sup_stat(&scene.managed.broker, "chunks_resident"), scene.model.opened.chunks);
    scene_close(&scene);
}

/* The unit's FDSTORE= was taken out, but the manager still has what an earlier broker gave it. */
Test(broker_restart_start, a_broker_that_keeps_nothing_frees_what_was_kept)
{
    struct scene scene = scene_open(SCENE_ROOM, NULL);
    scene_load_all(&scene);
    cr_assert_eq(managed_stop(&scene.managed), 0);
    (void)managed_tell(&scene.managed, "max 0");
    managed_begin(&scene.managed);
    cr_assert_eq(sup_stat(&scene.managed.broker, "chunks_resident"), 0);
    raw_expect_hangup(&scene.raw);
    raw_close(&scene.raw);
    cr_assert_eq(managed_count(&scene.managed, "sw-"), 0);
    scene.raw = raw_attach(&scene.managed.broker, "again");
    scene.model = raw_open(&scene.raw, "tiny");
    scene_load_all(&scene);
    scene_close(&scene);
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
    cr_assert_eq(scene_look(scene, 2, &sight), SWI_LOOK_RESIDENT, "a hit goes on at once");
    cr_assert(scene_still_valid(scene, 1, generation));
    cr_assert_eq(sup_stat(&scene->managed.broker, "adopted_sessions"), 1);
    cr_assert_eq(sup_stat(&scene->managed.broker, "adopted_chunks"), scene->model.opened.chunks);
    const char *log = sup_read(scene->managed.broker.log, NULL);
    cr_assert_null(strstr(log, "was killed"), "%s", log);
    scene_load_all(scene);
    cr_assert_eq(sup_stat(&scene->managed.broker, "loads"), 0);
    scene_close(scene);
}

/* More than a catalog has room for: each is a model that cannot be served. */
static void fill_catalog(bool fill)
{
    for (int i = 0; i < 4100; i++) {
        const char *path = sup_path("models/link-%d", i);
        cr_assert_eq(fill ? symlink("/", path) : unlink(path), 0, "%s: %m", path);
    }
}

Test(broker_restart_start, a_start_that_fails_before_it_resumes_leaves_a_clean_end_clean)
{
    struct scene scene;
    managed_program(sup_path("program"));
    link_program("swbrokerd");
    uint64_t generation = scene_hold_and_stop(&scene);
    fill_catalog(true);
    fails_to_start(&scene, "", "more models than the 4096");
    fill_catalog(false);
    goes_on(&scene, generation);
}

Test(broker_restart_start, a_start_that_cannot_have_its_loader_leaves_the_arena_alone)
{
    struct scene scene;
    forbid_io_uring();
    link_program("swbrokerd");
    managed_program(sup_path("program"));
    uint64_t generation = scene_hold_and_stop(&scene);
    fails_to_start(&scene, "--io-engine uring", "--io-engine threads");
    cr_assert_eq(scene_count_tries(&scene), 1);
    fails_to_start(&scene, "--io-engine uring", "--io-engine threads");
    cr_assert_eq(scene_count_tries(&scene), 2);
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

Test(broker_restart_start, a_trace_begins_where_its_broker_does)
{
    const char *first = sup_path("first.trace"), *second = sup_path("second.trace");
    managed_program(sup_path("program"));
    add_arguments(sup_format("--trace '%s'", first));
    struct scene scene = scene_open(SCENE_ROOM, NULL);
    uint32_t slot = raw_pin(&scene.raw, &scene.model, 1);
    for (int i = 0; i < 7; i++)
        swi_page_note_hit(scene.raw.page, scene.raw.index, slot, scene.model.ids[1]);
    sup_sleep_ms(300); /* it looks every few milliseconds */
    scene_let_finish(&scene);
    add_arguments(sup_format("--trace '%s'", second));
    managed_restart(&scene.managed);
    cr_assert_eq(sup_stat(&scene.managed.broker, "adopted_sessions"), 1);
    sup_sleep_ms(300);
    scene_let_finish(&scene);
    cr_assert_eq(managed_stop(&scene.managed), 0);
    cr_assert_eq(count_hits(first), 7);
    cr_assert_eq(count_hits(second), 0);
    scene_close(&scene);
}

/* As many as there are, of which it may have one. */
Test(broker_restart_start, more_sessions_than_it_may_have_leave_room_for_the_operator)
{
    struct raw others[39];
    const size_t count = sizeof others / sizeof others[0];
    managed_program(sup_path("program"));
    add_arguments("");
    struct scene scene = scene_open((unsigned)(4 + 2 * (count + 1)), NULL);
    for (size_t i = 0; i < count; i++)
        others[i] = raw_attach(&scene.managed.broker, "other");
    scene_let_finish(&scene);
    add_arguments("--max-sessions 1");
    managed_restart(&scene.managed);
    cr_assert_eq(sup_stat(&scene.managed.broker, "adopted_sessions"), (int64_t)count + 1);
    cr_assert_eq(sup_run(SUP_ARGS("swctl", "ping")).exit_code, 0);
    scene_load_all(&scene);
    for (size_t i = 0; i < count; i++)
        raw_close(&others[i]);
    scene_close(&scene);
}

static gid_t group_of(const char *path)
{
    struct stat status;
    cr_assert_eq(stat(path, &status), 0, "%s: %m", path);
    return status.st_gid;
}

Test(broker_restart_start, a_group_that_may_use_the_socket_no_more_loses_it)
{
    if (geteuid() != 0)
        cr_skip_test("needs root to give files to any group\n");
    managed_program(sup_path("program"));
    add_arguments("--socket-group 1 --socket-mode 0660");
    struct scene scene = scene_open(SCENE_ROOM, NULL);
    cr_assert_eq(group_of(scene.managed.broker.socket), 1);
    managed_restart(&scene.managed);
    cr_assert_eq(group_of(scene.managed.broker.socket), 1);
    add_arguments("--socket-mode 0660");
    managed_restart(&scene.managed);
    cr_assert_eq(group_of(scene.managed.broker.socket), getegid());
    cr_assert_eq(sup_stat(&scene.managed.broker, "adopted_sessions"), 1);
    scene_load_all(&scene);
    scene_close(&scene);
}

Test(broker_restart_start, an_arena_that_no_start_can_have_is_given_up)
{
    struct scene scene;
    forbid_io_uring();
    link_program("swbrokerd");
    managed_program(sup_path("program"));
    (void)scene_hold_and_stop(&scene);
    scene_set_tries(&scene, LEDGER_TRIES_MAX - 1);
    fails_to_start(&scene, "--io-engine uring", "--io-engine threads");
    cr_assert_eq(scene_count_tries(&scene), LEDGER_TRIES_MAX);
    scene_starts_empty(&scene);
}

/* The same manager, and a broker that cannot give it anything: it serves, says so, and lets go of
 * what one that could has left. */
Test(broker_restart_start, a_build_without_libsystemd_serves_and_keeps_nothing)
{
    link_program("sw-brokerd-plain");
    managed_program(sup_path("program"));
    struct scene scene = scene_open(SCENE_ROOM, NULL);
    cr_assert_not_null(strstr(sup_read(scene.managed.broker.log, NULL), "without libsystemd"));
    scene_load_all(&scene);
    cr_assert_eq(managed_stop(&scene.managed), 0);
    raw_close(&scene.raw);
    cr_assert_eq(managed_count(&scene.managed, "sw-"), 0);
    link_program("swbrokerd");
    managed_begin(&scene.managed);
    scene.raw = raw_attach(&scene.managed.broker, "kept");
    scene.model = raw_open(&scene.raw, "tiny");
    scene_load_all(&scene);
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
    scene_load_all(&scene);
    scene_close(&scene);
}

Test(broker_restart_start, a_build_without_libsystemd_is_activated_too)
{
    managed_program("sw-brokerd-plain");
    struct managed managed = managed_start(scene_models(), "16", 0, true, NULL);
    cr_assert_eq(sup_stat(&managed.broker, "models"), 0);
    managed_restart(&managed);
    cr_assert_eq(sup_stat(&managed.broker, "models"), 0);
    managed_end(&managed);
}

Test(broker_restart_start, without_a_store_all_goes_with_the_broker)
{
    struct scene scene = scene_open(0, NULL);
    scene_load_all(&scene);
    cr_assert_eq(managed_count(&scene.managed, "sw-"), 0);
    managed_restart(&scene.managed);
    cr_assert_eq(sup_stat(&scene.managed.broker, "chunks_resident"), 0);
    raw_expect_hangup(&scene.raw);
    scene_close(&scene);
}
