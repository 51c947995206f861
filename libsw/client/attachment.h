/* SPDX-License-Identifier: MIT */
/* The mappings of one session: arena and index read-only, the client page writable.
 *
 *   current ──retire──▶ retired (held leases stay readable) ──park──▶ parked (arena unmapped)
 *
 * There is no reference count, because the pins in the page tell who reads the arena. A thread
 * claims a pin and then loads `retired`; the retiring thread stores `retired` and then loads the
 * pins. All four accesses are sequentially consistent, so either the claiming thread sees that the
 * attachment is retired and gives back its pin without touching the arena, or the retiring thread
 * sees the pin and the arena stays.
 *
 * The claiming thread still writes to the page and reads the index, so these addresses must stay
 * mapped as long as the client lives: parking replaces them with empty private memory, which costs
 * only address space. For the same reason the struct lives as long as its client.
 *
 * Not here: sockets, and when to retire (session.c).
 */
#ifndef SWI_CLIENT_ATTACHMENT_H
#define SWI_CLIENT_ATTACHMENT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "core/error.h"
#include "core/lease.h"
#include "core/wire.h"

struct swi_attachment {
    const _Atomic uint64_t *process_word; /* differs from process in a forked child */
    uint64_t process;
    struct swi_page *page;
    const struct swi_index *index;
    const uint8_t *arena;
    uint64_t arena_bytes;
    uint64_t epoch;
    uint32_t session;
    _Atomic uint32_t retired;
    bool parked; /* under the client's lock, as all below */
    SLIST_ENTRY(swi_attachment) link;
};

/* The three descriptors of a WELCOME, in this order. */
enum swi_welcome_fd { SWI_FD_ARENA, SWI_FD_INDEX, SWI_FD_PAGE, SWI_WELCOME_FDS };

/* Maps the descriptors and checks their lengths with fstat, so that a faulty peer cannot cause a
 * SIGBUS, and magic, version and layout. The descriptors stay the caller's. Errors: SW_EVERSION,
 * SW_EPROTOCOL, -errno. */
int swi_attachment_create(const int fds[static SWI_WELCOME_FDS],
                          const struct swi_wire_welcome *welcome, struct swi_attachment **ret,
                          struct swi_error *error);

/* Whether it belongs to this process. */
static inline bool swi_attachment_ours(const struct swi_attachment *attachment)
{
    return atomic_load_explicit(attachment->process_word, memory_order_relaxed) ==
           attachment->process;
}

/* After this, no lease begins here. */
void swi_attachment_retire(struct swi_attachment *attachment);
static inline bool swi_attachment_retired(const struct swi_attachment *attachment)
{
    return atomic_load_explicit(&attachment->retired, memory_order_seq_cst) != 0;
}

/* Unmaps the arena of a retired attachment unless something is pinned. Returns whether it is
 * parked. */
bool swi_attachment_park(struct swi_attachment *attachment);

/* In a forked child: gives up what the child inherited. The page and the index were never mapped in
 * it and their addresses may be somebody else's by now. */
void swi_attachment_disown(struct swi_attachment *attachment);

/* Unmaps everything. No thread may be using it. */
void swi_attachment_destroy(struct swi_attachment *attachment);

#endif
