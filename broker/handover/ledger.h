/* SPDX-License-Identifier: MIT */
/* The ledger: what of the broker's own state its successor needs, besides arena, index and pages.
 *
 * A memfd that only brokers map. Everything is written as it happens, so that a broker that is
 * killed leaves it as right as one that stops: a process that dies has made its stores in program
 * order up to some point, and no others. So each record has one field that makes it count, which is
 * stored after all its others and cleared before them; what is half-written at a death does not
 * count. (This orders nothing for other processors: there is one reader, later.)
 *
 *   header       who may adopt this, how much of the arena is reserved, whether the end was clean
 *   range[]      parts of the arena that nobody may use until the machine boots again
 *   revision[]   models whose chunks have ids: name and incarnation    counts by: incarnation
 *   chunk[]      by chunk id: which component of which revision        counts by: its revision
 *   session[]    by number: who it is, what it has open, what it waits for    counts by: state
 *   huge[]       by block of the arena: whether it is a huge page
 *
 * The index says what is in the arena, the ledger says what it is for. Where they disagree, or
 * either is not in order, a successor believes neither (daemon/takeover.h).
 */
#ifndef SWB_HANDOVER_LEDGER_H
#define SWB_HANDOVER_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"
#include "core/layout.h"
#include "core/wire.h"

#define LEDGER_MAGIC     0x3152474457535357ull /* "WSSWDGR1" */
#define LEDGER_VERSION   1u
#define LEDGER_RANGES    255u
#define LEDGER_REVISIONS 8192u
#define LEDGER_MODELS    64u  /* open in one session */
#define LEDGER_LOADS     256u /* of one session */
#define LEDGER_NOWHERE   UINT32_MAX
#define LEDGER_CLEAN     1u
#define LEDGER_TRY       256u
#define LEDGER_TRIES_MAX 5u

struct ledger_header {
    uint64_t magic;
    uint32_t version;
    uint32_t layout_hash; /* LEDGER_HASH: of what clients and broker share, and of this file */
    uint64_t instance;    /* the index's */
    uint64_t arena_bytes;
    uint64_t reserved_bytes;                  /* at most what is reserved */
    uint64_t listener_device, listener_inode; /* of the socket file */
    uint64_t boots;                           /* brokers that have had it before this one */
    uint32_t clean; /* LEDGER_CLEAN: its broker stopped, every read had come back; LEDGER_TRY for
                       each broker that has begun to take it over since one has lived on and hashed
                       all of it */
    uint32_t ranges;
};

struct ledger_range {
    uint64_t from, bytes;
};

struct ledger_revision {
    uint64_t incarnation; /* 0: none */
    uint32_t count;       /* chunks */
    uint32_t reserved;
    char name[SWI_NAME_MAX + 1];
};

struct ledger_chunk {
    uint32_t revision; /* place in revision[] */
    uint32_t ordinal;
};

/* A handle that an OPEN with this tag has made. */
#define LEDGER_OPENED(tag, handle) ((uint32_t)(tag) << 8 | ((uint32_t)(handle) + 1))
_Static_assert(LEDGER_MODELS < 256, "it has eight bits there");

/* A LOAD that was not answered yet. */
struct ledger_load {
    uint64_t tag;
    uint32_t chunk;
    uint32_t counts;
};

enum ledger_session_state {
    LEDGER_NONE = 0,
    LEDGER_GREETING = 1, /* not welcomed yet */
    LEDGER_LIVE = 2,
};

struct ledger_session {
    uint32_t state;
    uint32_t owing;   /* answers wait in the broker's memory: they are lost with it */
    uint32_t in_hand; /* how often the message at the head of its socket was begun */
    uint32_t opened;  /* by that message: LEDGER_OPENED; 0: nothing */
    uint64_t epoch;
    uint64_t page_inode, socket_inode; /* which descriptors these are */
    uint64_t process_start;            /* of the client's process, as /proc tells; 0: unknown */
    int32_t pid;
    uint32_t uid;
    char name[SWI_CLIENT_MAX + 1];
    uint64_t model[LEDGER_MODELS]; /* incarnations by handle; 0: not open */
    struct ledger_load load[LEDGER_LOADS];
};

struct ledger {
    struct ledger_header header;
    struct ledger_range range[LEDGER_RANGES];
    struct ledger_revision revision[LEDGER_REVISIONS];
    struct ledger_chunk chunk[SWI_CHUNKS];
    struct ledger_session session[SWI_SESSIONS];
    uint8_t huge[]; /* [arena_bytes / SWI_BLOCK_BYTES] */
};

#define LEDGER_HASH                                                                                \
    ((uint32_t)(SWI_LAYOUT_HASH * 31u + LEDGER_VERSION * 2654435761u +                             \
                (uint32_t)sizeof(struct ledger) * 668265263u))

_Static_assert(sizeof(struct ledger_header) == 72, "no hidden padding");
_Static_assert(sizeof(struct ledger_revision) == 272, "no hidden padding");
_Static_assert(sizeof(struct ledger_load) == 16, "no hidden padding");
_Static_assert(sizeof(struct ledger_session) == 56 + 64 + 8 * LEDGER_MODELS + 16 * LEDGER_LOADS,
               "no hidden padding");

struct ledger_file {
    int fd; /* -1: none */
    struct ledger *ledger;
    size_t size;
};

/* Sealed against resizing, mode 0600. arena_bytes: a multiple of SWI_BLOCK_BYTES. */
int ledger_create(uint64_t arena_bytes, struct ledger_file *ret, struct swi_error *error);
/* Maps a predecessor's after checking length, seals, magic, version and layout. The descriptor is
 * the file's on success. */
int ledger_open(int fd, struct ledger_file *ret, struct swi_error *error);
void ledger_close(struct ledger_file *file);

/* Keeps the order of stores around it, as one who dies between them leaves it. */
void ledger_settle(void);

/* False: no room for another; then nothing may be adopted any more. */
bool ledger_add_range(struct ledger *ledger, uint64_t from, uint64_t bytes);

/* Returns its place, or LEDGER_NOWHERE when there is no room: such a revision is not adopted. */
uint32_t ledger_add_revision(struct ledger *ledger, const char *name, uint64_t incarnation,
                             const uint32_t *ids, uint32_t count);
/* place may be LEDGER_NOWHERE. */
void ledger_remove_revision(struct ledger *ledger, uint32_t place);

/* A place in the session's loads; LEDGER_NOWHERE when all are taken. */
uint32_t ledger_add_load(struct ledger_session *session, uint64_t tag, uint32_t chunk);
void ledger_remove_load(struct ledger_session *session, uint32_t place);

#endif
