/* SPDX-License-Identifier: MIT */
/* A restart that clients do not notice: what a broker leaves with the service manager, and what its
 * successor does with it.
 *
 *   broker                       manager (pid 1)                 successor
 *   ──────                       ───────────────                 ─────────
 *   start: arena, index, ledger,
 *          listening socket ───▶ kept
 *   HELLO: page and socket  ───▶ kept ──barrier──▶ WELCOME
 *   end of a session ──────────▶ forgotten (or by hang-up)
 *   SIGTERM or death             starts the next ──────────────▶ checks, rebuilds, goes on
 *
 * What is stored, under which name: handover/fdstore.h. The manager keeps the objects alive, and with them the
 * connections: a client sees nothing but that answers take longer. What it sends meanwhile waits in
 * its socket; its leases, hits included, need no broker.
 *
 * What a successor checks. Ledger, index and arena, one of each: seals, length, magic, version,
 * layout hash; the same instance and arena length in ledger and index; every chunk inside of the
 * memory, none over another or over a quarantine. Each session: one page and one socket under a
 * name with its number and the epoch that the index has; the inodes that the ledger names; seals,
 * length and header of the page; credentials of the peer, anew, and its process alive. What is not
 * in order is dropped, not guessed: of a session, that session (its socket is shut, its epoch
 * grows, so that its client learns from its next release that its leases are void); of the three,
 * all of it, and the broker starts empty. What fails for want of something else (the loader that was
 * asked for, memory, descriptors) says nothing of them: that start fails, and they stay.
 *
 * What it rebuilds, and from what.
 *   - Who has which chunk id: the ledger names revisions, ordinals; a model of that name whose
 *     manifest has the digests that the entries have gets its old incarnation and ids. A model that
 *     was replaced meanwhile gets new ones; those who had the old one open hear SW_ESTALE, and its
 *     chunks leave when nobody holds them.
 *   - The allocator's runs, the policy's residents: the entries that are not ABSENT.
 *   - Recency, positions of passes, pins, hits: the pages.
 *   - Models that a session has open, loads that it waits for: its record in the ledger. Loads are
 *     asked for again. A message that was being handled is still in the socket (session.h), and is
 *     handled once more; when that ends a broker again, its session is dropped.
 *   - What is reserved, which blocks are huge: the ledger.
 *   Lost: operators' connections and their warm-ups; answers that a client had not taken (such a
 *   session is dropped); counters.
 *
 * When its predecessor stopped in order (header.clean), no read was under way: hits go on at once,
 * and every chunk is hashed behind them. When it was killed, memory may be wrong anywhere: every
 * entry is marked EVICTING before anything else, which takes nothing from those who hold a lease (a
 * release compares generation and epoch, not state) and gives no new one. A client that wants the
 * chunk asks, and is answered when it was hashed. So "served" means a lease that begins after the
 * adoption, and none of these sees a byte that was not hashed since the crash. Leases from before
 * go on, as they did while there was no broker; if their chunk proves damaged its generation grows,
 * and their release says SW_EREVOKED. Ranges that were being read into: cache/adopt.c.
 *
 * A crash at any point: each record of the ledger counts or does not (ledger.h); a session counts
 * from its welcome on; an adoption that is cut off is one that was not clean. Generations and
 * epochs only grow, since the index goes on. What ends LEDGER_TRIES_MAX successors in a row, each
 * before it has lived for half a second and hashed all that it took over, is given up.
 *
 * When it starts empty, memory may be short: the manager lets go first (waited for), clients when
 * they have come to this broker. So it begins with what there is, be it nothing.
 */
#ifndef SWB_DAEMON_TAKEOVER_H
#define SWB_DAEMON_TAKEOVER_H

#include "daemon/broker.h"

/* From the store or new; and into the store what is new. The ledger comes with the socket. */
int takeover_listener(struct broker *broker, struct swi_error *error);
/* broker->settled afterwards: it is new, and there is nothing to resume. */
int takeover_memory(struct broker *broker, const struct cache_options *options,
                    struct swi_error *error);
/* After the first scan of the catalog: revisions, sessions, then the rest. */
int takeover_resume(struct broker *broker, struct swi_error *error);

#endif
