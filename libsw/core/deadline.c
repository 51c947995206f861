/* SPDX-License-Identifier: MIT */
/* The thread-local state of waits, and condition variables on the clock of deadlines. */
#include "core/deadline.h"

_Thread_local const int32_t *swi_cancelled;
_Thread_local uint64_t swi_call_ends;

int swi_condition_init(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    int result = pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
    return -result;
}
