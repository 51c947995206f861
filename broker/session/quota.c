/* SPDX-License-Identifier: MIT */
/* What clients pin, and how much of it they may. */
#include "session/quota.h"

#include <stdio.h>

#include "core/lease.h"
#include "session/attach.h"

struct session_pins session_count_pins(const struct session *session)
{
    const struct swi_index *index = cache_index(session->sessions->cache);
    uint32_t ids[SWI_SLOTS];
    uint32_t bad;
    uint32_t count = swi_page_list_pins(session->page, ids, &bad);
    struct session_pins pins = {.garbage = bad > 0 || !swi_page_compatible(session->page)};
    for (uint32_t i = 0; i < count; i++) {
        bool again = false;
        for (uint32_t j = 0; j < i && !again; j++)
            again = ids[j] == ids[i];
        if (again)
            continue;
        struct swi_entry_value entry = swi_entry_get(index, ids[i]);
        if (entry.state == SWI_ABSENT || entry.state == SWI_LOADING)
            continue; /* the pin waits for its chunk and holds no bytes yet */
        pins.chunks++;
        pins.bytes += entry.bytes;
    }
    return pins;
}

static uint64_t pin_quota(const struct sessions *sessions)
{
    if (sessions->options->max_pinned_bytes)
        return sessions->options->max_pinned_bytes;
    struct cache_stats stats;
    cache_get_stats(sessions->cache, &stats);
    return stats.arena_bytes / 2;
}

/* A pass needs one chunk and the next, however small the arena: two are always allowed. A session
 * over its quota in two consecutive checks is not just moving from one layer to the next. */
static void check_quota(struct session *session, const struct session_pins *pins, uint64_t quota)
{
    bool over = pins->chunks > 2 && pins->bytes > quota;
    if (over && session->over_quota) {
        session->sessions->counters->quota_revoked++;
        char text[200];
        (void)snprintf(text, sizeof text,
                       "it pinned %u chunks (%llu MB), more than its quota of %llu MB "
                       "(--max-pinned); its leases are revoked",
                       pins->chunks, (unsigned long long)pins->bytes >> 20,
                       (unsigned long long)quota >> 20);
        session_refuse(session, 0, SW_EQUOTA, text);
    }
    session->over_quota = over;
}

void sessions_check(struct sessions *sessions)
{
    if (sessions->attached_count == 0)
        return;
    uint64_t quota = pin_quota(sessions);
    struct session *session, *next;
    for (session = TAILQ_FIRST(&sessions->connections); session; session = next) {
        next = TAILQ_NEXT(session, link); /* refusing removes it from the list */
        if (session->state != SESSION_ATTACHED)
            continue;
        struct session_pins pins = session_count_pins(session);
        (void)session_hits(session);
        if ((pins.garbage || session->hits_garbage) && !session->garbage_seen) {
            session->garbage_seen = true;
            sessions->counters->page_garbage++;
            const struct log_about about = session_about(session, LOG_ID_REFUSED);
            log_peer_about(&about, "%s: its client page is corrupt; its valid pins still count",
                           session_describe(session));
        }
        check_quota(session, &pins, quota);
    }
}
