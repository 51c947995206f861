/* SPDX-License-Identifier: MIT */
/* Points in time that waits end at: nanoseconds of CLOCK_MONOTONIC, or SWI_FOREVER.
 *
 * A wait also ends when it is called off: by the word that struct sw_wait names. The public
 * function that was given one puts its address into swi_called_off for as long as it runs. A wait
 * is the business of one thread from the public call down to poll, so the address goes beside the
 * call stack and not as a second parameter beside every deadline. While there is one, waits are cut
 * into slices and look at it between them; whoever waits in a loop asks swi_over.
 *
 * Beside it lies when the call itself has to end, for what waits on the way with a deadline of its
 * own.
 */
#ifndef SWI_CORE_DEADLINE_H
#define SWI_CORE_DEADLINE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define SWI_FOREVER  UINT64_MAX
#define SWI_SLICE_NS 10000000u

extern _Thread_local const int32_t *swi_called_off __attribute__((tls_model("initial-exec")));
extern _Thread_local uint64_t swi_call_ends
    __attribute__((tls_model("initial-exec"))); /* 0: not said */

static inline uint64_t swi_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline uint64_t swi_deadline_in(int timeout_ms)
{
    return timeout_ms < 0 ? SWI_FOREVER : swi_now() + (uint64_t)timeout_ms * 1000000u;
}

static inline bool swi_is_called_off(void)
{
    return swi_called_off && __atomic_load_n(swi_called_off, __ATOMIC_RELAXED);
}

/* Whether a wait until then is to end. */
static inline bool swi_over(uint64_t deadline)
{
    return swi_now() >= deadline || swi_is_called_off();
}

/* Where the next slice of a wait ends. */
static inline uint64_t swi_slice(uint64_t deadline)
{
    if (!swi_called_off)
        return deadline;
    uint64_t slice = swi_now() + SWI_SLICE_NS;
    return slice < deadline ? slice : deadline;
}

/* For poll, which may then have to be called again: milliseconds left, rounded up, 0 when over, -1
 * for ever. */
static inline int swi_deadline_ms(uint64_t deadline)
{
    uint64_t until = swi_slice(deadline);
    if (until == SWI_FOREVER)
        return -1;
    uint64_t now = swi_now();
    if (now >= until)
        return 0;
    uint64_t left = (until - now + 999999u) / 1000000u;
    return left > INT32_MAX ? INT32_MAX : (int)left;
}

/* The same for what takes a point in time. */
static inline struct timespec swi_deadline_time(uint64_t deadline)
{
    uint64_t until = swi_slice(deadline);
    if (until == SWI_FOREVER)
        return (struct timespec){.tv_sec = INT32_MAX};
    return (struct timespec){.tv_sec = (time_t)(until / 1000000000u),
                             .tv_nsec = (long)(until % 1000000000u)};
}

/* Initialises a condition variable on CLOCK_MONOTONIC, for pthread_cond_timedwait until
 * swi_deadline_time. Returns 0 or -errno. */
int swi_condition_init(pthread_cond_t *condition);

#endif
