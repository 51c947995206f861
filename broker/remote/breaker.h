/* SPDX-License-Identifier: MIT */
/* A circuit breaker: whether to ask a server that has been failing. Pure: time is an argument
 * (CLOCK_MONOTONIC).
 *
 *              BREAKER_FAILURES in a row                 hold is over
 *     CLOSED ───────────────────────────▶ OPEN ───────────────────────────▶ HALF-OPEN
 *        ▲                                 ▲                                 │     │
 *        │                                 └──── the probe fails: hold × 2 ──┘     │
 *        └───────────────────────────────────────────── an answer comes ───────────┘
 *
 * Closed, it admits every operation; open, none; half-open, one at a time: the probe, whose first
 * answer admits others. Failures are forgotten only when an operation succeeds as a whole; before
 * that, one more opens the breaker again, for longer. Connecting alone is not a success.
 */
#ifndef SWB_REMOTE_BREAKER_H
#define SWB_REMOTE_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

#define BREAKER_FAILURES    3u
#define BREAKER_HOLD_MIN_NS UINT64_C(500000000)
#define BREAKER_HOLD_MAX_NS UINT64_C(8000000000)

enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF_OPEN };

/* Zeroed: closed. */
struct breaker {
    enum breaker_state state;
    bool probing;      /* HALF_OPEN: a probe is under way */
    unsigned failures; /* in a row */
    uint64_t hold_ns;  /* when it last opened */
    uint64_t retry_ns; /* OPEN: when it becomes half-open */
    uint64_t opened;   /* how often */
};

/* An open breaker whose hold is over becomes half-open. Returns the state. */
enum breaker_state breaker_state(struct breaker *breaker, uint64_t now_ns);
/* Whether breaker_admit would return true. */
bool breaker_would_admit(struct breaker *breaker, uint64_t now_ns);
/* Whether an operation may begin. Report its end by breaker_success, _failure or _abandon. */
bool breaker_admit(struct breaker *breaker, uint64_t now_ns);
void breaker_success(struct breaker *breaker);
/* Part of an operation was answered. */
void breaker_answer(struct breaker *breaker);
/* Also for a connection that cannot be made or was lost. */
void breaker_failure(struct breaker *breaker, uint64_t now_ns);
/* The operation ended without a verdict on the server. */
void breaker_abandon(struct breaker *breaker);

/* "closed", "open", "half-open" */
const char *breaker_state_name(enum breaker_state state);

#endif
