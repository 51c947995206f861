/* SPDX-License-Identifier: MIT */
/* The lease protocol's atomics. The table in lease.h says what each SYNC tag pairs with and why. */
#include "core/lease.h"

#include <assert.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

static uint64_t word_of(uint64_t generation, enum swi_state state)
{
    return generation << SWI_STATE_BITS | (uint64_t)state;
}

static enum swi_state state_of(uint64_t word)
{
    return (enum swi_state)(word & SWI_STATE_MASK);
}

static uint64_t generation_of(uint64_t word)
{
    return word >> SWI_STATE_BITS;
}

/* ---- client side ----------------------------------------------------------------------------- */

int swi_pin_claim(struct swi_page *page, uint32_t chunk, uint32_t *hint)
{
    for (uint32_t i = 0; i < SWI_SLOTS; i++) {
        uint32_t slot = (*hint + i) % SWI_SLOTS;
        uint32_t expected = 0;
        /* SYNC[pin-claim]: seq_cst; pairs with evict-scan. Also the full barrier before pin-look.
         */
        if (atomic_compare_exchange_strong_explicit(&page->slot[slot].pin, &expected, chunk + 1,
                                                    memory_order_seq_cst, memory_order_relaxed)) {
            *hint = slot;
            return (int)slot;
        }
    }
    return SW_EBUSY;
}

void swi_pin_drop(struct swi_page *page, uint32_t slot)
{
    /* SYNC[pin-drop]: release; pairs with evict-scan. */
    atomic_store_explicit(&page->slot[slot].pin, 0, memory_order_release);
}

enum swi_look swi_pin_look(const struct swi_index *index, uint32_t session, uint64_t epoch,
                           uint32_t chunk, uint64_t incarnation, struct swi_sight *ret)
{
    const struct swi_entry *entry = &index->entry[chunk];
    /* SYNC[pin-look]: seq_cst; pairs with evict-mark and publish. */
    uint64_t word = atomic_load_explicit(&entry->word, memory_order_seq_cst);
    /* SYNC[see]: relaxed; pairs with place, ordered by pin-look before and recheck after. */
    uint64_t owner = atomic_load_explicit(&entry->incarnation, memory_order_relaxed);
    uint64_t offset = atomic_load_explicit(&entry->offset, memory_order_relaxed);
    uint64_t bytes = atomic_load_explicit(&entry->bytes, memory_order_relaxed);
    if (!swi_pin_valid(index, session, epoch, chunk, generation_of(word)))
        return swi_session_epoch(index, session) != epoch ? SWI_LOOK_REVOKED : SWI_LOOK_ABSENT;
    if (owner != incarnation)
        return SWI_LOOK_STALE;
    if (state_of(word) != SWI_RESIDENT)
        return SWI_LOOK_ABSENT;
    uint64_t arena_bytes = index->header.arena_bytes;
    if (offset % SWI_PAGE_BYTES != 0 || offset > arena_bytes || bytes > arena_bytes - offset)
        return SWI_LOOK_BROKEN;
    *ret = (struct swi_sight){.generation = generation_of(word), .offset = offset, .bytes = bytes};
    return SWI_LOOK_RESIDENT;
}

bool swi_pin_valid(const struct swi_index *index, uint32_t session, uint64_t epoch, uint32_t chunk,
                   uint64_t generation)
{
#if !defined(                                                                                      \
    __SANITIZE_THREAD__) /* TSan does not support fences, and sees no race here without it */
    /* SYNC[recheck]: acquire fence: the caller's reads of the chunk come before the load below. */
    atomic_thread_fence(memory_order_acquire);
#endif
    /* SYNC[recheck]: acquire; pairs with evict-mark and begin. */
    uint64_t word = atomic_load_explicit(&index->entry[chunk].word, memory_order_acquire);
    return generation_of(word) == generation && swi_session_epoch(index, session) == epoch;
}

uint64_t swi_session_epoch(const struct swi_index *index, uint32_t session)
{
    /* SYNC[epoch-check]: acquire; pairs with revoke. */
    return atomic_load_explicit(&index->epoch[session], memory_order_acquire);
}

static uint64_t trace_place_of(uint64_t what)
{
    return what >> 24;
}

static uint64_t trace_what(uint64_t place, enum swi_trace_kind kind, uint32_t lane, uint32_t number)
{
    return (place + 1) << 24 | (uint64_t)kind << 20 | (uint64_t)lane << 16 | number;
}

