/* SPDX-License-Identifier: MIT */
/* The ledger: the broker's own state that a successor needs, besides arena, index and pages.
 *
 * A memfd that only brokers map. Every change is written at once, so that a broker that is killed
 * leaves a ledger as good as one that stops: a process that dies has made its stores in program
 * order up to some point, and no others. Each record therefore has one field that validates it; it
 * is stored after all other fields and cleared before them, so that a record that is half-written
 * at the death is not valid. (This orders nothing between processors: the one reader comes later.)
 *
 *   part         contents                                                     valid by
 *   header       who may adopt it, the reserved size, whether the end was clean
 *   range[]      parts of the arena that stay unused until the next boot      header.ranges
 *   revision[]   models whose chunks have ids: name and incarnation           incarnation
 *   chunk[]      by chunk id: the component of a revision                     its revision
 *   session[]    by number: the client, its open models, its pending loads    state
 *   huge[]       by block of the arena: 1 if it is a huge page
 *
 * The index describes the contents of the arena, the ledger describes their use. If they disagree,
 * or if either is invalid, a successor trusts neither (daemon/takeover.h).
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
    uint64_t instance;    /* of the index */
    uint64_t arena_bytes;
    uint64_t reserved_bytes;                  /* never more than is reserved */
    uint64_t listener_device, listener_inode; /* of the socket file */
    uint64_t boots;                           /* brokers that owned it before this one */
    uint32_t clean; /* LEDGER_CLEAN: its broker stopped after every read had completed; plus
                       LEDGER_TRY for each broker that has begun to take it over since the last one
                       that survived and hashed everything */
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
    uint32_t revision; /* index in revision[] */
    uint32_t ordinal;
};

/* The handle that an OPEN with this tag has created. */
#define LEDGER_OPENED(tag, handle) ((uint32_t)(tag) << 8 | ((uint32_t)(handle) + 1))
_Static_assert(LEDGER_MODELS < 256, "LEDGER_OPENED has eight bits for a handle");

/* A LOAD that has not been answered. */
struct ledger_load {
    uint64_t tag;
    uint32_t chunk;
    uint32_t valid;
};

enum ledger_session_state {
    LEDGER_NONE = 0,
    LEDGER_GREETING = 1, /* not welcomed yet */
    LEDGER_LIVE = 2,
};

struct ledger_session {
    uint32_t state;
    uint32_t owing;   /* answers wait in the broker's memory and are lost with it */
    uint32_t in_hand; /* how often the message at the head of its socket was begun */
    uint32_t opened;  /* by that message: LEDGER_OPENED; 0: nothing */
    uint64_t epoch;
    uint64_t page_inode, socket_inode; /* to recognize its descriptors */
    uint64_t process_start;            /* of the client's process, from /proc; 0: unknown */
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

/* Creates a memfd of mode 0600, sealed against resizing. arena_bytes: a multiple of
 * SWI_BLOCK_BYTES. */
int ledger_create(uint64_t arena_bytes, struct ledger_file *ret, struct swi_error *error);
/* Maps a predecessor's ledger after checking length, seals, magic, version and layout. On success
 * *ret owns the descriptor. */
int ledger_open(int fd, struct ledger_file *ret, struct swi_error *error);
void ledger_close(struct ledger_file *file);

/* Keeps the stores before it and after it in program order. */
void ledger_settle(void);

/* False: there is no room for another range, and the memory must not be adopted any more. */
bool ledger_add_range(struct ledger *ledger, uint64_t from, uint64_t bytes);

/* Returns its index, or LEDGER_NOWHERE if there is no room: such a revision is not adopted. */
uint32_t ledger_add_revision(struct ledger *ledger, const char *name, uint64_t incarnation,
                             const uint32_t *ids, uint32_t count);
/* place may be LEDGER_NOWHERE. */
void ledger_remove_revision(struct ledger *ledger, uint32_t place);

/* Returns an index in the session's loads; LEDGER_NOWHERE if all are taken. */
uint32_t ledger_add_load(struct ledger_session *session, uint64_t tag, uint32_t chunk);
void ledger_remove_load(struct ledger_session *session, uint32_t place);

#endif
