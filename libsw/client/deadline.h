/* Points in time that waits end at: nanoseconds of CLOCK_MONOTONIC, or SWI_FOREVER. */
#ifndef SWI_DEADLINE_H
#define SWI_DEADLINE_H

#include <stdint.h>
#include <time.h>

#define SWI_FOREVER UINT64_MAX

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

/* For poll: milliseconds left, rounded up, 0 when over, -1 for ever. */
static inline int swi_deadline_ms(uint64_t deadline)
{
    if (deadline == SWI_FOREVER)
        return -1;
    uint64_t now = swi_now();
    if (now >= deadline)
        return 0;
    uint64_t left = (deadline - now + 999999u) / 1000000u;
    return left > INT32_MAX ? INT32_MAX : (int)left;
}

static inline struct timespec swi_deadline_time(uint64_t deadline)
{
    if (deadline == SWI_FOREVER)
        return (struct timespec){.tv_sec = INT32_MAX};
    return (struct timespec){.tv_sec = (time_t)(deadline / 1000000000u),
                             .tv_nsec = (long)(deadline % 1000000000u)};
}

#endif
