/* SPDX-License-Identifier: MIT */
/* Chunk files and directories that are damaged, vanish or are replaced under a running broker. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
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
    (void)sup_synth(models, "tiny", SUP_ARGS("--layers", "6", "--seed", "1"));
    (void)sup_synth(models, "sound", SUP_ARGS("--layers", "1"));
    broker = sup_broker_start(models, "64", NULL);
}

static void stop(void)
{
    if (broker.pid)
        cr_assert_eq(sup_broker_stop(&broker), 0, "%s", sup_read(broker.log, NULL));
}

TestSuite(broker_files, .init = start, .fini = stop, .timeout = 60);

static void expect_sound(struct raw *raw)
{
    struct raw_model model = raw_open(raw, "sound");
    for (uint32_t i = 0; i < model.opened.chunks; i++)
        (void)raw_pin(raw, &model, i);
}

/* The load fails with a code, and a sentence that names model and component or file. */
static void expect_failure(struct raw *raw, const struct raw_model *model, const char *component,
                           int code)
{
    const char *text;
    int status = raw_load(raw, model, raw_find(model, component), &text);
    cr_assert_eq(status, code, "%s: status %d: %s", component, status, text);
    cr_assert_not_null(strstr(text, "tiny"), "%s", text);
    cr_assert_not_null(strstr(text, component), "%s", text);
}

static const char *file_of(const char *component)
{
    return sup_format("%s/tiny/%s.safetensors", models, component);
}

static void flip_bit(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    uint8_t byte;
    cr_assert_eq(pread(fd, &byte, 1, 5000), 1);
    byte ^= 4;
    cr_assert_eq(pwrite(fd, &byte, 1, 5000), 1);
    close(fd);
}