/* Out of line, so that it costs nothing while no trace is recorded. */
static __attribute__((noinline, cold)) void trace(struct swi_page *page, enum swi_trace_kind kind,
                                                  uint32_t lane, uint32_t number,
                                                  const struct swi_cursor_value *cursor)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t time_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    /* SYNC[trace-claim]: relaxed; pairs with trace-head. */
    uint64_t place = atomic_fetch_add_explicit(&page->trace_head, 1, memory_order_relaxed);
    struct swi_trace_record *record = &page->trace[place % SWI_TRACE_RECORDS];
    uint64_t begun = trace_what(place, SWI_TRACE_NONE, 0, 0);
    /* SYNC[trace-peek]: relaxed; pairs with trace-done. */
    uint64_t found = atomic_load_explicit(&record->what, memory_order_relaxed);
    /* SYNC[trace-done]: release; pairs with trace-look: invalidates the old record. A thread that
     * slept while the ring wrapped around leaves the newer record alone. */
    do {
        if (trace_place_of(found) > trace_place_of(begun))
            return;
    } while (!atomic_compare_exchange_weak_explicit(&record->what, &found, begun,
                                                    memory_order_release, memory_order_relaxed));
    /* SYNC[trace-put]: release; pairs with trace-get: a reader of these fields also sees begun. */
    atomic_store_explicit(&record->time_ns, time_ns, memory_order_release);
    atomic_store_explicit(&record->incarnation, cursor->incarnation, memory_order_release);
    atomic_store_explicit(&record->pass, cursor->pass, memory_order_release);
    atomic_store_explicit(&record->step_ns, cursor->step_ns, memory_order_release);
    /* SYNC[trace-done]: release; pairs with trace-look. */
    (void)atomic_compare_exchange_strong_explicit(&record->what, &begun,
                                                  trace_what(place, kind, lane, number),
                                                  memory_order_release, memory_order_relaxed);
}

static inline void note(struct swi_page *page, const struct swi_index *index, uint32_t chunk,
                        enum swi_trace_kind kind)
{
    static const struct swi_cursor_value no_cursor;
    /* SYNC[tick]: relaxed; pairs with stamp and trace-switch. */
    uint64_t tick = atomic_load_explicit(&index->header.tick, memory_order_relaxed);
    /* SYNC[stamp]: relaxed; pairs with tick. Threads of one client may lose each other's count. */
    uint64_t use = atomic_load_explicit(&page->use[chunk], memory_order_relaxed);
    uint64_t uses = (use >> 32) + 1;
    atomic_store_explicit(&page->use[chunk], uses << 32 | (uint32_t)tick, memory_order_relaxed);
    if (__builtin_expect((tick & SWI_TICK_TRACING) != 0, 0))
        trace(page, kind, 0, chunk, &no_cursor);
}

void swi_page_note_use(struct swi_page *page, const struct swi_index *index, uint32_t chunk)
{
    note(page, index, chunk, SWI_TRACE_MISS);
}

void swi_page_note_hit(struct swi_page *page, const struct swi_index *index, uint32_t slot,
                       uint32_t chunk)
{
    /* SYNC[hit-count]: relaxed; pairs with hit-sum. Only the slot's holder writes it. */
    uint64_t hits = atomic_load_explicit(&page->slot[slot].hits, memory_order_relaxed);
    atomic_store_explicit(&page->slot[slot].hits, hits + 1, memory_order_relaxed);
    note(page, index, chunk, SWI_TRACE_HIT);
}

void swi_cursor_put(struct swi_page *page, const struct swi_index *index, unsigned lane,
                    const struct swi_cursor_value *value)
{
    struct swi_cursor *cursor = &page->cursor[lane % SW_CURSOR_LANES];
    /* SYNC[tick]: relaxed; pairs with stamp and trace-switch. */
    uint64_t tick = atomic_load_explicit(&index->header.tick, memory_order_relaxed);
    /* SYNC[cursor-put]: relaxed; pairs with cursor-get. */
    atomic_store_explicit(&cursor->incarnation, value->incarnation, memory_order_relaxed);
    atomic_store_explicit(&cursor->pass, value->pass, memory_order_relaxed);
    atomic_store_explicit(&cursor->step_ns, value->step_ns, memory_order_relaxed);
    atomic_store_explicit(&cursor->component, value->component, memory_order_relaxed);
    atomic_store_explicit(&cursor->tick, (uint32_t)tick, memory_order_relaxed);
    if (__builtin_expect((tick & SWI_TICK_TRACING) != 0, 0) && value->component < SWI_CHUNKS)
        trace(page, SWI_TRACE_CURSOR, lane % SW_CURSOR_LANES, value->component, value);
}

