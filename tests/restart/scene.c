/* SPDX-License-Identifier: MIT */
/* A broker under a service manager, with a client and a model. */
#include "restart/scene.h"

#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

const char *scene_models(void)
{
    const char *path = sup_path("models");
    sup_mkdir(path);
    return path;
}

struct scene scene_open(unsigned max, const char *const extra[])
{
    struct scene scene;
    const char *catalog = scene_models();
    (void)sup_synth(catalog, "tiny", SUP_ARGS("--layers", "4", "--force"));
    scene.managed = managed_start(catalog, SCENE_CACHE, max, false, extra);
    scene.raw = raw_attach(&scene.managed.broker, "tester");
    scene.model = raw_open(&scene.raw, "tiny");
    return scene;
}

void scene_let_finish(const struct scene *scene)
{
    (void)sup_stat(&scene->managed.broker, "clients");
}

void scene_load_all(struct scene *scene)
{
    for (uint32_t i = 0; i < scene->model.opened.chunks; i++)
        cr_assert_eq(raw_load(&scene->raw, &scene->model, i, NULL), 0);
    scene_let_finish(scene);
}

enum swi_look scene_look(const struct scene *scene, uint32_t ordinal, struct swi_sight *ret)
{
    return swi_pin_look(scene->raw.index, scene->raw.welcome.session, scene->raw.welcome.epoch,
                        scene->model.ids[ordinal], scene->model.opened.incarnation, ret);
}

bool scene_still_valid(const struct scene *scene, uint32_t ordinal, uint64_t generation)
{
    return swi_pin_valid(scene->raw.index, scene->raw.welcome.session, scene->raw.welcome.epoch,
                         scene->model.ids[ordinal], generation);
}

void scene_send_load(struct scene *scene, uint32_t ordinal)
{
    const struct swi_wire_load load = {.incarnation = scene->model.opened.incarnation,
                                       .model = scene->model.opened.model,
                                       .chunk = scene->model.ids[ordinal]};
    cr_assert(raw_send(&scene->raw, SWI_WIRE_LOAD, &load, sizeof load, NULL, 0));
}

void scene_close(struct scene *scene)
{
    raw_close(&scene->raw);
    managed_end(&scene->managed);
}

bool scene_nobody_is_stored(void *context)
{
    return managed_count(context, "sw-session-") == 0;
}

void scene_starts_empty(struct scene *scene)
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
    scene_load_all(scene);
    managed_restart(&scene->managed);
    cr_assert_eq(sup_stat(&scene->managed.broker, "adopted_sessions"), 1);
    scene_load_all(scene);
    cr_assert_eq(sup_stat(&scene->managed.broker, "loads"), 0);
    scene_close(scene);
}

void scene_overwrite(struct scene *scene, const char *name, size_t offset, const void *data,
                     size_t size)
{
    int fds[8];
    cr_assert_eq(managed_take(&scene->managed, name, fds), 1);
    cr_assert_eq(pwrite(fds[0], data, size, (off_t)offset), (ssize_t)size, "pwrite: %m");
    close(fds[0]);
}

uint32_t scene_count_tries(struct scene *scene)
{
    struct ledger_header header;
    int fds[8];
    cr_assert_eq(managed_take(&scene->managed, "sw-ledger", fds), 1);
    cr_assert_eq(pread(fds[0], &header, sizeof header, LEDGER_AT(header)), (ssize_t)sizeof header);
    close(fds[0]);
    return header.clean / LEDGER_TRY;
}

void scene_set_tries(struct scene *scene, uint32_t count)
{
    uint32_t clean = count * LEDGER_TRY;
    scene_overwrite(scene, "sw-ledger", LEDGER_AT(header) + offsetof(struct ledger_header, clean),
                    &clean, sizeof clean);
}

uint64_t scene_hold_and_stop(struct scene *scene)
{
    *scene = scene_open(SCENE_ROOM, NULL);
    scene_load_all(scene);
    (void)raw_pin(&scene->raw, &scene->model, 1);
    struct swi_sight held;
    cr_assert_eq(scene_look(scene, 1, &held), SWI_LOOK_RESIDENT);
    cr_assert_eq(managed_stop(&scene->managed), 0);
    return held.generation;
}
