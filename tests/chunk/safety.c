/* SPDX-License-Identifier: MIT */
/* Outputs appear whole or not at all, and nothing of somebody else's is lost. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "chunk/fixture.h"
#include "support/support.h"

static const char *folder;

static void make_folder(void)
{
    folder = sup_path("folder");
    sup_mkdir(folder);
}

/* ---- stopped on the way ---------------------------------------------------------------------- */

static bool something_there(void *context)
{
    (void)context;
    return sup_count_entries(folder) > 0;
}

static void stop_with(int signal_number)
{
    pid_t pid = sup_spawn(SUP_ARGS("swchunk", "synth", "bert-large", sup_format("%s/big", folder),
                                   "--layers", "200", "--dtype", "f32"),
                          NULL, sup_path("messages"));
    cr_assert(sup_until(something_there, NULL, 30000));
    cr_assert_eq(kill(pid, signal_number), 0);
    cr_assert_eq(sup_wait(pid, 30000), 128 + signal_number, "it dies of the signal");
    cr_assert_eq(sup_count_entries(folder), 0, "and leaves nothing");
    cr_assert_str_eq(sup_read(sup_path("messages"), NULL), "");
}

Test(safety, a_signal_leaves_nothing_half_made, .init = make_folder, .timeout = 100)
{
    stop_with(SIGTERM);
    stop_with(SIGINT);
    stop_with(SIGHUP);
}

Test(safety, a_signal_leaves_what_force_would_have_replaced, .init = make_folder, .timeout = 100)
{
    const char *out = sup_format("%s/model", folder);
    (void)sup_run_ok(SUP_ARGS("swchunk", "synth", "bert-tiny", out, "--layers", "1"));
    pid_t pid = sup_spawn(
        SUP_ARGS("swchunk", "synth", "bert-large", out, "--layers", "200", "--force"), NULL, NULL);
    for (int i = 0; i < 3000 && sup_count_entries(folder) < 2; i++)
        sup_sleep_ms(10);
    cr_assert_eq(kill(pid, SIGTERM), 0);
    cr_assert_eq(sup_wait(pid, 30000), 128 + SIGTERM);
    cr_assert_eq(sup_count_entries(folder), 1);
    (void)sup_run_ok(SUP_ARGS("swchunk", "verify", out));
}

Test(safety, a_killed_run_leaves_only_a_hidden_directory, .init = make_folder, .timeout = 100)
{
    const char *out = sup_format("%s/big", folder);
    pid_t pid =
        sup_spawn(SUP_ARGS("swchunk", "synth", "bert-large", out, "--layers", "200"), NULL, NULL);
    cr_assert(sup_until(something_there, NULL, 30000));
    cr_assert_eq(kill(pid, SIGKILL), 0);
    (void)sup_wait(pid, 30000);
    DIR *entries = opendir(folder);
    cr_assert_not_null(entries);
    for (const struct dirent *entry; (entry = readdir(entries));)
        cr_assert(entry->d_name[0] == '.', "%s", entry->d_name);
    (void)closedir(entries);
    (void)sup_run_ok(SUP_ARGS("swchunk", "synth", "bert-tiny", out));
    (void)sup_run_ok(SUP_ARGS("swchunk", "verify", out));
}

/* ---- disks ----------------------------------------------------------------------------------- */

Test(safety, a_file_size_limit_is_an_error_with_a_clean_up, .init = make_folder, .timeout = 60)
{
    struct rlimit limit = {.rlim_cur = 300000, .rlim_max = RLIM_INFINITY};
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    struct sup_result result = SWCHUNK("synth", "bert-tiny", sup_format("%s/model", folder));
    cr_assert_eq(result.exit_code, 1);
    cr_assert_not_null(strstr(result.err, "File too large"), "%s", result.err);
    cr_assert_not_null(strstr(result.err, ".safetensors"), "%s", result.err);
    cr_assert_eq(sup_count_entries(folder), 0);
}

Test(safety, a_full_disk_is_an_error_with_a_clean_up, .init = make_folder, .timeout = 60)
{
    if (mount("none", folder, "tmpfs", 0, "size=2M") < 0)
        cr_skip_test("mounting a small file system is not allowed here");
    struct sup_result result = SWCHUNK("synth", "bert-tiny", sup_format("%s/model", folder));
    size_t left = sup_count_entries(folder);
    cr_assert_eq(umount(folder), 0);
    cr_assert_eq(result.exit_code, 1);
    cr_assert_not_null(strstr(result.err, "No space left on device"), "%s", result.err);
    cr_assert_eq(left, 0);
}

