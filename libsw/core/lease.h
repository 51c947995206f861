/* SPDX-License-Identifier: MIT */
/* The lease protocol. All atomic accesses to shared memory in this project are in lease.c.
 *
 * The property: while a client holds a pin on a chunk that it saw resident, the broker does not
 * reuse the chunk's range. The argument is Dekker's: the client stores its pin and then loads the
 * entry's word; the broker stores EVICTING into the word and then loads all pins. All four accesses
 * are sequentially consistent and thus have one total order, in which the other side's load sees
 * the store that comes first: either the client sees EVICTING and does not touch the range, or the
 * broker sees the pin and restores the word.
 *
 * Tags. Each access in lease.c carries SYNC[tag]; this table gives its order, its counterpart, and
 * what breaks if it is weaker. A test compares table and code.
 *
 * | tag         | access                          | order    | pairs with          | if weakened |
 * |-------------|---------------------------------|----------|---------------------|-------------|
 * | pin-claim   | CAS slot.pin 0 → id+1           | seq_cst  | evict-scan          | the broker misses a pin that the client believes in: bytes change under a reader |
 * | pin-look    | load entry.word                 | seq_cst  | evict-mark          | the client sees RESIDENT after the broker began to evict: the same |
 * | evict-mark  | store entry.word EVICTING       | seq_cst  | pin-look            | as pin-look |
 * | evict-scan  | load slot.pin                   | seq_cst  | pin-claim, pin-drop | as pin-claim; as acquire: the broker overwrites before the reader's last loads are done |
 * | pin-drop    | store slot.pin 0                | release  | evict-scan          | the reader's loads sink below the release: it reads the next chunk's bytes |
 * | publish     | store entry.word RESIDENT       | seq_cst  | pin-look            | as release: the client sees RESIDENT before the bytes and the offset. seq_cst keeps it ordered with evict-mark in one line of stores |
 * | place       | store offset, bytes, identity   | relaxed  | see                 | made visible by publish |
 * | see         | load offset, bytes, identity    | relaxed  | place               | ordered by pin-look and recheck |
 * | recheck     | load entry.word                 | acquire  | evict-mark, begin, drop | after a revocation a changed generation would go unseen |
 * | begin       | store entry.word LOADING        | seq_cst  | recheck             | a revoked reader would not see that its range was reused |
 * | drop        | store entry.word ABSENT, generation + 1 | seq_cst | recheck   | a reader of damaged bytes would not see that they were dropped |
 * | revoke      | add 1 to index.epoch            | seq_cst  | epoch-check         | the broker ignores pins whose owner believes that it still holds them |
 * | epoch-check | load index.epoch                | acquire  | revoke              | as revoke |
 * | tick        | add to / load index.tick        | relaxed  | stamp, trace-switch | nothing: a hint |
 * | stamp       | load/store page.use             | relaxed  | tick                | nothing: a hint |
 * | hit-count   | load/store slot.hits            | relaxed  | hit-sum             | nothing: only the slot's holder writes it |
 * | hit-sum     | load slot.hits                  | relaxed  | hit-count           | nothing: a statistic |
 * | cursor-put  | store cursor fields             | relaxed  | cursor-get          | nothing: a hint, which the broker bounds |
 * | cursor-get  | load cursor fields              | relaxed  | cursor-put          | nothing |
 * | trace-switch | set or clear a bit of index.tick | relaxed | tick               | nothing: clients start or stop a moment later |
 * | trace-claim | add 1 to page.trace_head        | relaxed  | trace-head          | nothing: the place written in a record is what counts |
 * | trace-head  | load page.trace_head            | relaxed  | trace-claim         | nothing: it limits how far to read |
 * | trace-put   | store a record's other fields   | release  | trace-get           | the broker takes fields of a later record for those of this one: it would not see the value that trace-done stored first |
 * | trace-get   | load a record's other fields    | acquire  | trace-put           | as trace-put |
 * | trace-done  | CAS record.what: begun, at last done | release | trace-look      | the broker reads fields before they are written |
 * | trace-peek  | load record.what before the first CAS | relaxed | trace-done         | nothing: the CAS checks again |
 * | trace-look  | load record.what, before and after the fields | acquire | trace-done | as trace-done |
 *
 * The trace is a ring of small seqlocks whose sequence is the record's place. A thread that sleeps
 * in the middle of a record while the ring wraps around may corrupt the fields of the newer record:
 * the broker then reads one wrong record, which is harmless because it never trusts them.
 *
 * An acquire fence in lease.c (SYNC[recheck]) orders data reads before recheck.
 *
 * ARM: C11 seq_cst operations compile to LDAR/STLR and LDAXR/STLXR, which are sequentially
 * consistent with each other, so the same proof holds. pin-drop is STLR and evict-scan is LDAR,
 * which order the reader's loads before the broker overwrites the range; DMA starts only after a
 * system call.
 *
 * Thread safety: any thread of the client may call client functions. Only the broker's loop calls
 * broker functions.
 */
#ifndef SWI_CORE_LEASE_H
#define SWI_CORE_LEASE_H

#include <stdbool.h>

#include "core/layout.h"

/* ---- client side ----------------------------------------------------------------------------- */

/* Claims a free slot for a chunk, starting the search at *hint, and updates *hint.
 * Returns the slot, or SW_EBUSY. */
int swi_pin_claim(struct swi_page *page, uint32_t chunk, uint32_t *hint);

/* Frees a slot, after the last read of the chunk. */
void swi_pin_drop(struct swi_page *page, uint32_t slot);

struct swi_sight {
    uint64_t generation;
    uint64_t offset; /* checked: offset + bytes fits the arena, 4096-aligned */
    uint64_t bytes;
};