/* ---- both sides ------------------------------------------------------------------------------ */

void swi_page_init(struct swi_page *page)
{
    page->header.magic = SWI_PAGE_MAGIC;
    page->header.version = SWI_LAYOUT_VERSION;
    page->header.layout_hash = SWI_LAYOUT_HASH;
}

bool swi_index_compatible(const struct swi_index *index)
{
    const struct swi_index_header *header = &index->header;
    return header->magic == SWI_INDEX_MAGIC && header->version == SWI_LAYOUT_VERSION &&
           header->layout_hash == SWI_LAYOUT_HASH && header->chunks == SWI_CHUNKS &&
           header->sessions == SWI_SESSIONS;
}

bool swi_page_compatible(const struct swi_page *page)
{
    return page->header.magic == SWI_PAGE_MAGIC && page->header.version == SWI_LAYOUT_VERSION &&
           page->header.layout_hash == SWI_LAYOUT_HASH;
}

uint64_t swi_slot_hits(const struct swi_page *page, uint32_t slot)
{
    /* SYNC[hit-sum]: relaxed; pairs with hit-count. */
    return atomic_load_explicit(&page->slot[slot].hits, memory_order_relaxed);
}

uint64_t swi_page_hits(const struct swi_page *page)
{
    uint64_t sum = 0;
    for (uint32_t slot = 0; slot < SWI_SLOTS; slot++)
        sum += swi_slot_hits(page, slot);
    return sum;
}

struct swi_cursor_value swi_cursor_get(const struct swi_page *page, unsigned lane)
{
    const struct swi_cursor *cursor = &page->cursor[lane % SW_CURSOR_LANES];
    /* SYNC[cursor-get]: relaxed; pairs with cursor-put. */
    return (struct swi_cursor_value){
        .incarnation = atomic_load_explicit(&cursor->incarnation, memory_order_relaxed),
        .pass = atomic_load_explicit(&cursor->pass, memory_order_relaxed),
        .step_ns = atomic_load_explicit(&cursor->step_ns, memory_order_relaxed),
        .component = atomic_load_explicit(&cursor->component, memory_order_relaxed),
        .tick = atomic_load_explicit(&cursor->tick, memory_order_relaxed),
    };
}

struct swi_entry_value swi_entry_get(const struct swi_index *index, uint32_t chunk)
{
    const struct swi_entry *entry = &index->entry[chunk];
    /* SYNC[recheck]: acquire; pairs with publish: the fields below are at least as new as the word.
     */
    uint64_t word = atomic_load_explicit(&entry->word, memory_order_acquire);
    /* SYNC[see]: relaxed; pairs with place. */
    return (struct swi_entry_value){
        .state = state_of(word),
        .generation = generation_of(word),
        .offset = atomic_load_explicit(&entry->offset, memory_order_relaxed),
        .bytes = atomic_load_explicit(&entry->bytes, memory_order_relaxed),
        .incarnation = atomic_load_explicit(&entry->incarnation, memory_order_relaxed),
        .digest_low = atomic_load_explicit(&entry->digest_low, memory_order_relaxed),
        .digest_high = atomic_load_explicit(&entry->digest_high, memory_order_relaxed),
    };
}

uint32_t swi_tick(const struct swi_index *index)
{
    /* SYNC[tick]: relaxed; pairs with stamp. */
    return (uint32_t)atomic_load_explicit(&index->header.tick, memory_order_relaxed);
}

uint32_t swi_page_last_use(const struct swi_page *page, uint32_t chunk)
{
    /* SYNC[stamp]: relaxed; pairs with tick. */
    return (uint32_t)atomic_load_explicit(&page->use[chunk], memory_order_relaxed);
}

uint32_t swi_page_uses(const struct swi_page *page, uint32_t chunk)
{
    /* SYNC[stamp]: relaxed; pairs with tick. */
    return (uint32_t)(atomic_load_explicit(&page->use[chunk], memory_order_relaxed) >> 32);
}

/* ---- broker side ----------------------------------------------------------------------------- */

