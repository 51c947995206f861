/* SPDX-License-Identifier: MIT */
/* What the torture test's conductor (torture.c) and its workers (torture_worker.c) share: memory
 * that outlives any of them, inherited across fork; and how programs are started
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
#define TORTURE_TIMEOUT_MS 20000 /* deadline of a worker's waits, as libsw is told */

/* One worker's place; whoever is killed there gets a successor. */
struct seat {
    _Atomic uint64_t busy_since_ms; /* when its present call began; 0: in none */
    pid_t pid;                      /* the conductor's; 0: nobody sits there */
};

struct board {
    struct seat seat[TORTURE_SEATS];
    _Atomic bool ending;                    /* finish what you do, close, exit 0 */
    _Atomic uint64_t leases, bytes;         /* verified and confirmed by their release */
    _Atomic uint64_t revoked;               /* leases whose release said so */
    _Atomic uint64_t full;                  /* acquires answered SW_EARENAFULL */
    _Atomic uint64_t absent;                /* try_acquires that found nothing */
    _Atomic uint64_t forks, hits, sessions; /* of workers that were not killed, but for forks */
    _Atomic uint64_t longest_ms;            /* of all acquires */
    _Atomic uint32_t failures;
    char failure[512]; /* the first one's text; written by whoever raised failures from 0 */
};

struct torture {
    char socket[64];
    char catalog[64];
    const char *model[TORTURE_MODELS];
    struct swi_manifest manifest[TORTURE_MODELS];
    struct board *board;
};

/* xorshift64*; state is not 0. */
uint64_t torture_random(uint64_t *state);
uint64_t torture_now_ms(void);
/* The first text is kept, all are printed. */
void torture_fail(struct board *board, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

void torture_pause_ms(uint64_t ms);
/* build/NAME as a child that dies with this process. out, err: descriptors for what it prints; -1:
 * /dev/null. */
pid_t torture_start(const char *const argv[], int out, int err);
/* Its exit code, 128 + signal, or -1 (and it is killed) after a minute. */
int torture_finish(pid_t pid);
int torture_run(const char *const argv[], int out, int err);

/* In a process of its own: leases, verifies, releases until the board says that it ends. Returns
 * the exit code. */
int torture_work(const struct torture *torture, struct seat *seat, uint64_t seed);
/* Once through every component of every model; returns false after torture_fail. */
bool torture_read_all(const struct torture *torture);

#endif
