/* SPDX-License-Identifier: MIT */
/* All sessions of the broker. */
#include "session/sessions.h"

void sessions_init(struct sessions *sessions)
{
    TAILQ_INIT(&sessions->connections);
    TAILQ_INIT(&sessions->doomed);
}

uint32_t sessions_limit(const struct sessions *sessions)
{
    uint32_t stored = fdstore_sessions(sessions->fdstore);
    uint32_t limit = sessions->options->max_sessions;
    return stored < limit ? stored : limit;
}

uint32_t sessions_free_number(struct sessions *sessions)
{
    uint32_t limit = sessions->options->max_sessions;
    for (uint32_t i = 1; i <= limit; i++) {
        uint32_t number = (sessions->last_number + i) % limit;
        if (!sessions->by_number[number])
            return sessions->last_number = number;
    }
    return SWI_SESSIONS;
}
