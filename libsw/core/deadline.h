/* SPDX-License-Identifier: MIT */
/* Deadlines: nanoseconds of CLOCK_MONOTONIC, or SWI_FOREVER.
 *
 * A wait also ends when it is cancelled through the word in struct sw_wait. The public function
 * that receives the word stores its address in the thread-local swi_cancelled while it runs: a
 * wait happens in one thread, from the public call down to poll, so the address need not be passed
 * along with every deadline. While the address is set, waits run in slices and check the word
 * between them; loops that wait call swi_over.
 *
 * swi_call_ends is the deadline of the public call, for waits on the way that have their own.
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

extern _Thread_local const int32_t *swi_cancelled __attribute__((tls_model("initial-exec")));
extern _Thread_local uint64_t swi_call_ends
    __attribute__((tls_model("initial-exec"))); /* 0: none */

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

static inline bool swi_is_cancelled(void)
{
    return swi_cancelled && __atomic_load_n(swi_cancelled, __ATOMIC_RELAXED);
}

/* Whether a wait with this deadline must end. */
static inline bool swi_over(uint64_t deadline)
{
    return swi_now() >= deadline || swi_is_cancelled();
}

/* The end of the next slice of a wait. */
static inline uint64_t swi_slice(uint64_t deadline)
{
    if (!swi_cancelled)
        return deadline;
    uint64_t slice = swi_now() + SWI_SLICE_NS;
    return slice < deadline ? slice : deadline;
}

/* The timeout for poll, which may have to be called again: milliseconds left, rounded up; 0 when
 * over; -1 without a deadline. */
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

/* The same as an absolute time. */
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