Test(safety, a_full_disk_behind_stdout_is_noticed, .init = make_folder, .timeout = 60)
{
    const char *out = sup_format("%s/model", folder);
    (void)sup_run_ok(SUP_ARGS("swchunk", "synth", "bert-tiny", out));
    const char *program = SW_BUILD_DIR "/swchunk";
    struct sup_result result =
        sup_run(SUP_ARGS("/bin/sh", "-c", "\"$0\" info \"$1\" >/dev/full", program, out));
    cr_assert_eq(result.exit_code, 1);
    cr_assert_not_null(strstr(result.err, "standard output: No space left on device"), "%s",
                       result.err);
}

/* ---- what is there already ------------------------------------------------------------------- */

Test(safety, an_existing_out_is_refused_without_force, .init = make_folder, .timeout = 60)
{
    const char *out = sup_format("%s/model", folder);
    (void)sup_run_ok(SUP_ARGS("swchunk", "synth", "bert-tiny", out, "--seed", "1"));
    char *before = sup_read(sup_format("%s/chunk_info.json", out), NULL);
    fixture_expect_refusal(1, SUP_ARGS("synth", "bert-tiny", out, "--seed", "2"),
                           TEXTS(out, "already exists", "--force"));
    fixture_expect_refusal(1, SUP_ARGS("synth", "bert-tiny", sup_format("%s///", out)),
                           TEXTS("already exists"));
    cr_assert_str_eq(sup_read(sup_format("%s/chunk_info.json", out), NULL), before);
    (void)sup_run_ok(SUP_ARGS("swchunk", "synth", "bert-tiny", out, "--seed", "2", "--force"));
    cr_assert_str_neq(sup_read(sup_format("%s/chunk_info.json", out), NULL), before);
    cr_assert_eq(sup_count_entries(folder), 1, "the old one is gone");
    (void)sup_run_ok(SUP_ARGS("swchunk", "verify", out));
}

Test(safety, force_never_removes_what_is_no_chunk_directory, .init = make_folder, .timeout = 60)
{
    const char *out = sup_format("%s/precious", folder);
    sup_mkdir(out);
    sup_write_text(sup_format("%s/thesis.txt", out), "years of work");
    fixture_expect_refusal(1, SUP_ARGS("synth", "bert-tiny", out, "--force"),
                           TEXTS(out, "not a chunk directory"));
    cr_assert_str_eq(sup_read(sup_format("%s/thesis.txt", out), NULL), "years of work");
    const char *file = sup_format("%s/file", folder), *link = sup_format("%s/link", folder);
    sup_write_text(file, "text");
    cr_assert_eq(symlink(out, link), 0);
    fixture_expect_refusal(1, SUP_ARGS("synth", "bert-tiny", file, "--force"), TEXTS(file));
    fixture_expect_refusal(1, SUP_ARGS("synth", "bert-tiny", link, "--force"), TEXTS(link));
    cr_assert_str_eq(sup_read(file, NULL), "text");
    cr_assert_eq(sup_count_entries(folder), 3);
    const char *empty = sup_format("%s/empty", folder);
    sup_mkdir(empty);
    (void)sup_run_ok(SUP_ARGS("swchunk", "synth", "bert-tiny", empty, "--force"));
    (void)sup_run_ok(SUP_ARGS("swchunk", "verify", empty));
}

Test(safety, export_replaces_a_file_with_force_only, .init = make_folder, .timeout = 60)
{
    const char *chunks = sup_format("%s/model", folder), *file = sup_format("%s/file", folder);
    (void)sup_run_ok(SUP_ARGS("swchunk", "synth", "bert-tiny", chunks));
    sup_write_text(file, "text");
    fixture_expect_refusal(1, SUP_ARGS("export", chunks, file), TEXTS(file, "--force"));
    cr_assert_str_eq(sup_read(file, NULL), "text");
    fixture_expect_refusal(1, SUP_ARGS("export", chunks, folder, "--force"), TEXTS(folder));
    (void)sup_run_ok(SUP_ARGS("swchunk", "export", chunks, file, "--force"));
    cr_assert_eq(checkpoint_load(file).count, 39);
    struct rlimit limit = {.rlim_cur = 300000, .rlim_max = RLIM_INFINITY};
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    fixture_expect_refusal(1, SUP_ARGS("export", chunks, sup_format("%s/other", folder)),
                           TEXTS("File too large"));
    cr_assert_eq(sup_count_entries(folder), 2);
}

