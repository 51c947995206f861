/* SPDX-License-Identifier: MIT */
/* The broker process: start, options, stop, what it leaves. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/support.h"

static const char *catalog(void)
{
    const char *path = sup_path("models");
    sup_mkdir(path);
    return path;
}

/* Whether no broker's segment is seen by name. Others may run on this machine, and theirs have a
 * name for the moment between creation and unlinking: asked again for a while, only one that was
 * left behind stays. */
static bool no_segment_is_named(void *context)
{
    (void)context;
    DIR *directory = opendir("/dev/shm");
    cr_assert_not_null(directory);
    bool found = false;
    for (struct dirent *entry; (entry = readdir(directory));)
        found = found || strncmp(entry->d_name, "swbroker", strlen("swbroker")) == 0;
    closedir(directory);
    return !found;
}

static size_t count_lines(const char *text)
{
    size_t lines = 0;
    for (; *text; text++)
        lines += *text == '\n';
    return lines;
}

Test(broker_life, starts_answers_and_stops_leaving_nothing, .timeout = 60)
{
    const char *models = catalog();
    (void)sup_synth(models, "tiny", SUP_ARGS("--layers", "1"));
    struct sup_broker broker = sup_broker_start(models, "16", NULL);
    cr_assert(sup_exists(broker.socket));
    cr_assert_eq(sup_stat(&broker, "models"), 1);
    cr_assert_eq(sup_broker_stop(&broker), 0);
    cr_assert_not(sup_exists(broker.socket));
    cr_assert(sup_until(no_segment_is_named, NULL, 10000));
}

Test(broker_life, leaves_no_segment_when_killed, .timeout = 60)
{
    struct sup_broker broker = sup_broker_start(catalog(), "16", NULL);
    sup_broker_kill(&broker);
    cr_assert(sup_until(no_segment_is_named, NULL, 10000));
}