static uint64_t broker_word(const struct swi_index *index, uint32_t chunk, enum swi_state expected)
{
    assert(chunk < SWI_CHUNKS);
    /* SYNC[recheck]: acquire; the broker reads its own last store. */
    uint64_t word = atomic_load_explicit(&index->entry[chunk].word, memory_order_acquire);
    assert(state_of(word) == expected && "not a transition of layout.h");
    return word;
}

void swi_index_init(struct swi_index *index, uint64_t instance, uint64_t arena_bytes)
{
    index->header.magic = SWI_INDEX_MAGIC;
    index->header.version = SWI_LAYOUT_VERSION;
    index->header.layout_hash = SWI_LAYOUT_HASH;
    index->header.instance = instance;
    index->header.arena_bytes = arena_bytes;
    index->header.chunks = SWI_CHUNKS;
    index->header.sessions = SWI_SESSIONS;
    /* SYNC[tick]: relaxed; pairs with stamp. Starts at 1; a stamp of 0 means never used. */
    atomic_store_explicit(&index->header.tick, 1, memory_order_relaxed);
}

void swi_tick_advance(struct swi_index *index)
{
    /* SYNC[tick]: relaxed; pairs with stamp. */
    atomic_fetch_add_explicit(&index->header.tick, 1, memory_order_relaxed);
}

void swi_entry_assign(struct swi_index *index, uint32_t chunk, uint64_t incarnation, uint64_t bytes,
                      uint64_t digest_low, uint64_t digest_high)
{
    (void)broker_word(index, chunk, SWI_ABSENT);
    struct swi_entry *entry = &index->entry[chunk];
    /* SYNC[place]: relaxed; pairs with see, made visible by publish. */
    atomic_store_explicit(&entry->incarnation, incarnation, memory_order_relaxed);
    atomic_store_explicit(&entry->bytes, bytes, memory_order_relaxed);
    atomic_store_explicit(&entry->digest_low, digest_low, memory_order_relaxed);
    atomic_store_explicit(&entry->digest_high, digest_high, memory_order_relaxed);
}

void swi_entry_begin_load(struct swi_index *index, uint32_t chunk, uint64_t offset)
{
    uint64_t word = broker_word(index, chunk, SWI_ABSENT);
    /* SYNC[begin]: seq_cst; pairs with recheck: it precedes the first new byte. */
    atomic_store_explicit(&index->entry[chunk].word, word_of(generation_of(word) + 1, SWI_LOADING),
                          memory_order_seq_cst);
    /* SYNC[place]: relaxed; pairs with see, made visible by publish. */
    atomic_store_explicit(&index->entry[chunk].offset, offset, memory_order_relaxed);
}

static void move(struct swi_index *index, uint32_t chunk, enum swi_state from, enum swi_state to)
{
    uint64_t word = broker_word(index, chunk, from);
    /* SYNC[publish] SYNC[evict-mark]: seq_cst; pair with pin-look. One function makes every
     * transition that keeps the generation, so all are as strong as the strongest. */
    atomic_store_explicit(&index->entry[chunk].word, word_of(generation_of(word), to),
                          memory_order_seq_cst);
}

void swi_entry_publish(struct swi_index *index, uint32_t chunk)
{
    move(index, chunk, SWI_LOADING, SWI_RESIDENT);
}

void swi_entry_fail_load(struct swi_index *index, uint32_t chunk)
{
    move(index, chunk, SWI_LOADING, SWI_ABSENT);
}

void swi_entry_begin_evict(struct swi_index *index, uint32_t chunk)
{
    move(index, chunk, SWI_RESIDENT, SWI_EVICTING);
}

void swi_entry_restore_evict(struct swi_index *index, uint32_t chunk)
{
    move(index, chunk, SWI_EVICTING, SWI_RESIDENT);
}

void swi_entry_finish_evict(struct swi_index *index, uint32_t chunk)
{
    move(index, chunk, SWI_EVICTING, SWI_ABSENT);
}

void swi_entry_drop(struct swi_index *index, uint32_t chunk)
{
    uint64_t word = broker_word(index, chunk, SWI_EVICTING);
    /* SYNC[drop]: seq_cst; pairs with recheck: it precedes the first new byte. */
    atomic_store_explicit(&index->entry[chunk].word, word_of(generation_of(word) + 1, SWI_ABSENT),
                          memory_order_seq_cst);
}

