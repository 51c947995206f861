/* SPDX-License-Identifier: MIT */
/* The memory that broker and clients share, and who may write which part of it.
 *
 *   arena   one POSIX shared-memory object; chunk files' bytes. Broker writes, clients map read-only.
 *   index   one memfd: header, session table, chunk table. Broker writes, clients map read-only.
 *   page    one memfd per session, sealed against resizing. Its client writes; the broker reads it, but
 *           trusts none of it.
 *
 *   index:  0        swi_index_header
 *           4096     session[SWI_SESSIONS]   epoch of each session
 *           12288    entry[SWI_CHUNKS]       64 bytes each
 *
 *   page:   0        swi_page_header
 *           64       cursor[SW_CURSOR_LANES]
 *           1088     trace_head, (reserved)
 *           2048     slot[SWI_SLOTS]
 *           4096     use[SWI_CHUNKS]         sparse: pages appear when used
 *           528384   trace[SWI_TRACE_RECORDS]  sparse: only while the broker records a trace
 *
 * All fields are fixed-width and little-endian, with offsets instead of pointers. Both sides
 * compare magic, version and SWI_LAYOUT_HASH at attach and refuse a peer that differs. Only
 * core/lease, which implements the protocol, accesses fields marked _Atomic.
 */
#ifndef SWI_CORE_LAYOUT_H
#define SWI_CORE_LAYOUT_H

#include <stdint.h>

#include <sw/base.h>
#include <sw/client.h>

#define SWI_LAYOUT_VERSION 1u
#define SWI_INDEX_MAGIC    0x3158444e49575357ull /* "SWWINDX1" */
#define SWI_PAGE_MAGIC     0x3145474150575357ull /* "SWWPAGE1" */

#define SWI_CHUNKS        65536u /* entries of the index; chunk ids are below this */
#define SWI_SESSIONS      1024u  /* limit of sessions */
#define SWI_SLOTS         128u   /* limit of pins of one session */
#define SWI_TRACE_RECORDS 2048u  /* uses of one session that the broker has not read yet */
#define SWI_PAGE_BYTES    4096u  /* allocation unit of the arena and alignment of O_DIRECT */
#define SWI_BLOCK_BYTES   (2u << 20)

/* States of an entry: the low bits of its word. The other bits are the generation, which grows by
 * one with each load. Legal transitions, all made by the broker:
 *
 *   ABSENT ──begin_load──▶ LOADING ──publish──▶ RESIDENT ──begin_evict──▶ EVICTING
 *      ▲                      │                    ▲                          │  │
 *      └───────fail_load──────┘                    └──restore_evict (pinned)──┘  │
 *      ├──────────────────────────────finish_evict───────────────────────────────┤
 *      └──────────────drop (damaged; the generation grows as well)───────────────┘
 *
 * An entry may stay EVICTING for a long time: a broker that takes over the arena of a killed one
 * marks all chunks so until it has hashed them. Existing leases stay valid; new ones are not
 * granted.
 */
enum swi_state {
    SWI_ABSENT = 0,
    SWI_LOADING = 1,
    SWI_RESIDENT = 2,
    SWI_EVICTING = 3,
};
#define SWI_STATE_BITS 2u
#define SWI_STATE_MASK 3u

struct swi_index_header {
    uint64_t magic;
    uint32_t version;
    uint32_t layout_hash;
    uint64_t instance;    /* random, one per arena: distinguishes an arena from its successor */
    uint64_t arena_bytes; /* length of the arena object to map: its largest possible size */
    uint32_t chunks;      /* SWI_CHUNKS */
    uint32_t sessions;    /* SWI_SESSIONS */
    /* coarse logical time for last-use stamps, in the low 32 bits. SWI_TICK_TRACING is in the same
     * word, so that the hit path reads it with a load that it makes anyway. */
    _Atomic uint64_t tick;
};
#define SWI_TICK_TRACING                                                                           \
    (UINT64_C(1) << 63) /* clients record each use in the trace of their page */

struct swi_entry {
    _Atomic uint64_t word;        /* generation << SWI_STATE_BITS | state */
    _Atomic uint64_t offset;      /* of the chunk in the arena */
    _Atomic uint64_t bytes;       /* of the chunk file */
    _Atomic uint64_t incarnation; /* of the model revision that the chunk belongs to; 0: unused */
    _Atomic uint64_t digest_low;  /* XXH3-128 of the file */
    _Atomic uint64_t digest_high;
    uint64_t reserved[2];
};