Test(broker_life, serves_one_models_directory_under_its_base_name, .timeout = 60)
{
    const char *model = sup_synth(catalog(), "alone", SUP_ARGS("--layers", "1"));
    struct sup_broker broker = sup_broker_start(sup_format("%s//", model), "16", NULL);
    json_t *reply = sup_swctl(&broker, SUP_ARGS("models"));
    json_t *row = json_array_get(json_object_get(reply, "models"), 0);
    cr_assert_str_eq(json_string_value(json_object_get(row, "model")), "alone");
    json_decref(reply);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

Test(broker_life, refuses_to_be_the_second_on_a_socket, .timeout = 60)
{
    const char *models = catalog();
    struct sup_broker broker = sup_broker_start(models, "16", NULL);
    struct sup_result second = sup_run(SUP_ARGS("swbrokerd", "--chunks-dir", models, "--cache-size",
                                                "16", "--socket", broker.socket));
    cr_assert_eq(second.exit_code, 1);
    cr_assert_eq(count_lines(second.err), 1, "%s", second.err);
    cr_assert_not_null(strstr(second.err, "already listening"), "%s", second.err);
    cr_assert_eq(sup_run(SUP_ARGS("swctl", "ping")).exit_code, 0, "the first one was hurt");
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

Test(broker_life, of_several_started_at_once_one_serves, .timeout = 60)
{
    const char *models = catalog();
    const char *socket_path = sup_path("race.sock");
    for (int round = 0; round < 5; round++) {
        pid_t pids[4];
        for (int i = 0; i < 4; i++)
            pids[i] = sup_spawn(SUP_ARGS("swbrokerd", "--chunks-dir", models, "--cache-size", "2",
                                         "--socket", socket_path),
                                NULL, NULL);
        int running = 4;
        pid_t left = 0;
        for (int tries = 0; tries < 500 && running > 1; tries++) {
            for (int i = 0; i < 4; i++) {
                if (pids[i] && sup_wait(pids[i], 0) != -1) {
                    pids[i] = 0;
                    running--;
                }
            }
            sup_sleep_ms(10);
        }
        for (int i = 0; i < 4; i++)
            left = pids[i] ? pids[i] : left;
        cr_assert_eq(running, 1);
        cr_assert_eq(sup_run(SUP_ARGS("swctl", "--socket", socket_path, "ping")).exit_code, 0);
        cr_assert_eq(kill(left, SIGTERM), 0);
        cr_assert_eq(sup_wait(left, 10000), 0);
    }
}

Test(broker_life, replaces_a_stale_socket, .timeout = 60)
{
    struct sup_broker broker = sup_broker_start(catalog(), "16", NULL);
    sup_broker_kill(&broker);
    cr_assert(sup_exists(broker.socket), "a killed broker cannot remove its socket");
    pid_t pid = sup_spawn(SUP_ARGS("swbrokerd", "--chunks-dir", sup_path("models"), "--cache-size",
                                   "16", "--socket", broker.socket),
                          NULL, broker.log);
    for (int i = 0; i < 1000 && sup_run(SUP_ARGS("swctl", "ping")).exit_code != 0; i++)
        sup_sleep_ms(10);
    cr_assert_eq(kill(pid, SIGINT), 0);
    cr_assert_eq(sup_wait(pid, 10000), 0, "%s", sup_read(broker.log, NULL));
    cr_assert_not(sup_exists(broker.socket));
}

Test(broker_life, does_not_remove_a_socket_that_is_not_its_own, .timeout = 60)
{
    struct sup_broker broker = sup_broker_start(catalog(), "16", NULL);
    cr_assert_eq(unlink(broker.socket), 0);
    sup_write_text(broker.socket, "somebody else's");
    cr_assert_eq(sup_broker_stop(&broker), 0);
    cr_assert(sup_exists(broker.socket));
}

Test(broker_life, gives_the_socket_the_mode_asked_for, .timeout = 60)
{
    struct sup_broker broker = sup_broker_start(catalog(), "16", SUP_ARGS("--socket-mode", "0600"));
    struct stat status;
    cr_assert_eq(stat(broker.socket, &status), 0);
    cr_assert_eq(status.st_mode & 0777, 0600);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

Test(broker_life, rescans_on_sighup, .timeout = 60)
{
    const char *models = catalog();
    struct sup_broker broker = sup_broker_start(models, "16", NULL);
    cr_assert_eq(sup_stat(&broker, "models"), 0);
    (void)sup_synth(models, "late", SUP_ARGS("--layers", "1"));
    cr_assert_eq(kill(broker.pid, SIGHUP), 0);
    for (int i = 0; i < 500 && sup_stat(&broker, "models") == 0; i++)
        sup_sleep_ms(10);
    cr_assert_eq(sup_stat(&broker, "models"), 1);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

/* What an operator may get wrong, the exit code, and a word that the line must hold. */
/* Its client is swbert, which stays until its input ends. */
Test(broker_life, ends_when_idle_if_told_so, .timeout = 100)
{
    (void)sup_synth(catalog(), "toy", NULL);
    struct sup_broker broker =
        sup_broker_start(sup_path("models"), "16M", SUP_ARGS("--exit-when-idle", "0"));
    sup_write_text(sup_path("worker.sh"), "{ echo one; sleep 4; echo two; } | "
                                          "\"$1\" embed --model toy\n");
    pid_t worker =
        sup_spawn(SUP_ARGS("/bin/sh", sup_path("worker.sh"), SW_BUILD_DIR "/swbert"), NULL, NULL);
    cr_expect_eq(sup_wait(worker, 60000), 0, "it ended under its client");
    cr_expect_eq(sup_wait(broker.pid, 30000), 0, "it goes on without any");
    broker.pid = 0;
    cr_expect(!sup_exists(broker.socket));
    cr_expect(!sup_exists(sup_format("%s.lock", broker.socket)));
    cr_expect_not_null(strstr(sup_read(broker.log, NULL), "no client for 0 seconds"));
}

/* A lock beside the socket, which whoever starts a broker holds, keeps it. */
Test(broker_life, does_not_end_under_somebody_about_to_connect, .timeout = 100)
{
    struct sup_broker broker =
        sup_broker_start(catalog(), "16M", SUP_ARGS("--exit-when-idle", "1"));
    int lock = open(sup_format("%s.lock", broker.socket), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    cr_assert(lock >= 0 && flock(lock, LOCK_EX) == 0, "%m");
    for (int i = 0; i < 26; i++) { /* looking at it is not using it */
        (void)sup_stat(&broker, "clients");
        sup_sleep_ms(500);
    }
    cr_expect_eq(sup_wait(broker.pid, 0), -1, "it ended all the same");
    close(lock);
    cr_expect_eq(sup_wait(broker.pid, 30000), 0);
    cr_expect(!sup_exists(sup_format("%s.lock", broker.socket)));
}

Test(broker_life, names_every_bad_option_in_one_line, .timeout = 60)
{
    const char *models = catalog();
    const char *file = sup_path("file");
    sup_write_text(file, "");
    const struct {
        const char *const *arguments;
        int code;
        const char *word;
    } cases[] = {
        {SUP_ARGS("swbrokerd"), 2, "--chunks-dir"},
        {SUP_ARGS("swbrokerd", "--chunks-dir"), 2, "--chunks-dir"},
        {SUP_ARGS("swbrokerd", "--chunks-dir", ""), 2, "--chunks-dir"},
        {SUP_ARGS("swbrokerd", "--frobnicate"), 2, "--frobnicate"},
        {SUP_ARGS("swbrokerd", "--chunks-dir", models, "stray"), 2, "stray"},
        {SUP_ARGS("swbrokerd", "--chunks-dir", models, "--cache-size", "0"), 2, "--cache-size"},
        {SUP_ARGS("swbrokerd", "--chunks-dir", models, "--cache-size", "-5"), 2, "--cache-size"},
        {SUP_ARGS("swbrokerd", "--chunks-dir", models, "--cache-size", "many"), 2, "many"},
        {SUP_ARGS("swbrokerd", "--chunks-dir", models, "--cache-size", "64", "--max-cache-size",
                  "32"),
         2, "--max-cache-size"},
        {SUP_ARGS("swbrokerd", "--chunks-dir", models, "--policy", "lfu"), 2, "next-use"},
        {SUP_ARGS("swbrokerd", "--chunks-dir", models, "--io-engine", "aio"), 2, "uring"},
        {SUP_ARGS("swbrokerd", "--chunks-dir", models, "--socket-mode", "rw"), 2, "octal"},
        {SUP_ARGS("swbrokerd", "--chunks-dir", models, "--max-sessions", "0"), 2, "1024"},
        {SUP_ARGS("swbrokerd", "--chunks-dir", models, "--max-sessions", "1025"), 2, "1024"},
        {SUP_ARGS("swbrokerd", "--chunks-dir", sup_path("nowhere"), "--socket", sup_path("s")), 1,
         "nowhere"},
        {SUP_ARGS("swbrokerd", "--chunks-dir", file, "--socket", sup_path("s")), 1, "file"},
        {SUP_ARGS("swbrokerd", "--chunks-dir", models, "--socket", sup_path("no/dir/s")), 1,
         "no/dir/s"},
        {SUP_ARGS("swbrokerd", "--chunks-dir", models, "--socket", file), 1, "not a socket"},
        {SUP_ARGS("swbrokerd", "--chunks-dir", models, "--socket", sup_path("%0120d", 0)), 1,
         "longer"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sup_result result = sup_run(cases[i].arguments);
        cr_assert_eq(result.exit_code, cases[i].code, "case %zu: exit %d: %s", i, result.exit_code,
                     result.err);
        cr_assert_eq(count_lines(result.err), 1, "case %zu: %s", i, result.err);
        cr_assert_not_null(strstr(result.err, cases[i].word), "case %zu: %s", i, result.err);
        cr_assert_eq(result.out_size, 0);
    }
    cr_assert_not(sup_exists(sup_path("s")));
    cr_assert(sup_exists(file));
}

Test(broker_life, says_which_remedy_when_the_arena_does_not_fit, .timeout = 60)
{
    const char *socket_path = sup_path("s");
    struct sup_result result = sup_run(SUP_ARGS("swbrokerd", "--chunks-dir", catalog(),
                                                "--cache-size", "900T", "--socket", socket_path));
    cr_assert_eq(result.exit_code, 1);
    cr_assert_eq(count_lines(result.err), 1, "%s", result.err);
    cr_assert_not(sup_exists(socket_path));
}

Test(broker_life, has_help_and_version, .timeout = 60)
{
    cr_assert_not_null(strstr(sup_run_ok(SUP_ARGS("swbrokerd", "--help")), "--chunks-dir"));
    cr_assert_str_eq(sup_run_ok(SUP_ARGS("swbrokerd", "--version")), "swbrokerd 1.0.0\n");
    static const char *const programs[] = {"swbrokerd", "swctl", "swchunk", "swbert"};
    for (size_t i = 0; i < sizeof programs / sizeof programs[0]; i++) {
        cr_assert_not_null(strstr(sup_run_ok(SUP_ARGS(programs[i], "-h")), programs[i]));
        cr_assert_str_eq(sup_run_ok(SUP_ARGS(programs[i], "-V")),
                         sup_format("%s 1.0.0\n", programs[i]));
    }
    cr_assert_not_null(strstr(sup_run_ok(SUP_ARGS("swctl", "--help")), "clear"));
    cr_assert_str_eq(sup_run_ok(SUP_ARGS("swctl", "--version")), "swctl 1.0.0\n");
    static const char *const verbs[] = {"ping",  "stats",  "ls",   "models", "clients",
                                        "clear", "resize", "warm", "reload"};
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
        cr_assert_not_null(strstr(sup_run_ok(SUP_ARGS("swctl", verbs[i], "--help")), verbs[i]));
}

/* ---- swctl ----------------------------------------------------------------------------------- */

Test(swctl, has_its_exit_codes, .timeout = 60)
{
    struct sup_result result = sup_run(SUP_ARGS("swctl", "--socket", sup_path("nobody"), "ping"));
    cr_assert_eq(result.exit_code, 3);
    cr_assert_eq(count_lines(result.err), 1, "%s", result.err);
    const char *const *const wrong[] = {
        SUP_ARGS("swctl"),
        SUP_ARGS("swctl", "dance"),
        SUP_ARGS("swctl", "ping", "x"),
        SUP_ARGS("swctl", "warm"),
        SUP_ARGS("swctl", "resize"),
        SUP_ARGS("swctl", "resize", "x"),
        SUP_ARGS("swctl", "--what"),
        SUP_ARGS("swctl", "--socket"),
        SUP_ARGS("swctl", "clear", "a/"),
        SUP_ARGS("swctl", "warm", "/b"),
        SUP_ARGS("swctl", "resize", "1", "2"),
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        result = sup_run(wrong[i]);
        cr_assert_eq(result.exit_code, 2, "case %zu: %s", i, result.err);
        cr_assert_eq(count_lines(result.err), 1, "case %zu: %s", i, result.err);
    }
    struct sup_broker broker = sup_broker_start(catalog(), "16", NULL);
    const char *const *const refused[] = {
        SUP_ARGS("swctl", "warm", "none"),
        SUP_ARGS("swctl", "clear", "none"),
        SUP_ARGS("swctl", "resize", "900G"),
    };
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        result = sup_run(refused[i]);
        cr_assert_eq(result.exit_code, 1, "case %zu: %s", i, result.err);
        cr_assert_eq(count_lines(result.err), 1, "case %zu: %s", i, result.err);
    }
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

Test(swctl, says_why_its_output_did_not_arrive, .timeout = 60)
{
    struct sup_broker broker = sup_broker_start(catalog(), "16", NULL);
    const char *command = sup_format("%s/swctl stats >/dev/full", SW_BUILD_DIR);
    struct sup_result result = sup_run(SUP_ARGS("/bin/sh", "-c", command));
    cr_assert_eq(result.exit_code, 1);
    cr_assert_not_null(strstr(result.err, "standard output: No space left on device"), "%s",
                       result.err);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

Test(swctl, stats_hold_every_promised_key, .timeout = 60)
{
    static const char *const keys[] = {
        "arena_bytes",
        "reserved_bytes",
        "resident_bytes",
        "pinned_bytes",
        "huge_bytes",
        "chunks_resident",
        "clients",
        "hits",
        "misses",
        "coalesced",
        "evictions",
        "loads",
        "load_bytes",
        "load_errors",
        "digest_errors",
        "prefetches",
        "prefetch_used",
        "hit_rate",
        "revoked",
        "io_engine",
        "policy",
        "isolation",
        "uptime_s",
        "pid",
        "version",
        "protocol_errors",
        "descriptors_refused",
        "sessions_refused",
        "rate_limited",
        "slow_readers",
        "quota_revoked",
        "page_garbage",
        "ids_refused",
    };
    struct sup_broker broker = sup_broker_start(catalog(), "16", SUP_ARGS("--policy", "lru"));
    json_t *stats = sup_swctl(&broker, SUP_ARGS("stats"));
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        cr_assert_not_null(json_object_get(stats, keys[i]), "no %s", keys[i]);
    cr_assert_eq(json_integer_value(json_object_get(stats, "arena_bytes")), 16 << 20);
    cr_assert_str_eq(json_string_value(json_object_get(stats, "policy")), "lru");
    cr_assert_eq(json_integer_value(json_object_get(stats, "pid")), broker.pid);
    json_decref(stats);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

Test(swctl, prints_tables_without_colour_into_files, .timeout = 60)
{
    const char *models = catalog();
    (void)sup_synth(models, "tiny", SUP_ARGS("--layers", "1"));
    struct sup_broker broker = sup_broker_start(models, "16", NULL);
    cr_assert_not_null(strstr(sup_run_ok(SUP_ARGS("swctl", "warm", "tiny")), "loaded"));
    static const char *const verbs[] = {"ls", "models", "clients", "stats"};
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        const char *text = sup_run_ok(SUP_ARGS("swctl", verbs[i]));
        cr_assert_null(strchr(text, '\033'), "%s", text);
        cr_assert_gt(count_lines(text), 0);
    }
    cr_assert_not_null(strstr(sup_run_ok(SUP_ARGS("swctl", "ls")), "layer_0"));
    cr_assert_not_null(strstr(sup_run_ok(SUP_ARGS("swctl", "ls")), "resident"));
    cr_assert_eq(sup_broker_stop(&broker), 0);
}