Test(safety, names_that_could_not_be_a_models_are_refused, .init = make_folder, .timeout = 60)
{
    static const char *const bad[] = {".", "..", "/", "", ".hidden"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        fixture_expect_refusal(1, SUP_ARGS("synth", "bert-tiny", bad[i]), TEXTS("usable name"));
    fixture_expect_refusal(1, SUP_ARGS("synth", "bert-tiny", sup_format("%s/no/model", folder)),
                           TEXTS("/no", "No such file", "create it first"));
    fixture_expect_refusal(1, SUP_ARGS("synth", "bert-tiny", sup_format("%s/m\xff", folder)),
                           TEXTS("UTF-8"));
    cr_assert_eq(sup_count_entries(folder), 0);
}

Test(safety, what_is_written_can_be_read_by_others, .init = make_folder, .timeout = 60)
{
    const char *out = sup_format("%s/model", folder);
    mode_t mask = umask(022);
    (void)sup_run_ok(SUP_ARGS("swchunk", "synth", "bert-tiny", out));
    (void)umask(mask);
    struct stat status;
    cr_assert_eq(stat(out, &status), 0);
    cr_assert_eq(status.st_mode & 0777, 0755);
    cr_assert_eq(stat(sup_format("%s/layer_0.safetensors", out), &status), 0);
    cr_assert_eq(status.st_mode & 0777, 0644);
}

/* ---- usage ----------------------------------------------------------------------------------- */

Test(safety, wrong_usage_is_one_line_and_status_2, .init = make_folder, .timeout = 60)
{
    fixture_expect_refusal(2, SUP_ARGS(NULL), TEXTS("missing command", "--help"));
    fixture_expect_refusal(2, SUP_ARGS("implode"), TEXTS("unknown command 'implode'", "--help"));
    static const char *const commands[] = {"import", "synth", "info", "verify", "export"};
    for (size_t i = 0; i < 5; i++) {
        fixture_expect_refusal(2, SUP_ARGS(commands[i]), TEXTS(commands[i], "takes", "--help"));
        fixture_expect_refusal(2, SUP_ARGS(commands[i], "a", "b", "c"),
                               TEXTS("unexpected argument"));
        fixture_expect_refusal(2, SUP_ARGS(commands[i], "--wrong"),
                               TEXTS("unknown option '--wrong'", "--help"));
        fixture_expect_refusal(2, SUP_ARGS(commands[i], "-x"), TEXTS("unknown option '-x'"));
    }
    fixture_expect_refusal(2, SUP_ARGS("import", "a", "b", "--dtype", "f64"), TEXTS("f64"));
    fixture_expect_refusal(2, SUP_ARGS("import", "a", "b", "--layout", "tiles"), TEXTS("tiles"));
    fixture_expect_refusal(2, SUP_ARGS("import", "a", "b", "--dtype"), TEXTS("needs a value"));
    fixture_expect_refusal(2, SUP_ARGS("synth", "bert-huge", "b"), TEXTS("bert-huge"));
    fixture_expect_refusal(2, SUP_ARGS("synth", "bert-tiny", "b", "--seed", "-1"), TEXTS("--seed"));
    fixture_expect_refusal(2, SUP_ARGS("synth", "bert-tiny", "b", "--seed", "0x1"), TEXTS("0x1"));
    fixture_expect_refusal(2, SUP_ARGS("synth", "bert-tiny", "b", "--seed", "18446744073709551616"),
                           TEXTS("--seed"));
    fixture_expect_refusal(2, SUP_ARGS("synth", "bert-tiny", "b", "--layers", "0"),
                           TEXTS("--layers", "from 1 to", "'0'"));
    fixture_expect_refusal(2, SUP_ARGS("synth", "bert-tiny", "b", "--hidden", "many"),
                           TEXTS("--hidden", "'many'"));
    fixture_expect_refusal(
        1, SUP_ARGS("synth", "bert-tiny", sup_format("%s/b", folder), "--heads", "3"),
        TEXTS("not a multiple"));
    fixture_expect_refusal(
        1, SUP_ARGS("synth", "bert-tiny", sup_format("%s/b", folder), "--vocab-size", "4"),
        TEXTS("at least 5"));
    cr_assert_eq(sup_count_entries(folder), 0);
}

Test(safety, help_and_version_go_to_stdout, .timeout = 60)
{
    cr_assert_not_null(strstr(sup_run_ok(SUP_ARGS("swchunk", "--help")), "Usage: swchunk"));
    cr_assert_str_eq(sup_run_ok(SUP_ARGS("swchunk", "--version")),
                     "swchunk " SW_VERSION_STRING "\n");
    static const char *const commands[] = {"import", "synth", "info", "verify", "export"};
    for (size_t i = 0; i < 5; i++) {
        const char *usage = sup_format("Usage: swchunk %s ", commands[i]);
        cr_assert_not_null(strstr(sup_run_ok(SUP_ARGS("swchunk", commands[i], "--help")), usage));
        cr_assert_not_null(strstr(sup_run_ok(SUP_ARGS("swchunk", commands[i], "-h")), usage));
    }
}