struct swi_index {
    struct swi_index_header header;
    uint8_t pad[4096 - sizeof(struct swi_index_header)];
    _Atomic uint64_t epoch[SWI_SESSIONS];
    struct swi_entry entry[SWI_CHUNKS];
};

struct swi_page_header {
    uint64_t magic;
    uint32_t version;
    uint32_t layout_hash;
    uint64_t reserved[6];
};

/* The position of one pass of the client. Fields are written by relaxed stores and read as hints.
 */
struct swi_cursor {
    _Atomic uint64_t incarnation; /* of the model; 0: this lane has never run a pass */
    _Atomic uint64_t pass;        /* number of passes begun in this lane */
    _Atomic uint64_t step_ns;     /* time of one step */
    _Atomic uint32_t component;   /* ordinal of the component in use */
    _Atomic uint32_t tick;        /* when it was published */
    uint64_t reserved[4];
};

struct swi_slot {
    _Atomic uint32_t pin; /* chunk id + 1; 0: free */
    uint32_t reserved;
    _Atomic uint64_t hits; /* written by the holder of the slot */
};

/* One use of a chunk, or one published cursor. Records form a ring: the client's threads claim
 * places by adding to trace_head; the broker reads them and never writes. */
enum swi_trace_kind {
    SWI_TRACE_NONE = 0, /* being written */
    SWI_TRACE_HIT = 1,
    SWI_TRACE_MISS = 2,
    SWI_TRACE_CURSOR = 3,
};
struct swi_trace_record {
    /* place + 1 (40 bits, only ever grows), kind (4), lane of a cursor (4), chunk or component (16)
     */
    _Atomic uint64_t what;
    _Atomic uint64_t time_ns; /* CLOCK_MONOTONIC */
    /* of a cursor: */
    _Atomic uint64_t incarnation;
    _Atomic uint64_t pass;
    _Atomic uint64_t step_ns;
    uint64_t reserved[3];
};

struct swi_page {
    struct swi_page_header header;
    struct swi_cursor cursor[SW_CURSOR_LANES];
    _Atomic uint64_t trace_head; /* records claimed since the page was created */
    uint8_t pad[2048 - 64 - SW_CURSOR_LANES * 64 - 8];
    struct swi_slot slot[SWI_SLOTS];
    /* last tick (low 32 bits) and number of uses (high 32 bits) of each chunk by this client */
    _Atomic uint64_t use[SWI_CHUNKS];
    struct swi_trace_record trace[SWI_TRACE_RECORDS]; /* by place modulo SWI_TRACE_RECORDS */
};

/* A hash of everything that both sides must agree on. Changing a constant or a size changes it; a
 * change of meaning must raise SWI_LAYOUT_VERSION. */
#define SWI_LAYOUT_HASH                                                                            \
    ((uint32_t)(SWI_LAYOUT_VERSION * 2654435761u ^ SWI_CHUNKS * 40503u ^                           \
                SWI_SESSIONS * 2246822519u ^ SWI_SLOTS * 3266489917u ^                             \
                (uint32_t)sizeof(struct swi_index) * 668265263u ^                                  \
                (uint32_t)sizeof(struct swi_page) * 374761393u))

_Static_assert(sizeof(struct swi_index_header) <= 4096, "the header has its own page");
_Static_assert(sizeof(struct swi_entry) == 64, "one entry, one cache line");
_Static_assert(sizeof(struct swi_cursor) == 64, "one cursor, one cache line");
_Static_assert(sizeof(struct swi_page_header) == 64, "page header");
_Static_assert(sizeof(struct swi_slot) == 16, "slot");
_Static_assert(__builtin_offsetof(struct swi_index, epoch) == 4096, "session table");
_Static_assert(__builtin_offsetof(struct swi_index, entry) == 4096 + 8 * SWI_SESSIONS,
               "chunk table");
_Static_assert(sizeof(struct swi_trace_record) == 64, "one record, one cache line");
_Static_assert(__builtin_offsetof(struct swi_page, trace_head) == 1088, "trace head");
_Static_assert(__builtin_offsetof(struct swi_page, slot) == 2048, "slots");
_Static_assert(__builtin_offsetof(struct swi_page, use) == 4096, "use table");
_Static_assert(__builtin_offsetof(struct swi_page, trace) == 528384, "trace");
_Static_assert(sizeof(struct swi_page) % SWI_PAGE_BYTES == 0, "whole pages");
_Static_assert(SWI_CHUNKS <= 1u << 16 && SW_CURSOR_LANES <= 1u << 4, "fields of a record's what");

#endif
