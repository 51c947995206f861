/* SPDX-License-Identifier: MIT */
/* Helpers for tests with real processes: a temporary directory, programs run to their end with
 * their output captured, a broker in the background.
 *
 * For Criterion tests: a helper that fails makes the test fail at once. Returned strings and output
 * are borrowed and live until the test's process ends. Everything that a test starts ends with it,
 * even if the test crashes or times out: children get SIGKILL, and a watcher process removes the
 * directory.
 *
 * A program is named by its target ("swctl" is build/PRESET/swctl) or by a path, which has a slash.
 */
#ifndef SWT_SUPPORT_SUPPORT_H
#define SWT_SUPPORT_SUPPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <jansson.h>

/* ---- files ----------------------------------------------------------------------------------- */

/* The test's temporary directory under /tmp, created by the first call. */
const char *sup_dir(void);
/* "sup_dir()/…" */
const char *sup_path(const char *format, ...) __attribute__((format(printf, 1, 2)));
const char *sup_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

void sup_mkdir(const char *path);
void sup_write(const char *path, const void *data, size_t size);
void sup_write_text(const char *path, const char *text);
/* Returns the whole file, followed by a zero byte. */
char *sup_read(const char *path, size_t *ret_size);
bool sup_exists(const char *path);
/* cp -a; rm -r. */
void sup_copy_tree(const char *from, const char *to);
void sup_remove_tree(const char *path);
/* The path of a published model or text that only adds to the test data in the repository: name in
 * the directory $SW_TEST_DATA (default: "shared" beside the clone). Skips the test if it is
 * missing. */
const char *sup_test_data(const char *name);
/* The number of names in a directory, without "." and "..". */
size_t sup_count_entries(const char *path);
/* Mounts a /dev/shm of this size ("8M") that only the test's process and its children see. Skips
 * the test if the machine does not permit it. */
void sup_private_dev_shm(const char *size);

/* ---- programs -------------------------------------------------------------------------------- */

/* argv from words: SUP_ARGS("swctl", "ping") */
#define SUP_ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})

struct sup_result {
    int exit_code; /* 128 + the signal's number when one ended it */
    char *out, *err;
    size_t out_size, err_size;
};

/* Runs a program to its end. The test fails if that takes more than two minutes. */
struct sup_result sup_run(const char *const argv[]);
struct sup_result sup_run_input(const char *const argv[], const void *input, size_t input_size);
/* The same; the test fails and shows the program's messages unless it exits 0. Returns its stdout.
 */
char *sup_run_ok(const char *const argv[]);

/* Starts a program in the background. out_path, err_path: files for its output; NULL for /dev/null.
 */
pid_t sup_spawn(const char *const argv[], const char *out_path, const char *err_path);
/* Returns its exit code as in sup_result, or -1 if it still runs after timeout_ms. */
int sup_wait(pid_t pid, int timeout_ms);

/* Calls check every few milliseconds until it returns true or the time is over; returns its last
 * result. */
bool sup_until(bool (*check)(void *context), void *context, int timeout_ms);
void sup_sleep_ms(int ms);

/* ---- broker ---------------------------------------------------------------------------------- */

struct sup_broker {
    pid_t pid;
    const char *socket;
    const char *log; /* the file that holds its stderr */
};

/* Starts swbrokerd on a catalog (NULL: none) and waits until swctl ping succeeds. extra: more
 * options, or NULL. Sets $SW_SOCKET for this test. Passes $SW_TEST_IO_ENGINE, if set, as
 * --io-engine. */
struct sup_broker sup_broker_start(const char *chunks_dir, const char *cache_size,
                                   const char *const extra[]);
/* Sends SIGTERM and waits. Returns the exit code; a second call does nothing and returns 0. */
int sup_broker_stop(struct sup_broker *broker);
void sup_broker_kill(struct sup_broker *broker);

/* Runs swctl --json with these arguments, which must exit 0 and print one JSON object. */
json_t *sup_swctl(const struct sup_broker *broker, const char *const words[]);
/* Returns one integer of swctl stats --json. */
int64_t sup_stat(const struct sup_broker *broker, const char *key);

/* Writes a random model, swchunk synth bert-tiny, to catalog/name and returns its path. extra:
 * options such as "--layers", "4", or NULL. */
const char *sup_synth(const char *catalog, const char *name, const char *const extra[]);

#endif