Test(broker_files, names_damaged_chunks_and_serves_the_others)
{
    sup_write_text(sup_path("outside.safetensors"), "x");
    cr_assert_eq(truncate(file_of("layer_0"), 5000), 0);
    flip_bit(file_of("layer_1"));
    cr_assert_eq(truncate(file_of("layer_2"), 0), 0);
    cr_assert_eq(unlink(file_of("layer_3")), 0);
    cr_assert_eq(unlink(file_of("layer_4")), 0);
    cr_assert_eq(symlink("../../outside.safetensors", file_of("layer_4")), 0);
    cr_assert_eq(unlink(file_of("pooler")), 0);
    cr_assert_eq(mkfifo(file_of("pooler"), 0666), 0);
    struct raw raw = raw_attach(&broker, "unlucky");
    struct raw_model model = raw_open(&raw, "tiny");
    static const struct {
        const char *component;
        int code;
    } cases[] = {{"layer_0", SW_ELOAD}, {"layer_1", SW_EDIGEST}, {"layer_2", SW_ELOAD},
                 {"layer_3", SW_ELOAD}, {"layer_4", SW_ELOAD},   {"pooler", SW_ELOAD}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_failure(&raw, &model, cases[i].component, cases[i].code);
    (void)raw_pin(&raw, &model, raw_find(&model, "embeddings"));
    (void)raw_pin(&raw, &model, raw_find(&model, "layer_5"));
    expect_sound(&raw);
    cr_assert_eq(sup_stat(&broker, "digest_errors"), 1);
    cr_assert_geq(sup_stat(&broker, "load_errors"), 5);
    struct sup_result warm = sup_run(SUP_ARGS("swctl", "warm", "tiny"));
    cr_assert_eq(warm.exit_code, 1);
    cr_assert_not_null(strstr(warm.err, "layer_"), "%s", warm.err);
    cr_assert_not_null(strstr(sup_run_ok(SUP_ARGS("swctl", "ls")), "digest"));
    raw_close(&raw);
}

Test(broker_files, loads_a_chunk_again_when_its_file_is_repaired)
{
    struct raw raw = raw_attach(&broker, "patient");
    struct raw_model model = raw_open(&raw, "tiny");
    flip_bit(file_of("layer_1"));
    expect_failure(&raw, &model, "layer_1", SW_EDIGEST);
    expect_failure(&raw, &model, "layer_1", SW_EDIGEST);
    flip_bit(file_of("layer_1"));
    (void)raw_pin(&raw, &model, raw_find(&model, "layer_1"));
    raw_close(&raw);
}

Test(broker_files, bad_manifests_do_not_stop_the_others)
{
    static const struct {
        const char *name, *text;
    } bad[] = {{"empty", ""}, {"no-json", "{{"}, {"old", "{\"model_name\":\"old\",\"chunks\":{}}"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        sup_mkdir(sup_format("%s/%s", models, bad[i].name));
        sup_write_text(sup_format("%s/%s/chunk_info.json", models, bad[i].name), bad[i].text);
    }
    sup_mkdir(sup_format("%s/not-a-model", models));
    sup_write_text(sup_format("%s/a-file", models), "");
    sup_mkdir(sup_format("%s/.unfinished", models));
    (void)sup_run_ok(SUP_ARGS("/bin/cp", sup_format("%s/tiny/chunk_info.json", models),
                              sup_format("%s/.unfinished/", models)));
    cr_assert_eq(symlink("/etc", sup_format("%s/etc", models)), 0);
    json_t *reply = sup_swctl(&broker, SUP_ARGS("reload"));
    cr_assert_eq(json_integer_value(json_object_get(reply, "bad")), 4);
    cr_assert_eq(json_integer_value(json_object_get(reply, "unchanged")), 2);
    json_decref(reply);
    cr_assert_eq(sup_stat(&broker, "models_bad"), 4);
    cr_assert_eq(sup_stat(&broker, "models"), 6);
    const char *table = sup_run_ok(SUP_ARGS("swctl", "models"));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_assert_not_null(strstr(table, bad[i].name), "%s", table);
    struct raw raw = raw_attach(&broker, "asker");
    cr_assert_eq(raw_open_status(&raw, "no-json"), SW_EFORMAT);
    cr_assert_eq(raw_open_status(&raw, "old"), SW_EVERSION);
    expect_sound(&raw);
    raw_close(&raw);
    cr_assert_not_null(strstr(sup_read(broker.log, NULL), "no-json"));
}

/* ---- models that nobody imported yet --------------------------------------------------------- */

static void write_hugging_face(const char *path, const char *weights)
{
    sup_mkdir(path);
    sup_write_text(sup_format("%s/config.json", path), "{\"model_type\": \"bert\"}");
    sup_write_text(sup_format("%s/%s", path, weights), "not read");
}

/* The row of a model in swctl models says how to import it. */
static void expect_import_advice(const char *name, const char *path)
{
    json_t *reply = sup_swctl(&broker, SUP_ARGS("models"));
    json_t *list = json_object_get(reply, "models");
    const char *error = NULL;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *row = json_array_get(list, i);
        if (strcmp(json_string_value(json_object_get(row, "model")), name) == 0)
            error = json_string_value(json_object_get(row, "error"));
    }
    cr_assert_not_null(error, "%s is not listed", name);
    cr_assert_not_null(strstr(error, sup_format("swchunk import %s OUT", path)), "%s", error);
    json_decref(reply);
}

Test(broker_files, tells_how_to_import_hugging_face_directories)
{
    static const char *const weights[] = {"model.safetensors", "pytorch_model.bin",
                                          "model.safetensors.index.json", "modules.json"};
    for (size_t i = 0; i < sizeof weights / sizeof weights[0]; i++)
        write_hugging_face(sup_format("%s/raw%zu", models, i), weights[i]);
    sup_mkdir(sup_format("%s/notes", models)); /* a config.json alone is not a model */
    sup_write_text(sup_format("%s/notes/config.json", models), "{}");
    (void)sup_run_ok(SUP_ARGS("swctl", "reload"));
    cr_assert_eq(sup_stat(&broker, "models_bad"), 4);
    const char *path = sup_format("%s/raw0", models);
    expect_import_advice("raw0", path);
    struct sup_result result =
        sup_run_input(SUP_ARGS("swbert", "tokenize", "--model", "raw0"), "word\n", 5);
    cr_assert_eq(result.exit_code, 1);
    cr_assert_not_null(strstr(result.err, sup_format("swchunk import %s OUT", path)), "%s",
                       result.err);
    cr_assert_eq(sup_broker_stop(&broker), 0);
    broker = sup_broker_start(models, "64", NULL);
    const char *log = sup_read(broker.log, NULL);
    cr_assert_not_null(strstr(log, sup_format("swchunk import %s OUT", path)), "%s", log);
    cr_assert_not_null(strstr(log, "serving 2 models from "), "%s", log);
}

Test(broker_files, tells_how_to_import_its_own_directory)
{
    const char *path = sup_path("published");
    write_hugging_face(path, "model.safetensors");
    sup_mkdir(sup_format("%s/2_Dense", path));
    write_hugging_face(sup_format("%s/2_Dense", path), "model.safetensors");
    cr_assert_eq(sup_broker_stop(&broker), 0);
    broker = sup_broker_start(path, "64", NULL);
    const char *log = sup_read(broker.log, NULL);
    cr_assert_not_null(strstr(log, sup_format("swchunk import %s OUT", path)), "%s", log);
    cr_assert_not_null(strstr(log, "serving 0 models from "), "%s", log);
    cr_assert_eq(sup_stat(&broker, "models"), 1);
    expect_import_advice("published", path);
    /* an output directory beside the weights is still served */
    (void)sup_synth(path, "chunks", SUP_ARGS("--layers", "1"));
    cr_assert_eq(sup_broker_stop(&broker), 0);
    broker = sup_broker_start(path, "64", NULL);
    log = sup_read(broker.log, NULL);
    cr_assert_not_null(strstr(log, "serving 1 model from "), "%s", log);
}

Test(broker_files, keeps_the_good_revision_when_its_manifest_goes_bad)
{
    sup_write_text(sup_format("%s/sound/chunk_info.json", models), "{");
    json_t *reply = sup_swctl(&broker, SUP_ARGS("reload"));
    cr_assert_eq(json_integer_value(json_object_get(reply, "bad")), 1);
    json_decref(reply);
    struct raw raw = raw_attach(&broker, "steady");
    expect_sound(&raw);
    raw_close(&raw);
}

Test(broker_files, finds_a_model_that_came_later)
{
    struct raw raw = raw_attach(&broker, "early");
    cr_assert_eq(raw_open_status(&raw, "later"), SW_ENOMODEL);
    (void)sup_synth(models, "later", SUP_ARGS("--layers", "1"));
    struct raw_model model = raw_open(&raw, "later");
    (void)raw_pin(&raw, &model, 0);
    raw_close(&raw);
}

/* Asking for nonsense cannot keep the broker reading directories: after some lookups it says no
 * from memory. */
Test(broker_files, does_not_look_for_unknown_models_without_end)
{
    struct raw raw = raw_attach(&broker, "curious");
    for (int i = 0; i < 60; i++)
        cr_assert_eq(raw_open_status(&raw, sup_format("none-%d", i)), SW_ENOMODEL);
    (void)sup_synth(models, "later", SUP_ARGS("--layers", "1"));
    json_decref(sup_swctl(&broker, SUP_ARGS("reload")));
    (void)raw_open(&raw, "later");
    raw_close(&raw);
}

static bool old_chunks_are_gone(void *context)
{
    (void)context;
    json_t *reply = sup_swctl(&broker, SUP_ARGS("ls"));
    bool found = false;
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(reply, "chunks"), i, row) found =
        found || json_is_true(json_object_get(row, "superseded"));
    json_decref(reply);
    return !found;
}