enum swi_look {
    SWI_LOOK_RESIDENT = 0, /* *ret is filled in; valid while the pin is held */
    SWI_LOOK_ABSENT =
        1, /* absent, loading or being evicted: ask the broker, keep the pin, look again */
    SWI_LOOK_STALE = 2,   /* the chunk id now belongs to another revision */
    SWI_LOOK_REVOKED = 3, /* the session's epoch differs from the caller's */
    SWI_LOOK_BROKEN = 4,  /* the entry points outside the arena: the index cannot be trusted */
};
/* Looks at a chunk whose pin is claimed. */
enum swi_look swi_pin_look(const struct swi_index *index, uint32_t session, uint64_t epoch,
                           uint32_t chunk, uint64_t incarnation, struct swi_sight *ret);

/* Whether the chunk is unchanged since swi_pin_look and the session is not revoked. Call it after
 * the last read and before swi_pin_drop. */
bool swi_pin_valid(const struct swi_index *index, uint32_t session, uint64_t epoch, uint32_t chunk,
                   uint64_t generation);

/* Records a hit: the slot's counter, the chunk's last use and its number of uses. */
void swi_page_note_hit(struct swi_page *page, const struct swi_index *index, uint32_t slot,
                       uint32_t chunk);
/* Records a use after a miss: the same without the hit counter. */
void swi_page_note_use(struct swi_page *page, const struct swi_index *index, uint32_t chunk);

struct swi_cursor_value {
    uint64_t incarnation, pass, step_ns;
    uint32_t component;
    uint32_t tick;
};
void swi_cursor_put(struct swi_page *page, const struct swi_index *index, unsigned lane,
                    const struct swi_cursor_value *value);

uint64_t swi_session_epoch(const struct swi_index *index, uint32_t session);

/* While the broker records a trace, swi_page_note_hit, swi_page_note_use and swi_cursor_put also
 * add a record to the page's trace. */

/* ---- both sides ------------------------------------------------------------------------------ */

void swi_page_init(struct swi_page *page);
bool swi_index_compatible(const struct swi_index *index);
bool swi_page_compatible(const struct swi_page *page);
uint64_t swi_page_hits(const struct swi_page *page); /* sum over all slots */
uint64_t swi_slot_hits(const struct swi_page *page, uint32_t slot);
struct swi_cursor_value swi_cursor_get(const struct swi_page *page, unsigned lane);

struct swi_entry_value {
    enum swi_state state;
    uint64_t generation, offset, bytes, incarnation;
    uint64_t digest_low, digest_high;
};
struct swi_entry_value swi_entry_get(const struct swi_index *index, uint32_t chunk);

/* Low 32 bits of the tick, and the chunk's last-use tick and number of uses by this client. */
uint32_t swi_tick(const struct swi_index *index);
uint32_t swi_page_last_use(const struct swi_page *page, uint32_t chunk);
uint32_t swi_page_uses(const struct swi_page *page, uint32_t chunk);

/* ---- broker side: the transitions of layout.h ------------------------------------------------ */

void swi_index_init(struct swi_index *index, uint64_t instance, uint64_t arena_bytes);
void swi_tick_advance(struct swi_index *index);

/* Assigns an ABSENT entry to a chunk. incarnation 0 frees the id. */
void swi_entry_assign(struct swi_index *index, uint32_t chunk, uint64_t incarnation, uint64_t bytes,
                      uint64_t digest_low, uint64_t digest_high);
void swi_entry_begin_load(struct swi_index *index, uint32_t chunk, uint64_t offset);
void swi_entry_publish(struct swi_index *index, uint32_t chunk);
void swi_entry_fail_load(struct swi_index *index, uint32_t chunk);
/* After this, scan every live page with swi_page_pins; then restore or finish. */
void swi_entry_begin_evict(struct swi_index *index, uint32_t chunk);
void swi_entry_restore_evict(struct swi_index *index, uint32_t chunk);
void swi_entry_finish_evict(struct swi_index *index, uint32_t chunk);
/* Also from EVICTING, but holders of a lease learn of it when they release. */
void swi_entry_drop(struct swi_index *index, uint32_t chunk);

/* The number of slots of the page that pin this chunk. */
uint32_t swi_page_pins(const struct swi_page *page, uint32_t chunk);
/* Lists the chunk ids that the page pins, one per taken slot, so an id may appear twice. Ids out of
 * range, which only a misbehaving client writes, are left out and counted in *ret_bad. Returns the
 * number of ids. */
uint32_t swi_page_list_pins(const struct swi_page *page, uint32_t ids[static SWI_SLOTS],
                            uint32_t *ret_bad);

/* Revokes a session: the broker may ignore its page from now on. Also called when a session number
 * is assigned to a new client. Returns the new epoch. */
uint64_t swi_session_revoke(struct swi_index *index, uint32_t session);

/* ---- broker side: the trace ------------------------------------------------------------------ */

void swi_trace_switch(struct swi_index *index, bool on);

struct swi_trace_value {
    enum swi_trace_kind kind;
    uint32_t number; /* HIT, MISS: the chunk; CURSOR: the component */
    uint32_t lane;
    uint64_t time_ns, incarnation, pass, step_ns; /* as the client wrote them: untrusted */
};
/* Takes at most capacity records from *place on (0 for a new page) and moves *place past them. Adds
 * the number of records that were overwritten before they were read to *lost, at most 2^32. Returns
 * the number of records taken. */
uint32_t swi_page_take_trace(const struct swi_page *page, uint64_t *place,
                             struct swi_trace_value *values, uint32_t capacity, uint64_t *lost);

#endif
