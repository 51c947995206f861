/* SPDX-License-Identifier: MIT */
/* A circuit breaker: whether it is worth asking a server that has been failing. Pure: time is an
 * argument (CLOCK_MONOTONIC).
 *
 *              BREAKER_FAILURES in a row                 hold is over
 *     CLOSED ───────────────────────────▶ OPEN ───────────────────────────▶ HALF-OPEN
 *        ▲                                 ▲                                 │     │
 *        │                                 └──── the probe fails: hold × 2 ──┘     │
 *        └───────────────────────────────────────────── an answer comes ───────────┘
 *
 * Closed, whatever comes is admitted. Open, nothing is. Half-open, one operation at a time is
 * admitted: the probe, until its first answer lets others in. The failures are forgotten only when
 * an operation succeeds as a whole: before that, one more opens it again, for longer. A connection
 * that is made is no success by itself.
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
    bool probing;      /* HALF_OPEN: the probe is under way */
    unsigned failures; /* in a row */
    uint64_t hold_ns;  /* of the last time it opened */
    uint64_t retry_ns; /* OPEN: when it becomes half-open */
    uint64_t opened;   /* how often */
};

/* Lets time pass: an open one whose hold is over becomes half-open. Returns the state. */
enum breaker_state breaker_state(struct breaker *breaker, uint64_t now_ns);
/* Whether breaker_admit would say yes. */
bool breaker_would_admit(struct breaker *breaker, uint64_t now_ns);
/* Whether an operation may begin. Its end is told by one of the three below. */
bool breaker_admit(struct breaker *breaker, uint64_t now_ns);
void breaker_success(struct breaker *breaker);
/* Part of an operation was answered. */
void breaker_answer(struct breaker *breaker);
/* Also for what is no operation: a connection that cannot be made, or was lost. */
void breaker_failure(struct breaker *breaker, uint64_t now_ns);
/* It ended without saying anything about the server. */
void breaker_abandon(struct breaker *breaker);

/* "closed", "open", "half-open" */
const char *breaker_state_name(enum breaker_state state);

#endif
