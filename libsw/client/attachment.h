/* SPDX-License-Identifier: MIT */
/* One session's mappings: arena and index read-only, the client page writable.
 *
 *   current ──retire──▶ retired (held leases stay readable) ──park──▶ parked (arena unmapped)
 *
 * Why no reference count: the pins in the page say who reads the arena. A thread claims a pin and
 * then looks at `retired`; whoever retires stores `retired` and then looks at the pins. All four
 * accesses are sequentially consistent, so either the thread sees that the attachment is retired
 * and takes its pin back without touching the arena, or the pin is seen and the arena stays.
 *
 * That thread still writes to the page and reads the index, so their addresses must stay mapped for
 * as long as the client lives: parking puts empty private memory there, which costs address space
 * only. The struct itself lives as long as its client for the same reason.
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

/* The three descriptors of a WELCOME, in its order. */
enum swi_welcome_fd { SWI_FD_ARENA, SWI_FD_INDEX, SWI_FD_PAGE, SWI_WELCOME_FDS };

/* Maps and checks: lengths as fstat tells them, so that a wrong peer cannot cause a SIGBUS; magic,
 * version, layout. The descriptors stay the caller's. Errors: SW_EVERSION, SW_EPROTOCOL, -errno. */
int swi_attachment_create(const int fds[static SWI_WELCOME_FDS],
                          const struct swi_wire_welcome *welcome, struct swi_attachment **ret,
                          struct swi_error *error);

/* Whether it belongs to this very process. */
static inline bool swi_attachment_ours(const struct swi_attachment *attachment)
{
    return atomic_load_explicit(attachment->process_word, memory_order_relaxed) ==
           attachment->process;
}

/* From now on nobody begins a lease here. */
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