uint32_t swi_page_pins(const struct swi_page *page, uint32_t chunk)
{
    uint32_t pins = 0;
    for (uint32_t slot = 0; slot < SWI_SLOTS; slot++) {
        /* SYNC[evict-scan]: seq_cst; pairs with pin-claim and pin-drop. */
        if (atomic_load_explicit(&page->slot[slot].pin, memory_order_seq_cst) == chunk + 1)
            pins++;
    }
    return pins;
}

uint32_t swi_page_list_pins(const struct swi_page *page, uint32_t ids[static SWI_SLOTS],
                            uint32_t *ret_bad)
{
    uint32_t count = 0;
    uint32_t bad = 0;
    for (uint32_t slot = 0; slot < SWI_SLOTS; slot++) {
        /* SYNC[evict-scan]: seq_cst; pairs with pin-claim and pin-drop. */
        uint32_t pin = atomic_load_explicit(&page->slot[slot].pin, memory_order_seq_cst);
        if (pin == 0)
            continue;
        if (pin > SWI_CHUNKS)
            bad++;
        else
            ids[count++] = pin - 1;
    }
    *ret_bad = bad;
    return count;
}

uint64_t swi_session_revoke(struct swi_index *index, uint32_t session)
{
    /* SYNC[revoke]: seq_cst; pairs with epoch-check. */
    return atomic_fetch_add_explicit(&index->epoch[session], 1, memory_order_seq_cst) + 1;
}

/* ---- broker side: the trace ------------------------------------------------------------------ */

void swi_trace_switch(struct swi_index *index, bool on)
{
    /* SYNC[trace-switch]: relaxed; pairs with tick. */
    if (on)
        atomic_fetch_or_explicit(&index->header.tick, SWI_TICK_TRACING, memory_order_relaxed);
    else
        atomic_fetch_and_explicit(&index->header.tick, ~SWI_TICK_TRACING, memory_order_relaxed);
}

enum taken { TAKEN, NOT_YET, OVERWRITTEN };

static enum taken take(const struct swi_trace_record *record, uint64_t place,
                       struct swi_trace_value *ret)
{
    /* SYNC[trace-look]: acquire; pairs with trace-done. */
    uint64_t what = atomic_load_explicit(&record->what, memory_order_acquire);
    uint64_t begun = trace_what(place, SWI_TRACE_NONE, 0, 0);
    if (trace_place_of(what) > trace_place_of(begun))
        return OVERWRITTEN;
    if (what <= begun)
        return NOT_YET;
    *ret = (struct swi_trace_value){
        .kind = (enum swi_trace_kind)(what >> 20 & 15),
        .lane = (uint32_t)(what >> 16 & 15),
        .number = (uint32_t)(what & 0xffff),
        /* SYNC[trace-get]: acquire; pairs with trace-put, so the second look comes after them. */
        .time_ns = atomic_load_explicit(&record->time_ns, memory_order_acquire),
        .incarnation = atomic_load_explicit(&record->incarnation, memory_order_acquire),
        .pass = atomic_load_explicit(&record->pass, memory_order_acquire),
        .step_ns = atomic_load_explicit(&record->step_ns, memory_order_acquire),
    };
    /* SYNC[trace-look]: acquire; pairs with trace-done. */
    return atomic_load_explicit(&record->what, memory_order_acquire) == what ? TAKEN : OVERWRITTEN;
}

uint32_t swi_page_take_trace(const struct swi_page *page, uint64_t *place,
                             struct swi_trace_value *values, uint32_t capacity, uint64_t *lost)
{
    /* SYNC[trace-head]: relaxed; pairs with trace-claim. A head that moves backwards is not the
     * library's. */
    uint64_t head = atomic_load_explicit(&page->trace_head, memory_order_relaxed);
    if (head < *place || head - *place > SWI_TRACE_RECORDS) {
        uint64_t oldest = head < SWI_TRACE_RECORDS ? 0 : head - SWI_TRACE_RECORDS;
        uint64_t skipped = oldest > *place ? oldest - *place : 1;
        *lost += skipped < UINT32_MAX ? skipped : UINT32_MAX;
        *place = oldest > *place ? oldest : head;
    }
    uint32_t count = 0;
    while (*place < head && count < capacity) {
        enum taken taken = take(&page->trace[*place % SWI_TRACE_RECORDS], *place, &values[count]);
        if (taken == NOT_YET)
            break;
        count += taken == TAKEN;
        *lost += taken == OVERWRITTEN;
        ++*place;
    }
    return count;
}
