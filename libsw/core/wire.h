/* SPDX-License-Identifier: MIT */
/* The protocol between libsw or swctl and the broker: one message per packet on a SOCK_SEQPACKET
 * Unix socket.
 *
 * Each packet is a swi_wire_head followed by `size` bytes of body: a fixed struct, and for some
 * types a tail of text or of an array. Packets hold at most SWI_WIRE_MAX bytes; longer answers
 * (catalogs, JSON) come in parts. Integers are little-endian and naturally aligned.
 *
 *   client                                  broker
 *   HELLO(version, layout, name)        ──▶
 *                                       ◀── WELCOME(session, epoch, …) + descriptors arena, index, page
 *   OPEN(model name)                    ──▶
 *                                       ◀── OPENED(model, incarnation, chunks)
 *   TABLE(model, first)                 ──▶
 *                                       ◀── TABLE_PART(count; id, bytes, name …)
 *   FILE(model, path)                   ──▶
 *                                       ◀── FILE_IS(size) + descriptor of the file, to be read with pread
 *   LOAD(model, chunk)                  ──▶      demand: answered when resident or failed
 *                                       ◀── DONE(status, message)
 *   PREFETCH(model, chunks …)           ──▶      never answered
 *   CLOSE(model)                        ──▶      never answered
 *   CONTROL(JSON)                       ──▶      commands of swctl; without HELLO
 *                                       ◀── CONTROL_PART(more?, JSON text) …
 *   any request that fails              ◀── DONE(status ≠ 0, message)
 *
 * Answers carry the `tag` of their request; answers to different tags may come in any order.
 * Clients' tags are not 0: a DONE with tag 0 answers no request but gives the reason why the broker
 * closes the connection (too many sessions, a malformed message, a revoked session). Pure functions
 * on memory, without I/O. Everything received is checked against its length before it is used.
 */
#ifndef SWI_CORE_WIRE_H
#define SWI_CORE_WIRE_H

#include <stdbool.h>

#include "core/error.h"

#define SWI_WIRE_VERSION 1u
#define SWI_WIRE_MAX     65536u
#define SWI_NAME_MAX     255u /* bytes of a model, component or file name, without the zero */
#define SWI_CLIENT_MAX   63u  /* bytes of a client's name, without the zero */

enum swi_wire_type {
    SWI_WIRE_HELLO = 1,
    SWI_WIRE_WELCOME = 2,
    SWI_WIRE_OPEN = 3,
    SWI_WIRE_OPENED = 4,
    SWI_WIRE_TABLE = 5,
    SWI_WIRE_TABLE_PART = 6,
    SWI_WIRE_FILE = 7,
    SWI_WIRE_FILE_IS = 8,
    SWI_WIRE_LOAD = 9,
    SWI_WIRE_DONE = 10,
    SWI_WIRE_PREFETCH = 11,
    SWI_WIRE_CLOSE = 12,
    SWI_WIRE_CONTROL = 13,
    SWI_WIRE_CONTROL_PART = 14,
};

struct swi_wire_head {
    uint16_t type;
    uint16_t version; /* SWI_WIRE_VERSION */
    uint32_t size;    /* bytes after this head, to the end of the packet */
    uint64_t tag;
};

struct swi_wire_hello {
    uint32_t layout_version;
    uint32_t layout_hash;
    char name[SWI_CLIENT_MAX + 1];
};

struct swi_wire_welcome {
    uint64_t epoch;
    uint64_t instance;
    uint64_t arena_bytes; /* length to map; the arena object may be shorter and grow */
    uint32_t session;
    uint32_t broker_pid;
};

struct swi_wire_open {
    char name[SWI_NAME_MAX + 1];
};

struct swi_wire_opened {
    uint64_t incarnation;
    uint32_t model;
    uint32_t chunks;
};

struct swi_wire_table {
    uint32_t model;
    uint32_t first;
};

/* Followed by count rows: a swi_wire_row, then name_length bytes, padded with zeros to 8. */
struct swi_wire_table_part {
    uint32_t first;
    uint32_t count;
};
struct swi_wire_row {
    uint64_t bytes;
    uint32_t chunk;
    uint32_t name_length;
};

struct swi_wire_file {
    uint32_t model;
    uint32_t reserved;
    char path[SWI_NAME_MAX + 1];
};

struct swi_wire_file_is {
    uint64_t bytes;
};

struct swi_wire_load {
    uint64_t incarnation;
    uint32_t model;
    uint32_t chunk;
};

/* status: 0, or a negative code (-errno or sw/base.h) followed by a message. */
struct swi_wire_done {
    int32_t status;
    uint32_t text_length;
};

/* Followed by count chunk ids (uint32_t). */
struct swi_wire_prefetch {
    uint64_t incarnation;
    uint32_t model;
    uint32_t count;
};

struct swi_wire_close {
    uint32_t model;
    uint32_t reserved;
};

/* Followed by text_length bytes of JSON. */
struct swi_wire_text {
    uint32_t more; /* 1: another part follows */
    uint32_t text_length;
};

/* Largest text of one CONTROL, CONTROL_PART or DONE packet. */
#define SWI_WIRE_TEXT_MAX                                                                          \
    (SWI_WIRE_MAX - sizeof(struct swi_wire_head) - sizeof(struct swi_wire_text))
#define SWI_WIRE_PREFETCH_MAX 1024u

/* A packet being built in a caller's buffer. */
struct swi_wire_out {
    uint8_t *bytes;
    size_t capacity;
    size_t size;
    bool overflow; /* the packet did not fit and must not be sent */
};

void swi_wire_begin(struct swi_wire_out *out, void *buffer, size_t capacity,
                    enum swi_wire_type type, uint64_t tag);
void swi_wire_put(struct swi_wire_out *out, const void *data, size_t size);
/* Appends a row of TABLE_PART. False: it does not fit, and nothing was appended. */
bool swi_wire_put_row(struct swi_wire_out *out, uint64_t bytes, uint32_t chunk, const char *name);
/* Writes the final size into the head; returns the packet's length, 0 after an overflow. */
size_t swi_wire_end(struct swi_wire_out *out);

/* A checked packet. body points into the caller's packet. */
struct swi_wire_in {
    enum swi_wire_type type;
    uint64_t tag;
    const uint8_t *body;
    size_t size;
    size_t position;
};

/* Checks head, version and type; that the body holds the type's fixed struct, and nothing more if
 * the type has no tail; that names are zero-terminated and tails as long as announced. Errors:
 * SW_EPROTOCOL, SW_EVERSION, with a message. */
int swi_wire_parse(const void *packet, size_t length, struct swi_wire_in *ret,
                   struct swi_error *error);
/* Copies the next size bytes of the body. False: there are fewer. */
bool swi_wire_get(struct swi_wire_in *in, void *ret, size_t size);
/* The next row of a TABLE_PART; *ret_name is borrowed from the packet and NOT zero-terminated. */
bool swi_wire_get_row(struct swi_wire_in *in, struct swi_wire_row *ret, const char **ret_name);
/* The remaining bytes (the text of DONE, CONTROL, CONTROL_PART). */
const char *swi_wire_rest(const struct swi_wire_in *in, size_t *ret_size);

#endif
