/* SPDX-License-Identifier: MIT */
/* A circuit breaker. */
#include "remote/breaker.h"

enum breaker_state breaker_state(struct breaker *breaker, uint64_t now_ns)
{
    if (breaker->state == BREAKER_OPEN && now_ns >= breaker->retry_ns) {
        breaker->state = BREAKER_HALF_OPEN;
        breaker->probing = false;
    }
    return breaker->state;
}

bool breaker_would_admit(struct breaker *breaker, uint64_t now_ns)
{
    enum breaker_state state = breaker_state(breaker, now_ns);
    return state == BREAKER_CLOSED || (state == BREAKER_HALF_OPEN && !breaker->probing);
}

bool breaker_admit(struct breaker *breaker, uint64_t now_ns)
{
    if (!breaker_would_admit(breaker, now_ns))
        return false;
    breaker->probing = breaker->state == BREAKER_HALF_OPEN;
    return true;
}

/* An answer to a question from before it opened proves nothing: only the probe closes it. */
void breaker_success(struct breaker *breaker)
{
    if (breaker->state == BREAKER_OPEN)
        return;
    breaker->state = BREAKER_CLOSED;
    breaker->probing = false;
    breaker->failures = 0;
    breaker->hold_ns = 0;
}

void breaker_answer(struct breaker *breaker)
{
    if (breaker->state != BREAKER_HALF_OPEN)
        return;
    breaker->state = BREAKER_CLOSED;
    breaker->probing = false;
}

void breaker_failure(struct breaker *breaker, uint64_t now_ns)
{
    if (breaker_state(breaker, now_ns) == BREAKER_OPEN)
        return;
    breaker->failures++;
    if (breaker->state == BREAKER_CLOSED && breaker->failures < BREAKER_FAILURES)
        return;
    breaker->hold_ns = breaker->hold_ns == 0 ? BREAKER_HOLD_MIN_NS : breaker->hold_ns * 2;
    if (breaker->hold_ns > BREAKER_HOLD_MAX_NS)
        breaker->hold_ns = BREAKER_HOLD_MAX_NS;
    breaker->state = BREAKER_OPEN;
    breaker->probing = false;
    breaker->retry_ns = now_ns + breaker->hold_ns;
    breaker->opened++;
}

void breaker_abandon(struct breaker *breaker)
{
    breaker->probing = false;
}

const char *breaker_state_name(enum breaker_state state)
{
    static const char *const names[] = {"closed", "open", "half-open"};
    return names[state];
}
