/* SPDX-License-Identifier: MIT */
/* Shared by the torture test's conductor (torture.c) and its workers (torture_worker.c): memory
 * inherited across fork, which outlives each of them, and the calls that start programs
 * (torture_program.c).
 */
#ifndef SWT_STRESS_TORTURE_H
#define SWT_STRESS_TORTURE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/manifest.h"

#define TORTURE_MODELS     2
#define TORTURE_SEATS      8u
#define TORTURE_TIMEOUT_MS 20000 /* the deadline that workers give to libsw */

/* The place of one worker; a killed worker is replaced. */
struct seat {
    _Atomic uint64_t busy_since_ms; /* when the current call began; 0: none */
    pid_t pid;                      /* written by the conductor; 0: empty */
};

struct board {
    struct seat seat[TORTURE_SEATS];
    _Atomic bool ending;                    /* workers finish, close and exit 0 */
    _Atomic uint64_t leases, bytes;         /* verified, and confirmed by the release */
    _Atomic uint64_t revoked;               /* leases whose release reported it */
    _Atomic uint64_t full;                  /* acquires that returned SW_EARENAFULL */
    _Atomic uint64_t absent;                /* try_acquires that found nothing */
    _Atomic uint64_t forks, hits, sessions; /* except for forks: of workers that were not killed */
    _Atomic uint64_t longest_ms;            /* the slowest acquire */
    _Atomic uint32_t failures;
    char failure
        [512]; /* text of the first failure, written by the process that raised failures from 0 */
};

struct torture {
    char socket[64];
    char catalog[64];
    const char *model[TORTURE_MODELS];
    struct swi_manifest manifest[TORTURE_MODELS];
    struct board *board;
};

/* xorshift64*; state must not be 0. */
uint64_t torture_random(uint64_t *state);
uint64_t torture_now_ms(void);
/* Prints the text; keeps the first. */
void torture_fail(struct board *board, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

void torture_pause_ms(uint64_t ms);
/* Starts build/PRESET/NAME as a child that dies with this process. out, err: descriptors for its
 * output; -1 for /dev/null. */
pid_t torture_start(const char *const argv[], int out, int err);
/* Returns its exit code or 128 + signal; kills it and returns -1 after a minute. */
int torture_finish(pid_t pid);
int torture_run(const char *const argv[], int out, int err);

/* Runs in a separate process: leases, verifies and releases until the board's ending is set.
 * Returns the exit code. */
int torture_work(const struct torture *torture, struct seat *seat, uint64_t seed);
/* Verifies every component of every model once; returns false after torture_fail. */
bool torture_read_all(const struct torture *torture);

#endif
