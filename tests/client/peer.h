/* SPDX-License-Identifier: MIT */
/* A broker made of one thread, for tests of the client library against a peer that errs on purpose.
 *
 * It serves one model, "toy", with three components of two tensors each, over the real wire format
 * and the real shared memory; nothing is ever evicted unless a test says so. What a real broker
 * must do is tested with the real one.
 */
#ifndef SWT_CLIENT_PEER_H
#define SWT_CLIENT_PEER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "core/lease.h"
#include "core/wire.h"

#define PEER_COMPONENTS 3u
#define PEER_SESSIONS   4u
#define PEER_ARENA      (4u << 20)

/* How it errs; all zero: not at all. */
struct peer_faults {
    int64_t arena_less, index_less,
        page_less;     /* bytes that the objects are shorter than they should */
    bool wrong_layout; /* in the index */
    int hello_status;  /* HELLO is answered by DONE with it */
    const char *hello_message;
    bool no_descriptors; /* WELCOME without any */
    bool extra_descriptor;
    bool mute;                /* LOAD is never answered */
    bool wrong_type;          /* LOAD is answered by FILE_IS */
    bool foreign_tag;         /* LOAD's answer has a tag that nobody used */
    bool backwards;           /* two LOADs are answered in the reverse order */
    bool short_table;         /* TABLE_PART announces a row more than it brings */
    bool bad_chunk_id;        /* TABLE_PART's ids lie outside the index */
    bool offset_outside;      /* LOAD puts the chunk beyond the arena */
    int load_status;          /* LOAD fails so */
    bool other_revision;      /* the chunks' digests and contents differ */
    bool bad_header;          /* the chunks are no safetensors files */
    uint64_t file_bytes_less; /* FILE_IS promises more than the file has */
};

struct peer {
    const char *socket;
    struct peer_faults faults; /* may be changed while nobody asks */
    struct swi_index *index;
    uint8_t *arena;
    struct swi_page *page[PEER_SESSIONS];
    bool revoked[PEER_SESSIONS]; /* its pins do not count */
    uint32_t next_place;         /* in the arena, one for each MiB */
    uint64_t incarnation;
    _Atomic uint32_t sessions; /* begun */
    _Atomic uint32_t loads;    /* LOADs received */
    pthread_mutex_t moving;    /* entries and pages: the thread's and peer_evict's */
    /* the thread's */
    pthread_t thread;
    int listener, wake[2];
    int connection[PEER_SESSIONS];
    int arena_fd, index_fd;
    uint8_t *content[PEER_COMPONENTS];
    uint64_t bytes[PEER_COMPONENTS];
    uint64_t pending_tag; /* of a LOAD held back by `backwards` */
    uint32_t pending_chunk;
    bool stopped;
};

/* Listens at the path. The peer lives until peer_stop. */
void peer_start(struct peer *peer, const char *socket_path, const struct peer_faults *faults);
/* Closes everything at once, as a death would, and removes the socket. */
void peer_stop(struct peer *peer);

/* Evicts a chunk if it is resident and not pinned; returns whether it did. */
bool peer_evict(struct peer *peer, uint32_t component);
uint32_t peer_pins(const struct peer *peer, uint32_t component);
/* Takes the pins of every session away: what they held may be overwritten from now on. */
void peer_revoke(struct peer *peer);

/* The element [i] of every tensor of a component. */
float peer_element(uint32_t component, uint32_t i);

#endif