Test(broker_files, sessions_finish_on_a_replaced_revision_even_when_it_was_deleted)
{
    struct raw old = raw_attach(&broker, "old");
    struct raw_model before = raw_open(&old, "tiny");
    (void)raw_pin(&old, &before, 1);
    (void)sup_synth(models, "tiny", SUP_ARGS("--layers", "6", "--seed", "2", "--force"));
    json_t *reply = sup_swctl(&broker, SUP_ARGS("reload"));
    cr_assert_eq(json_integer_value(json_object_get(reply, "replaced")), 1);
    json_decref(reply);
    struct raw fresh = raw_attach(&broker, "new");
    struct raw_model after = raw_open(&fresh, "tiny");
    cr_assert_neq(before.opened.incarnation, after.opened.incarnation);
    for (uint32_t i = 0; i < after.opened.chunks; i++) {
        cr_assert_neq(before.ids[i], after.ids[i]);
        (void)raw_pin(&fresh, &after, i); /* checks the digest: of its own revision */
        (void)raw_pin(&old, &before, i);
    }
    cr_assert_neq(swi_entry_get(old.index, before.ids[1]).digest_low,
                  swi_entry_get(old.index, after.ids[1]).digest_low);
    cr_assert_not(old_chunks_are_gone(NULL));
    raw_close(&old);
    cr_assert(sup_until(old_chunks_are_gone, NULL, 10000), "the old revision's chunks stay");
    cr_assert_eq(swi_entry_get(fresh.index, before.ids[1]).incarnation, 0);
    raw_close(&fresh);
}

