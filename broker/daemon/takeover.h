/* SPDX-License-Identifier: MIT */
/* A restart that clients do not notice: what a broker leaves in the fd store, and what its successor
 * does with it.
 *
 *   broker                       manager (pid 1)                 successor
 *   ──────                       ───────────────                 ─────────
 *   start: arena, index, ledger,
 *          listening socket ───▶ stored
 *   HELLO: page and socket  ───▶ stored ──barrier──▶ WELCOME
 *   end of a session ──────────▶ dropped (also on hang-up)
 *   SIGTERM or death             starts the next ──────────────▶ checks, rebuilds, goes on
 *
 * What is stored under which name: handover/fdstore.h. The manager keeps the objects alive, and with
 * them the connections: a client only notices that answers take longer. What it sends meanwhile
 * waits in its socket; its leases, including hits, need no broker.
 *
 * What a successor checks. There is one ledger, one index and one arena, and their seals, length,
 * magic, version and layout hash are right. Ledger and index have the same instance and arena
 * length. Every chunk lies inside the memory and overlaps no other chunk and no quarantine. For each
 * session there is one page and one socket, under a name with its number and the epoch that the
 * index has; their inodes are those in the ledger; the page has the right seals, length and header;
 * the peer's credentials match and its process is alive.
 *
 * What fails a check is dropped, not guessed. A session is dropped alone: its socket is shut down
 * and its epoch grows, so that the client learns at its next release that its leases are void. If
 * ledger, index or arena fails, all three are dropped and the broker starts empty. A failure for
 * another reason (the requested loader, memory, descriptors) says nothing about them: that start
 * fails, and they stay.
 *
 * What it rebuilds, and from what.
 *   - Chunk ids: the ledger names revisions and ordinals. A model of that name whose manifest has
 *     the digests of the entries gets its old incarnation and ids. A model that was replaced
 *     meanwhile gets new ones; sessions that have the old one open hear SW_ESTALE, and its chunks
 *     leave once nobody holds them.
 *   - The allocator's runs and the policy's residents: from entries that are not ABSENT.
 *   - Recency, positions of passes, pins and hits: from the pages.
 *   - A session's open models and pending loads: from its record in the ledger. Loads are requested
 *     again. A message that was being handled is still in the socket (session.h) and is handled once
 *     more; if that ends a broker again, the session is dropped.
 *   - Reserved memory and huge blocks: from the ledger.
 *   Lost: operators' connections and their jobs; answers that a client had not taken (such a session
 *   is dropped); counters.
 *
 * If its predecessor stopped in order (header.clean), no read was under way: hits go on at once, and
 * every chunk is hashed in the background. If it was killed, memory may be wrong anywhere: before
 * anything else, every entry is marked EVICTING, which revokes no lease (a release compares
 * generation and epoch, not the state) and grants no new one. A client that wants the chunk sends a
 * request, which is answered once the chunk is hashed. So no lease granted after the takeover shows
 * a byte that was not hashed since the crash. Older leases go on, as they did while there was no
 * broker; if their chunk proves damaged, its generation grows and their release returns
 * SW_EREVOKED. Ranges that were being read into: cache/adopt.c.
 *
 * A crash at any point: each record of the ledger counts or does not (ledger.h); a session counts
 * from its welcome on; an interrupted takeover is not clean. Generations and epochs only grow, since
 * the index goes on. If LEDGER_TRIES_MAX successors in a row end before they have run for half a
 * second and hashed all that they took over, the next one starts empty.
 *
 * When a broker starts empty, memory may be short: the manager lets go of the old arena first
 * (waited for), clients only when they reconnect. So the broker starts with the memory there is,
 * even if it is none.
 */
#ifndef SWB_DAEMON_TAKEOVER_H
#define SWB_DAEMON_TAKEOVER_H

#include "daemon/broker.h"

/* The listening socket: from the fd store, or new and then stored. Takes the ledger from the store,
 * too. */
int takeover_listener(struct broker *broker, struct swi_error *error);
/* Arena, index and ledger: from the fd store, or new and then stored. New ones set broker->settled:
 * there is nothing to resume. */
int takeover_memory(struct broker *broker, const struct cache_options *options,
                    struct swi_error *error);
/* After the first scan of the catalog: takes over revisions, sessions, then the rest. */
int takeover_resume(struct broker *broker, struct swi_error *error);

#endif
