/* SPDX-License-Identifier: MIT */
/* What tests with real processes share: a directory that vanishes with the test, programs run to
 * their end with their output captured, a broker in the background.
 *
 * For Criterion tests: a helper that cannot do its work fails the test there and then. Strings and
 * output that these functions return belong to them and live until the test's process ends.
 * Whatever a test starts here dies with it, also when the test crashes or runs into its timeout:
 * children get SIGKILL when the test's process ends, and a watcher removes the directory.
 *
 * Programs are named as they are built ("swctl" is build/PRESET/swctl); a name with a slash is a
 * path.
 */
#ifndef SWT_SUPPORT_SUPPORT_H
#define SWT_SUPPORT_SUPPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <jansson.h>

/* ---- files ----------------------------------------------------------------------------------- */

/* This test's own directory under /tmp; made at the first call. */
const char *sup_dir(void);
/* "sup_dir()/…" */
const char *sup_path(const char *format, ...) __attribute__((format(printf, 1, 2)));
const char *sup_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

void sup_mkdir(const char *path);
void sup_write(const char *path, const void *data, size_t size);
void sup_write_text(const char *path, const char *text);
/* The whole file and a zero after it. */
char *sup_read(const char *path, size_t *ret_size);
bool sup_exists(const char *path);
/* cp -a; rm -r. */
void sup_copy_tree(const char *from, const char *to);
void sup_remove_tree(const char *path);
/* The path of a published model or text that only adds to the test data in the repository: name in the
 * directory $SW_TEST_DATA (default: "shared" beside the clone). Skips the test if it is missing. */
const char *sup_test_data(const char *name);
/* Number of names in a directory, "." and ".." apart. */
size_t sup_count_entries(const char *path);
/* A /dev/shm of this size ("8M"), seen by this test's process and its children alone. Skips the test
 * where that is not allowed. */
void sup_private_dev_shm(const char *size);

/* ---- programs -------------------------------------------------------------------------------- */

/* argv from words: SUP_ARGS("swctl", "ping") */
#define SUP_ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})

struct sup_result {
    int exit_code; /* 128 + the signal's number when one ended it */
    char *out, *err;
    size_t out_size, err_size;
};

/* Runs a program to its end. Still running after two minutes: the test fails. */
struct sup_result sup_run(const char *const argv[]);
struct sup_result sup_run_input(const char *const argv[], const void *input, size_t input_size);
/* The same, and the test fails, showing the program's messages, unless it exits 0. Returns its
 * stdout. */
char *sup_run_ok(const char *const argv[]);

/* Starts a program in the background; out_path and err_path (NULL: /dev/null) receive what it
 * writes. */
pid_t sup_spawn(const char *const argv[], const char *out_path, const char *err_path);
/* Its exit code as in sup_result, or -1 when it is still running after the time. */
int sup_wait(pid_t pid, int timeout_ms);

/* Asks every few milliseconds until check says yes or the time is over. Returns the last answer. */
bool sup_until(bool (*check)(void *context), void *context, int timeout_ms);
void sup_sleep_ms(int ms);

/* ---- broker ---------------------------------------------------------------------------------- */

struct sup_broker {
    pid_t pid;
    const char *socket;
    const char *log; /* the file that holds its stderr */
};

/* Starts swbrokerd on a catalog (NULL: none) and waits until swctl ping succeeds. extra: more options, or NULL.
 * Sets $SW_SOCKET for this test. $SW_TEST_IO_ENGINE, when set, becomes --io-engine. */
struct sup_broker sup_broker_start(const char *chunks_dir, const char *cache_size,
                                   const char *const extra[]);
/* SIGTERM, and wait. Returns its exit code; a second call does nothing and returns 0. */
int sup_broker_stop(struct sup_broker *broker);
void sup_broker_kill(struct sup_broker *broker);

/* swctl --json with these words; the test fails unless swctl exits 0 and prints one JSON object. */
json_t *sup_swctl(const struct sup_broker *broker, const char *const words[]);
/* One integer of swctl stats --json. */
int64_t sup_stat(const struct sup_broker *broker, const char *key);

/* Makes a random model with swchunk synth bert-tiny at catalog/name and returns its path. extra:
 * options such as
 * "--layers", "4", or NULL. */
const char *sup_synth(const char *catalog, const char *name, const char *const extra[]);

#endif