Test(broker_files, a_model_that_left_the_catalog_goes_with_its_last_user)
{
    struct raw raw = raw_attach(&broker, "last");
    struct raw_model model = raw_open(&raw, "tiny");
    sup_remove_tree(sup_format("%s/tiny", models));
    json_t *reply = sup_swctl(&broker, SUP_ARGS("reload"));
    cr_assert_eq(json_integer_value(json_object_get(reply, "removed")), 1);
    json_decref(reply);
    (void)raw_pin(&raw, &model, 2);
    cr_assert_eq(raw_open_status(&raw, "tiny"), SW_ENOMODEL);
    raw_close(&raw);
    cr_assert(sup_until(old_chunks_are_gone, NULL, 10000));
}

Test(broker_files, a_directory_replaced_without_a_reload_is_named_or_served_still)
{
    struct raw raw = raw_attach(&broker, "unaware");
    struct raw_model model = raw_open(&raw, "tiny");
    (void)sup_synth(models, "tiny", SUP_ARGS("--layers", "6", "--seed", "2", "--force"));
    (void)sup_synth(models, "sound", SUP_ARGS("--layers", "1", "--seed", "2", "--force"));
    (void)raw_pin(&raw, &model, 1); /* known to the broker before the change */
    struct raw_model late = raw_open(&raw, "sound");
    const char *text;
    cr_assert_eq(raw_load(&raw, &late, 1, &text), SW_ELOAD);
    cr_assert_not_null(strstr(text, "swctl reload"), "%s", text);
    json_decref(sup_swctl(&broker, SUP_ARGS("reload")));
    expect_sound(&raw);
    raw_close(&raw);
}

Test(broker_files, reload_without_a_change_keeps_what_is_resident)
{
    (void)sup_run_ok(SUP_ARGS("swctl", "warm", "tiny"));
    int64_t resident = sup_stat(&broker, "chunks_resident");
    cr_assert_gt(resident, 0);
    json_decref(sup_swctl(&broker, SUP_ARGS("reload")));
    cr_assert_eq(sup_stat(&broker, "chunks_resident"), resident);
}

Test(broker_files, survives_the_loss_of_its_whole_directory)
{
    (void)sup_run_ok(SUP_ARGS("swctl", "warm", "sound"));
    cr_assert_eq(rename(models, sup_path("moved")), 0);
    cr_assert_eq(sup_run(SUP_ARGS("swctl", "reload")).exit_code, 1);
    struct raw raw = raw_attach(&broker, "calm");
    expect_sound(&raw);
    raw_close(&raw);
    cr_assert_eq(rename(sup_path("moved"), models), 0);
    cr_assert_eq(sup_run(SUP_ARGS("swctl", "reload")).exit_code, 0);
}

Test(broker_files, clears_one_component_one_model_or_all)
{
    (void)sup_run_ok(SUP_ARGS("swctl", "warm", "tiny"));
    (void)sup_run_ok(SUP_ARGS("swctl", "warm", "sound"));
    int64_t resident = sup_stat(&broker, "chunks_resident");
    (void)sup_run_ok(SUP_ARGS("swctl", "clear", "tiny/layer_3"));
    cr_assert_eq(sup_stat(&broker, "chunks_resident"), resident - 1);
    (void)sup_run_ok(SUP_ARGS("swctl", "clear", "sound"));
    cr_assert_eq(sup_stat(&broker, "chunks_resident"), 7);
    (void)sup_run_ok(SUP_ARGS("swctl", "clear"));
    cr_assert_eq(sup_stat(&broker, "chunks_resident"), 0);
    cr_assert_eq(sup_run(SUP_ARGS("swctl", "clear", "tiny/layer_99")).exit_code, 1);
}
